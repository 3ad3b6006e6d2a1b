"""What ``swarm ledger verify`` finds in one ledger, and between those of two peers."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random

import numpy as np
import pytest

from swarm.certification.encoding import decode_record, encode_record
from swarm.certification.statements import canonical, record_hash
from swarm.errors import LedgerError
from swarm.records import Commit
from swarm.storage.files import FINAL, write_model
from swarm.storage.ledger.audit import Audit, disagreements
from swarm.storage.ledger.base import Head
from swarm.storage.ledger.exports import export_lines, open_source
from swarm.storage.ledger.files import DATABASE
from swarm.storage.ledger.head import HEAD, read_head, signed, write_head
from swarm.storage.ledger.sources import DatabaseSource
from swarm.tensors.state import ModelState, Schema, TensorSpec
from tests.certification.chains import Signatories
from tests.storage.ledgers import audited, findings, linked_anew, owner, rows, written

MODEL = ModelState(Schema((TensorSpec("w", (3,), "float32"),)), {"float32": np.zeros(3, np.float32)}, [])


@pytest.fixture(scope="module")
def heart() -> Signatories:
    return Signatories()


@pytest.fixture(scope="module")
def records(heart: Signatories) -> list[Commit]:
    return heart.chain(12)


@pytest.fixture
def path(tmp_path: Path, heart: Signatories, records: list[Commit]) -> Path:
    return written(tmp_path / "swarm-state" / "heart" / "ada", heart, records)


@pytest.fixture
def export(path: Path, tmp_path: Path) -> Path:
    file = tmp_path / "ada.jsonl"
    file.write_bytes(b"".join(export_lines(DatabaseSource(path))))
    return file


Change = Callable[[Path], None]


def changed_record(number: int, **changes: object) -> Change:
    """Other fields in a record, whose certificate stays."""

    def change(path: Path) -> None:
        with rows(path) as connection:
            (content,) = connection.execute("SELECT content FROM records WHERE number = ?", (number,)).fetchone()
            record = replace(decode_record(content), **changes)
            values = encode_record(record), record_hash(record), number
            connection.execute("UPDATE records SET content = ?, record = ? WHERE number = ?", values)

    return change


def dropped_signature(path: Path) -> None:
    """Fewer signatures, but a quorum: the record itself stays true."""
    with rows(path) as connection:
        (content,) = connection.execute("SELECT content FROM records WHERE number = 6").fetchone()
        record = decode_record(content)
        assert record.certificate
        fewer = replace(record.certificate, signatures=record.certificate.signatures[:2])
        values = (encode_record(replace(record, certificate=fewer)),)
        connection.execute("UPDATE records SET content = ? WHERE number = 6", values)


def run(*statements: str) -> Change:
    def change(path: Path) -> None:
        with rows(path) as connection:
            for statement in statements:
                connection.execute(statement)

    return change


def swapped(path: Path) -> None:
    run(
        "UPDATE records SET number = -1 WHERE number = 5",
        "UPDATE records SET number = 5 WHERE number = 6",
        "UPDATE records SET number = 6 WHERE number = -1",
    )(path)


def and_linked_anew(change: Change) -> Change:
    def both(path: Path) -> None:
        change(path)
        linked_anew(path)

    return both


CHANGES: dict[str, tuple[Change, str]] = {
    "a digest": (changed_record(6, digest="other"), "record 6 was changed, or did not follow record 5"),
    "a digest, links": (
        and_linked_anew(changed_record(6, digest="other")),
        r"record 6 \(round 5 .* a signature of ada that does not count",
    ),
    "a weight, links": (
        and_linked_anew(changed_record(3, weights=(9, 9, 9))),
        r"record 3 \(round 2 .*a signature of ada that does not count",
    ),
    "a refusal, links": (
        and_linked_anew(changed_record(3, refused=())),
        r"record 3 \(round 2 .* a signature of ada that does not count",
    ),
    "the first, links": (
        and_linked_anew(changed_record(1, rule="median")),
        r"record 1 \(round 0 .*a signature of ada that does not count",
    ),
    "no record": (run("UPDATE records SET content = x'7b7d' WHERE number = 4"), "record 4 cannot be read"),
    "a signature": (dropped_signature, "record 6 was changed, or did not follow record 5"),
    "a signature, links": (and_linked_anew(dropped_signature), "the head, which ada has signed, had another record 12"),
    "a deletion": (run("DELETE FROM records WHERE number IN (5, 6)"), "records 5 to 6 are missing"),
    "a deletion, links": (
        and_linked_anew(run("DELETE FROM records WHERE number = 5")),
        r"record 5 \(round 5 .*\) follows one that is not there before it",
    ),
    "the first": (run("DELETE FROM records WHERE number = 1"), "record 1 is missing"),
    "an order": (swapped, "record 5 was changed, or did not follow record 4"),
    "an order, links": (and_linked_anew(swapped), r"record 5 \(round 5 .*\) follows one that is not there before it"),
    "a link": (
        run("UPDATE records SET link = printf('%064d', 1) WHERE number = 7"),
        "record 7 was changed, or did not",
    ),
    "the end": (run("DELETE FROM records WHERE number > 9"), "records 10 to 12 are missing at the end"),
    "the last": (run("DELETE FROM records WHERE number = 12"), "record 12 is missing at the end"),
    "all": (run("DELETE FROM records"), "records 1 to 12 are missing at the end"),
}


@pytest.mark.parametrize(("change", "finding"), CHANGES.values(), ids=CHANGES)
def test_a_change_is_found_and_named(path: Path, heart: Signatories, change: Change, finding: str) -> None:
    assert findings(path, heart) == []
    change(path)
    found = findings(path, heart)
    assert any(re.search(finding, each) for each in found), found
    assert len(found) <= 4, "it is told where it is, and not of all that follows"


def test_a_record_that_nobody_has_certified_is_found(path: Path, heart: Signatories, records: list[Commit]) -> None:
    """Its links and its head are right: only the keys of the peers are missing."""
    liars = Signatories()
    forged = replace(
        heart.after(records[-1]),
        certificate=liars.after(records[-1]).certificate,
        digest="forged",
        keys=records[-1].keys,
    )
    twice = replace(heart.after(records[-1], signers=["ada"]))
    for each in (forged, twice):
        again = written(path.parent.with_name(each.digest + str(each is twice)), heart, [*records, each])
        (finding,) = findings(again, heart)
        assert finding.startswith("record 13 (round 12 of lineage line) is not true: the record of round 12 ")


@pytest.mark.parametrize("kind", ["missing", "damaged", "of another peer", "forged"])
def test_a_head_that_is_not_the_peers_is_found(path: Path, heart: Signatories, kind: str) -> None:
    file = path.with_name(HEAD)
    head = Head(9, "")
    with rows(path) as connection:
        (link,) = connection.execute("SELECT link FROM records WHERE number = 9").fetchone()
        connection.execute("DELETE FROM records WHERE number > 9")
    head = Head(9, link)
    if kind == "missing":
        file.unlink()
    elif kind == "damaged":
        file.write_bytes(file.read_bytes()[:-1])
    elif kind == "of another peer":
        write_head(file, signed("heart", head, heart.keys["bob"], heart.credential("bob")))
    else:
        write_head(file, signed("heart", head, Signatories().keys["ada"], heart.credential("ada")))
    (finding,) = findings(path, heart)
    assert {
        "missing": "its signed head is missing or damaged, so that records may have been cut off",
        "damaged": "its signed head is missing or damaged, so that records may have been cut off",
        "of another peer": "its head is not signed by ada: it is the one of bob in session heart",
        "forged": "its head is not signed by ada: its signature is wrong",
    }[kind] == finding


def test_a_head_under_a_key_that_no_record_has_needs_a_certificate(path: Path, heart: Signatories) -> None:
    """A process that has caught up and taken part in no round signs so, and so could anybody."""
    other = Signatories()
    with rows(path) as connection:
        (link,) = connection.execute("SELECT link FROM records WHERE number = 12").fetchone()
    write_head(path.with_name(HEAD), signed("heart", Head(12, link), other.keys["ada"], other.credential("ada")))
    audit = audited(path, heart)
    assert audit.findings == []
    assert audit.notes == ["the head is signed with a key that no record has, which anybody could have made"]


def test_a_head_that_is_behind_after_a_crash_is_none_to_worry_about(path: Path, heart: Signatories) -> None:
    with rows(path) as connection:
        (link,) = connection.execute("SELECT link FROM records WHERE number = 11").fetchone()
    write_head(path.with_name(HEAD), signed("heart", Head(11, link), heart.keys["ada"], heart.credential("ada")))
    assert findings(path, heart) == []


def test_a_checkpoint_tells_of_what_was_cut_off_together_with_the_head(
    path: Path, heart: Signatories, tmp_path: Path
) -> None:
    with rows(path) as connection:
        links = dict(connection.execute("SELECT number, link FROM records"))
    write_model(path.with_name("line-000000010.safetensors"), MODEL, Head(11, links[11]).metadata())
    write_model(path.with_name("line-000000005.safetensors"), MODEL, Head(6, links[6]).metadata())
    assert findings(path, heart) == []
    with rows(path) as connection:
        connection.execute("DELETE FROM records WHERE number > 8")
    write_head(path.with_name(HEAD), signed("heart", Head(8, links[8]), heart.keys["ada"], heart.credential("ada")))
    assert findings(path, heart) == [
        "the checkpoint line-000000010.safetensors counts 11 records: records 9 to 11 are missing at the end"
    ]


def test_the_result_tells_that_its_record_was_cut_off(
    path: Path, heart: Signatories, records: list[Commit], tmp_path: Path
) -> None:
    write_model(tmp_path / FINAL, MODEL, {"session": "heart", "record": record_hash(records[-1])})
    assert findings(path, heart) == []
    write_model(tmp_path / FINAL, MODEL, {"session": "heart", "record": record_hash(heart.after(records[-1]))})
    assert findings(path, heart) == [f"the record that made {tmp_path / FINAL} is missing"]
    write_model(tmp_path / FINAL, MODEL, {"session": "other", "record": record_hash(heart.after(records[-1]))})
    assert findings(path, heart) == []


def test_a_ledger_of_another_session_or_peer_is_not_this_ones(path: Path, heart: Signatories) -> None:
    with rows(path) as connection:
        connection.execute("UPDATE about SET value = 'bob' WHERE name = 'peer'")
    found = findings(path, heart)
    assert "record 1 was changed, or did not follow record 0: its link is wrong" in found
    assert "its head is not signed by bob: it is the one of ada in session heart" in found


def test_two_results_of_one_round_are_told_with_who_signed_both(
    tmp_path: Path, heart: Signatories, records: list[Commit]
) -> None:
    other = heart.after(records[4], digest="another", signers=["ada", "bob"])
    path = written(tmp_path, heart, [*records, other])
    assert findings(path, heart) == [
        "record 13 (round 5 of lineage line) contradicts another record of that round: ada, bob signed both"
    ]


def test_lineages_side_by_side_are_no_contradiction(tmp_path: Path, heart: Signatories, records: list[Commit]) -> None:
    fork = heart.fork(records[3], "fork", ["ada"])
    path = written(tmp_path, heart, [*records[:6], fork, *records[6:], heart.after(fork), *heart.chain(3, "new")])
    assert findings(path, heart) == []
    assert audited(path, heart).count == len(records) + 5


def test_old_predecessors_are_read_again(tmp_path: Path, heart: Signatories, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("swarm.storage.ledger.audit._RECENT", 2)
    records = heart.chain(12)
    fork = heart.fork(records[1], "fork", ["ada"])
    path = written(tmp_path, heart, [*records, fork])
    assert findings(path, heart) == []


# How many may lie ----------------------------------------------------------------------------------------------------

SETTINGS = canonical([["sync_interval", "4"], ["tolerated_liars", "1"]]).decode()
EARLIER = canonical([["sync_interval", "4"]]).decode()
TOO_FEW = r"record 3 \(round 2 .* is signed by ada, bob, cyd, which is no quorum"


def under(settings: str, group: Signatories, lineage: str = "line") -> list[Commit]:
    """Of five peers; three of them, a majority, have certified the last one."""
    name = hashlib.sha256(settings.encode()).hexdigest()
    first = group.certified(replace(group.founding(lineage), settings=name, certificate=None))
    second = group.after(first, signers=group.names[:4])
    return [first, second, group.after(second, signers=group.names[:3])]


@pytest.fixture(scope="module")
def five() -> Signatories:
    return Signatories(("ada", "bob", "cyd", "dan", "eve"))


def test_a_record_needs_the_votes_that_the_settings_of_its_session_ask_for(tmp_path: Path, five: Signatories) -> None:
    path = written(tmp_path / "a", five, under(SETTINGS, five), settings=SETTINGS)
    (finding,) = findings(path, five)
    assert re.search(TOO_FEW, finding)
    file = tmp_path / "a.jsonl"
    file.write_bytes(b"".join(export_lines(DatabaseSource(path))))
    assert findings(file, five) == [finding]
    assert findings(written(tmp_path / "b", five, under(EARLIER, five), settings=EARLIER), five) == []


def test_settings_of_earlier_runs_are_kept(tmp_path: Path, five: Signatories) -> None:
    written(tmp_path, five, under(SETTINGS, five), settings=SETTINGS)
    path = written(tmp_path, five, under(EARLIER, five, "new"), settings=EARLIER)
    audit = audited(path, five)
    (finding,) = audit.findings
    assert re.search(TOO_FEW, finding)
    assert audit.notes == []


def test_settings_in_the_head_cannot_be_removed_or_exchanged(tmp_path: Path, five: Signatories) -> None:
    path = written(tmp_path, five, under(SETTINGS, five), settings=SETTINGS)
    head = read_head(path.with_name(HEAD))
    assert head
    for settings in None, (EARLIER,), (SETTINGS, EARLIER):
        write_head(path.with_name(HEAD), replace(head, settings=settings))
        assert "its head is not signed by ada: its signature is wrong" in findings(path, five)


def test_another_number_than_the_sessions_is_told(tmp_path: Path, five: Signatories) -> None:
    path = written(tmp_path, five, under(SETTINGS, five), settings=SETTINGS)
    audit = Audit(open_source(path), five.verifier, None, liars=0)
    assert audit.findings == []
    assert audit.notes == ["it was checked with tolerated_liars=0; the settings of the session say 1"]
    assert Audit(open_source(path), five.verifier, None, liars=1).notes == []


def test_settings_that_are_not_known_are_told(tmp_path: Path, five: Signatories) -> None:
    """Those of a ledger of an earlier build, and of records of runs that its peer was not in."""
    path = written(tmp_path, five, under(SETTINGS, five), settings=EARLIER)
    audit = audited(path, five)
    assert audit.findings == []
    (note,) = audit.notes
    assert note == (
        "the settings of 2 records, the first of them record 2, are not in its head: they were checked with"
        " tolerated_liars=0; if the session had another number, give it"
    )
    (finding,) = Audit(open_source(path), five.verifier, None, liars=1).findings
    assert re.search(TOO_FEW, finding)


# Every column of every table -----------------------------------------------------------------------------------------


def edits(path: Path) -> dict[str, tuple[str, str]]:
    """An edit of each value of the database, and of all else that can be added to it or taken from it; what names it.

    The tables and columns are those that the file has, so that a new one is tried as well.
    """
    found: dict[str, tuple[str, str]] = {}
    with rows(path) as connection:
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for table in tables:
            count = connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
            columns = [name for _, name, *_ in connection.execute(f"PRAGMA table_info({table})")]
            for row in (1, count // 2 + 1, count):
                named = f"record {row}" if table == "records" else ""
                at = f"WHERE rowid = {row}"
                for column in columns:
                    for value in ("-7", "4", "99", "'4x'", "x'61'", "''", "printf('%064d', 1)", f"{column} || '0'"):
                        found[f"{table} {row}: {column} = {value}"] = (
                            f"UPDATE OR IGNORE {table} SET {column} = {value} {at}",
                            named if column != "number" else "",
                        )
                found[f"{table} {row}: deleted"] = f"DELETE FROM {table} {at}", named
                given = ", ".join("'more'" if name in {"name", "record"} else name for name in columns)
                for number in (-1, 0, 99):
                    values = given.replace("number", str(number))
                    found[f"{table} {row}: again as {number}"] = (
                        f"INSERT INTO {table} SELECT {values} FROM {table} {at}",
                        "",
                    )
    for name in ("user_version", "application_id"):
        found[name] = f"PRAGMA {name} = 7", ""
    for kind, sql in {
        "trigger": "records AFTER INSERT ON records BEGIN DELETE FROM records WHERE number = 1; END",
        "view": "shown AS SELECT * FROM records",
        "index": "rounds ON records (round)",
        "table": "more (name TEXT)",
    }.items():
        found[f"another {kind}"] = f"CREATE {kind} {sql}", ""
    found["no index"] = "DROP INDEX branches", ""
    for name, value in (("type", "'table'"), ("tbl_name", "'about'"), ("rootpage", "rootpage + 1"), ("sql", "NULL")):
        # One row of the list of tables that SQLite keeps, behind its back.
        found[f"schema: {name}"] = f"UPDATE sqlite_master SET {name} = {value} WHERE name = 'branches'", ""
    return found


def test_an_edit_of_any_value_of_any_table_is_found_and_the_record_named(
    tmp_path: Path, heart: Signatories, records: list[Commit]
) -> None:
    fork = heart.fork(records[3], "fork", ["ada"])
    original = written(tmp_path / "ada", heart, [*records[:6], fork, *records[6:]])
    assert findings(original, heart) == []
    tried = 0
    for name, (statement, named) in edits(original).items():
        path = Path(shutil.copytree(original.parent, tmp_path / "edited", dirs_exist_ok=True)) / DATABASE
        with rows(path) as connection:
            before = [*connection.iterdump()]
            connection.execute("PRAGMA writable_schema = ON")
            try:
                connection.execute(statement)
            except sqlite3.IntegrityError:  # SQLite itself refuses it
                continue
            if statement.startswith("UPDATE OR") and [*connection.iterdump()] == before:
                continue  # the value was that one, or two rows would have it
        tried += 1
        try:
            found = findings(path, heart)
        except LedgerError as error:
            found = [str(error)]
        assert found, name
        assert any(re.search(rf"{named}\b", each) for each in found), (name, found)
    assert tried > 150


def test_a_value_that_the_index_has_and_the_table_has_not_is_found(path: Path, heart: Signatories) -> None:
    """A row is found by the index alone: an edit of its page, behind SQLite's back, hides the row."""
    with rows(path) as connection:
        (page,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name LIKE '%records_1'").fetchone()
        (size,) = connection.execute("PRAGMA page_size").fetchone()
        (name,) = connection.execute("SELECT record FROM records WHERE number = 6").fetchone()
    data = bytearray(path.read_bytes())
    at = data.index(name.encode(), (page - 1) * size)
    assert at < page * size
    data[at + 63] ^= 1
    path.write_bytes(data)
    assert any("row 6 missing from index" in each for each in findings(path, heart))


def test_an_edit_of_what_proves_the_heads_key_is_found(path: Path, heart: Signatories) -> None:
    file = path.with_name(HEAD)
    head = read_head(file)
    assert head
    for name in ("certificate", "proof"):
        write_head(file, replace(head, credential=replace(head.credential, **{name: "AAAA"})))
        assert findings(path, heart) == [
            "its head is not signed by ada: what it says to prove its key is not what the records say"
        ]


# Exports -------------------------------------------------------------------------------------------------------------


def test_an_export_is_checked_like_its_ledger(export: Path, heart: Signatories, records: list[Commit]) -> None:
    audit = audited(export, heart)
    assert audit.findings == []
    assert audit.count == len(records)
    assert [record for _, record in audit.records()] == records
    lines = [json.loads(line) for line in export.read_bytes().splitlines()]
    assert lines[0]["session"] == "heart"
    assert lines[0]["count"] == len(records)
    assert [line["record"]["round"] for line in lines[1:]] == [*range(12)]


def test_every_change_of_a_byte_of_an_export_is_found(export: Path, heart: Signatories) -> None:
    data, random = export.read_bytes(), Random(1)
    starts = [match.end() for match in re.finditer(b"\n", data)]
    for place in [*random.sample(range(len(data)), 150), *(start - near for start in starts for near in (0, 1, 2))]:
        if place >= len(data):
            continue
        other = bytes([data[place] ^ 1 << random.randrange(7)])
        export.write_bytes(data[:place] + other + data[place + 1 :])
        try:
            found = findings(export, heart)
        except LedgerError:
            continue
        assert found, (place, data[place : place + 1], other)


@pytest.mark.parametrize(
    ("change", "finding"),
    [
        (lambda lines: lines[:-1], "record 12 is missing at the end"),
        (lambda lines: lines[:5] + lines[6:], "record 5 was changed, or did not follow record 4"),
        (
            lambda lines: [*lines[:5], lines[6], lines[5], *lines[7:]],
            "record 5 was changed, or did not follow record 4",
        ),
        (lambda lines: lines[:1], "records 1 to 12 are missing at the end"),
        (lambda lines: [*lines, lines[-1]], "is there twice"),
    ],
)
def test_lines_of_an_export_that_are_moved_are_found(
    export: Path, heart: Signatories, change: Callable[[list[bytes]], list[bytes]], finding: str
) -> None:
    export.write_bytes(b"".join(change(export.read_bytes().splitlines(keepends=True))))
    assert any(finding in each for each in findings(export, heart))


@pytest.mark.parametrize("data", [b"", b"{}\n", b"\xff" * 100, canonical({"ledger": 2}) + b"\n"])
def test_what_is_no_ledger_is_told(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "file").write_bytes(data)
    with pytest.raises(LedgerError, match="it is no export of a ledger"):
        open_source(tmp_path / "file")


# Two ledgers ---------------------------------------------------------------------------------------------------------


def compared(tmp_path: Path, heart: Signatories, ada: list[Commit], bob: list[Commit]) -> list[str]:
    one = audited(written(tmp_path / "a", heart, ada), heart)
    other = audited(written(tmp_path / "b", heart, bob, peer="bob"), heart)
    assert one.findings == other.findings == []
    found = list(disagreements(one, other))
    return [each.replace(str(tmp_path), "").replace(f"/{DATABASE}", "") for each in found]


def test_ledgers_with_the_same_records_agree_whatever_their_signatures_and_order(
    tmp_path: Path, heart: Signatories, records: list[Commit]
) -> None:
    fewer = [heart.certified(replace(each, certificate=None), ["ada", "bob"]) for each in records]
    fork = heart.fork(records[3], "fork", ["ada"])
    assert (
        compared(tmp_path, heart, [*records, fork], [*fewer[:5], heart.fork(records[3], "g", ["cyd"]), *fewer[5:]])
        == []
    )


def test_a_ledger_that_ends_before_the_other_one_does_not_contradict_it(
    tmp_path: Path, heart: Signatories, records: list[Commit]
) -> None:
    alone = heart.after(records[-1], signers=["ada", "cyd"])
    assert compared(tmp_path, heart, [*records, alone], records) == []


def test_another_record_of_a_round_is_told_with_who_signed_both(
    tmp_path: Path, heart: Signatories, records: list[Commit]
) -> None:
    ours = [*records[:5], heart.after(records[4], signers=["ada", "bob"])]
    theirs = [*records[:5], heart.after(records[4], digest="another", signers=["bob", "cyd"])]
    mine, its = record_hash(ours[-1])[:12], record_hash(theirs[-1])[:12]
    assert compared(tmp_path, heart, ours, theirs) == [
        f"round 5 of lineage line: /a has record {mine}, /b has {its} (record 6); bob signed both"
    ]


def test_an_old_copy_of_everything_is_found_by_the_ledger_of_another_peer(
    tmp_path: Path, heart: Signatories, records: list[Commit]
) -> None:
    """The copy alone is without a flaw."""
    (finding,) = compared(tmp_path, heart, records[:7], records)
    assert finding.startswith(
        "/a lacks 4 records (the first is that of round 7 of lineage line) that ada had, as it has signed those that"
    )


def test_the_same_files_in_another_place_are_the_same_ledger(path: Path, tmp_path: Path, heart: Signatories) -> None:
    shutil.copytree(path.parent, tmp_path / "copy")
    assert list(disagreements(audited(path, heart), audited(tmp_path / "copy" / DATABASE, heart))) == []
    assert owner(heart).credential.peer == "ada"
