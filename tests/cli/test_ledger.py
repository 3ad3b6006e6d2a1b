"""``swarm ledger``: what it shows, finds and exports."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from swarm.certification.statements import credential_statement, record_hash
from swarm.cli.app import app
from swarm.identity import Identity, files, vouching
from swarm.records import Commit, Credential
from swarm.storage.ledger.files import DATABASE
from tests.certification.chains import PEERS, SESSION, Signatories
from tests.identity.conftest import Authority, Calendar
from tests.storage.ledgers import opened, written

Command = Callable[..., Result]


@pytest.fixture
def command(tmp_path: Path, user_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Command:
    monkeypatch.chdir(tmp_path)
    for name in os.environ.keys() - user_environment.keys():
        monkeypatch.delenv(name)
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    return lambda *arguments, **options: CliRunner().invoke(app, ["ledger", *arguments], **options)


@pytest.fixture(scope="module")
def heart() -> Signatories:
    return Signatories()


@pytest.fixture(scope="module")
def records(heart: Signatories) -> list[Commit]:
    chain = heart.chain(5)
    return [*chain, heart.after(chain[-1], closing=True, signers=["ada", "bob"])]


def place(root: Path, peer: str) -> Path:
    return root / "swarm-state" / SESSION / peer


@pytest.fixture
def out(tmp_path: Path, heart: Signatories, records: list[Commit]) -> Path:
    """The model directory of ada."""
    written(place(tmp_path / "out", "ada"), heart, records)
    return Path("out")


def ledger(out: Path, peer: str = "ada") -> Path:
    return place(out, peer) / DATABASE


def change(path: Path, statement: str) -> None:
    with closing(sqlite3.connect(path)) as database, database:
        database.execute(statement)


# Showing -------------------------------------------------------------------------------------------------------------


def test_show_lists_who_took_part_in_which_round(command: Command, out: Path, records: list[Commit]) -> None:
    shown = command("show", "out")
    assert shown.exit_code == 0
    lines = shown.stdout.splitlines()
    assert lines[0] == f"{ledger(out)}: 6 records of ada in session heart"
    assert lines[1].split() == ["record", "round", "kind", "group", "refused", "digest", "signers"]
    assert lines[2].split() == [
        *("1", "0", "founding", "ada", "1,", "bob", "0,", "cyd", "0", "-", "line-0", "ada,", "bob,", "cyd")
    ]
    assert lines[4].split()[3:10] == ["ada", "1,", "bob", "2,", "cyd", "3", "cyd"]
    assert " ".join(lines[7].split()) == "6 5 round, closing ada 1, bob 2, cyd 3 - line-5 ada, bob"


def test_show_takes_the_model_directory_of_the_settings(command: Command, out: Path) -> None:
    assert "6 records of ada" in command("show", env={"MODEL_DIR": "out"}).stdout
    assert "6 records of ada" in command("show", env={"SWARM_MODEL_DIR": "out"}).stdout
    Path("swarm.toml").write_text('[swarm]\nmodel_dir = "out"\n')
    assert "6 records of ada" in command("show").stdout


@pytest.mark.parametrize("at", ["file", "state", "model directory", "parent"])
def test_a_ledger_is_found_by_its_file_and_its_directories(command: Command, out: Path, at: str) -> None:
    where = {"file": ledger(out), "state": ledger(out).parent, "model directory": out, "parent": Path()}[at]
    assert "6 records of ada" in command("show", str(where)).stdout


def test_the_ledgers_of_all_peers_of_one_machine_are_shown(
    command: Command, tmp_path: Path, heart: Signatories, records: list[Commit]
) -> None:
    for rank, peer in enumerate(PEERS):
        written(place(tmp_path / "out" / f"peer-{rank}", peer), heart, records, peer=peer)
    shown = command("show", "out").stdout
    assert all(f"6 records of {peer} in session heart" in shown for peer in PEERS)
    export = command("export", "out")
    assert export.exit_code == 2
    assert export.stderr.startswith("swarm: there are several ledgers: give one of out/peer-0/swarm-state/heart/ada/")


def test_show_has_all_of_a_round(command: Command, out: Path, records: list[Commit]) -> None:
    shown = command("show", "out", "--round", "2").stdout
    assert "hash      " + record_hash(records[2]) in shown
    assert "follows   " + record_hash(records[1]) in shown
    assert "group     cyd, weight 3" in shown
    assert "refused   cyd: its weights are not finite" in shown
    assert "line-3" not in shown


def test_show_has_the_last_records_and_says_how_many_come_before(command: Command, out: Path) -> None:
    lines = command("show", "out", "--last", "2").stdout.splitlines()
    assert [line.split()[0] for line in lines[2:4]] == ["5", "6"]
    assert lines[4].strip() == "4 earlier records: --last N"


def test_show_names_lineages_where_there_are_several(
    command: Command, out: Path, heart: Signatories, records: list[Commit]
) -> None:
    written(place(out, "ada"), heart, [heart.fork(records[2], "fork", ["ada"])])
    lines = command("show", "out").stdout.splitlines()
    assert lines[1].split()[:3] == ["record", "lineage", "round"]
    assert lines[8].split()[:4] == ["7", "fork", "3", "fork"]


def test_show_for_machines(command: Command, out: Path, records: list[Commit]) -> None:
    (document,) = json.loads(command("show", "out", "--json").stdout)["ledgers"]
    assert (document["session"], document["peer"], document["count"]) == ("heart", "ada", 6)
    assert [each["hash"] for each in document["records"]] == [record_hash(each) for each in records]
    assert document["records"][2]["record"]["refused"] == [{"peer": "cyd", "reason": "its weights are not finite"}]
    assert document["records"][5]["record"]["certificate"]["signatures"][1]["peer"] == "bob"


def test_a_record_that_cannot_be_read_is_shown_as_such(command: Command, out: Path) -> None:
    change(ledger(out), "UPDATE records SET content = x'7b' WHERE number = 3")
    assert command("show", "out").stdout.splitlines()[4].split() == ["3", "cannot", "be", "read"]
    assert json.loads(command("show", "out", "--json").stdout)["ledgers"][0]["records"][2]["record"] is None


@pytest.mark.parametrize("arguments", [("show",), ("verify",), ("export",)])
def test_without_a_ledger_it_is_said_what_to_give(command: Command, tmp_path: Path, arguments: tuple[str, ...]) -> None:
    none = command(*arguments)
    assert none.exit_code == 2
    assert none.stderr == ("swarm: it is not known where the ledger is: give a model directory, or set model_dir\n")
    empty = command(*arguments, str(tmp_path))
    assert empty.exit_code == 2
    assert f"there is no ledger in {tmp_path}" in empty.stderr


def test_a_file_that_is_no_ledger_is_one_sentence(command: Command, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no ledger\n")
    shown = command("show", "notes.txt")
    assert shown.exit_code == 1
    assert shown.stderr.startswith("swarm: notes.txt cannot be read: it is no export of a ledger")
    assert command("verify", "notes.txt").exit_code == 1


# Checking ------------------------------------------------------------------------------------------------------------


def test_verify_says_that_nothing_was_changed(command: Command, out: Path) -> None:
    shown = command("verify", "out")
    assert shown.exit_code == 0
    assert shown.stdout == (
        f"{ledger(out)}: 6 records of ada in session heart: complete, unchanged, and each is certified\n"
    )
    assert shown.stderr == "whose the keys are was not checked: give the authority with --authority or --identity\n"


@pytest.mark.parametrize(
    ("statement", "finding"),
    [
        ("UPDATE records SET content = x'7b7d' WHERE number = 4", "record 4 was changed, or did not follow record 3"),
        ("DELETE FROM records WHERE number = 2", "record 2 is missing"),
        ("DELETE FROM records WHERE number > 4", "records 5 to 6 are missing at the end"),
    ],
)
def test_verify_names_what_was_changed(command: Command, out: Path, statement: str, finding: str) -> None:
    change(ledger(out), statement)
    shown = command("verify", "out")
    assert shown.exit_code == 1
    assert finding in shown.stdout
    assert "unchanged" not in shown.stdout


def test_verify_asks_for_as_many_signatures_as_the_session_did(command: Command, out: Path) -> None:
    shown = command("verify", "out", "--tolerated-liars", "1")
    assert shown.exit_code == 1
    assert "is signed by ada, bob, which is no quorum of ada, bob, cyd" in shown.stdout


def test_verify_compares_the_ledgers_of_two_peers(
    command: Command, out: Path, heart: Signatories, records: list[Commit]
) -> None:
    written(place(Path("bob"), "bob"), heart, records, peer="bob")
    same = command("verify", "out", "--with", "bob")
    assert same.exit_code == 0
    assert "agree on all records that both have" in same.stdout
    other = heart.after(records[3], digest="another", signers=["bob", "cyd"])
    written(place(Path("liar"), "bob"), heart, [*records[:4], other], peer="bob")
    differing = command("verify", "out", "--with", "liar")
    assert differing.exit_code == 1
    assert f"round 4 of lineage line: {ledger(out)} has record {record_hash(records[4])[:12]}" in differing.stdout
    assert "bob, cyd signed both" in differing.stdout


def test_ledgers_of_different_sessions_are_not_compared(command: Command, out: Path, tmp_path: Path) -> None:
    brain = Signatories(session="brain")
    written(tmp_path / "brain", brain, brain.chain(2))
    shown = command("verify", "out", "--with", "brain")
    assert shown.exit_code == 2
    assert "there are no two ledgers of one session to compare" in shown.stderr


@pytest.fixture
def proved(tmp_path: Path) -> Signatories:
    """Peers of a consortium, each with an identity in a directory of its name below ``consortium``."""
    calendar = Calendar()
    calendar.today = datetime.now(UTC)
    authority = Authority(tmp_path / "consortium", calendar)
    document = authority.publish(*PEERS)
    identities = {name: Identity(authority.give(name, document)) for name in PEERS}

    def credential(peer: str, key: str) -> Credential:
        return vouching.credential(identities[peer], peer, key, credential_statement(SESSION, peer, key))

    return Signatories(proved=credential)


@pytest.fixture
def identified(tmp_path: Path, proved: Signatories) -> Path:
    written(place(tmp_path / "proved", "ada"), proved, proved.chain(3))
    return Path("proved")


@pytest.mark.parametrize(
    "arguments",
    [("--authority", f"consortium/ada/{files.AUTHORITY}"), ("--identity", "consortium/bob")],
    ids=["authority", "identity"],
)
def test_verify_checks_whose_the_keys_are(command: Command, identified: Path, arguments: tuple[str, ...]) -> None:
    shown = command("verify", "proved", *arguments)
    assert shown.exit_code == 0
    assert shown.stderr == ""


def test_the_identity_of_the_settings_is_taken(command: Command, identified: Path) -> None:
    assert command("verify", "proved", env={"SWARM_IDENTITY": "consortium/cyd"}).stderr == ""


def test_keys_that_the_authority_has_not_vouched_for_are_found(
    command: Command, identified: Path, out: Path, tmp_path: Path
) -> None:
    """Whoever may write the files can make up everything but the certificates."""
    made_up = command("verify", "out", "--identity", "consortium/ada")
    assert made_up.exit_code == 1
    assert "gives ada a key that is not its own: it has no certificate of the authority" in made_up.stdout
    calendar = Calendar()
    other = Authority(tmp_path / "other", calendar)
    (tmp_path / "other.pem").write_bytes(other.pem)
    foreign = command("verify", "proved", "--authority", "other.pem")
    assert foreign.exit_code == 1
    assert "a key that is not its own" in foreign.stdout


def test_an_authority_that_cannot_be_read_is_one_sentence(command: Command, out: Path, tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("nothing")
    assert command("verify", "out", "--authority", "ca.pem").exit_code == 2
    assert "ca.pem cannot be read" in command("verify", "out", "--authority", "none/ca.pem").stderr


# Exports -------------------------------------------------------------------------------------------------------------


def test_an_export_is_checked_and_compared_like_a_ledger(
    command: Command, out: Path, heart: Signatories, records: list[Commit]
) -> None:
    written_to = command("export", "out", "--output", "ada.jsonl")
    assert written_to.exit_code == 0
    assert written_to.stderr == "ada.jsonl: 6 records of ada in session heart\n"
    assert command("export", "out").stdout_bytes == Path("ada.jsonl").read_bytes()
    assert "complete, unchanged" in command("verify", "ada.jsonl").stdout
    assert command("show", "ada.jsonl").stdout.splitlines()[2:] == command("show", "out").stdout.splitlines()[2:]
    assert "line-2" in command("show", "ada.jsonl", "--round", "2").stdout
    written(place(Path("bob"), "bob"), heart, records[:4], peer="bob")
    assert command("verify", "bob", "--with", "ada.jsonl").exit_code == 1, "bob has signed later rounds"
    assert "is an export already" in command("export", "ada.jsonl").stderr
    Path("ada.jsonl").write_bytes(Path("ada.jsonl").read_bytes().replace(b'"weights":[1,2,3]', b'"weights":[1,2,9]', 1))
    assert command("verify", "ada.jsonl").exit_code == 1


def test_a_ledger_is_exported_and_checked_while_its_process_writes(
    command: Command, tmp_path: Path, heart: Signatories, records: list[Commit]
) -> None:
    running = opened(place(tmp_path / "run", "ada"), heart)
    running.append(records[:4])
    running.stored(record_hash(records[3]), 30.0)
    assert ledger(tmp_path / "run").with_name(f"{DATABASE}-wal").stat().st_size > 0
    assert "4 records of ada" in command("show", "run").stdout
    assert command("verify", "run").exit_code == 0
    assert command("export", "run", "--output", "ada.jsonl").exit_code == 0
    running.append(records)
    running.close(30.0)
    assert command("verify", "run", "--with", "ada.jsonl").exit_code == 0


def test_an_export_that_cannot_be_written_is_one_sentence(command: Command, out: Path) -> None:
    shown = command("export", "out", "--output", "nowhere/ada.jsonl")
    assert shown.exit_code == 2
    assert shown.stderr == "swarm: nowhere/ada.jsonl cannot be written: No such file or directory\n"


def test_help_names_the_commands(command: Command) -> None:
    shown = command("--help").stdout
    assert all(name in shown for name in ("show", "verify", "export"))
