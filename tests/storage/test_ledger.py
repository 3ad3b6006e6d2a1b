"""The ledger on disk: what is stored and given, whatever the disk, other threads and other processes do."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import tracemalloc
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from random import Random

import pytest

from swarm.certification.encoding import decode_record, encode_record
from swarm.certification.statements import record_hash
from swarm.errors import ExchangeError, LedgerError
from swarm.peer.record_frames import FRAME_BYTES, read_records, record_frames
from swarm.records import Commit
from swarm.storage.ledger import Head, Ledger, MemoryLedger
from swarm.storage.ledger.base import first_link, next_link
from swarm.storage.ledger.database import PAGE, open_database
from swarm.storage.ledger.files import DATABASE, LedgerFiles
from swarm.storage.ledger.head import HEAD, read_head
from swarm.storage.ledger.stored import NEWEST
from swarm.storage.locks import FileLock
from swarm.testing.nodes import DEADLINE, eventually
from swarm.testing.swarm import together
from tests.certification.chains import SESSION, Signatories
from tests.storage.ledgers import audited, findings, hashes, opened, owner, rows, written


@pytest.fixture(scope="module")
def heart() -> Signatories:
    return Signatories()


@pytest.fixture(scope="module")
def records(heart: Signatories) -> list[Commit]:
    return heart.chain(12)


@pytest.fixture(params=["memory", "disk", "disk again"])
def ledger(
    request: pytest.FixtureRequest, tmp_path: Path, heart: Signatories, records: list[Commit]
) -> Iterator[Ledger]:
    """A ledger with ``records``."""
    found: Ledger = MemoryLedger() if request.param == "memory" else opened(tmp_path, heart)
    found.append(records)
    if request.param == "disk again":
        found.close(DEADLINE)
        found = opened(tmp_path, heart)
    yield found
    found.close(DEADLINE)


def chain(ledger: Ledger, record: Commit, after: str = "") -> list[Commit]:
    return [decode_record(data) for data in ledger.chain(record_hash(record), after)]


# What is given -------------------------------------------------------------------------------------------------------


def test_records_are_given_by_hash_and_as_a_chain(ledger: Ledger, records: list[Commit]) -> None:
    found = ledger.get(record_hash(records[5]))
    assert found == records[5]
    assert found.certificate == records[5].certificate
    assert chain(ledger, records[-1]) == records
    assert chain(ledger, records[5]) == records[:6]
    assert chain(ledger, records[-1], record_hash(records[5])) == records[6:]
    assert chain(ledger, records[5], record_hash(records[9])) == records[:6], "a later record is not among them"
    assert chain(ledger, records[5], record_hash(records[5])) == []


def test_there_is_nothing_of_records_that_are_not_here(
    ledger: Ledger, heart: Signatories, records: list[Commit]
) -> None:
    other = heart.chain(3, "other")
    assert ledger.get(record_hash(other[1])) is None
    assert chain(ledger, other[2]) == []
    ledger.append([other[2]])
    assert chain(ledger, other[2]) == [], "two that it comes from are missing"
    assert chain(ledger, records[-1], record_hash(other[1])) == records, "whoever has other records gets all"


def test_a_record_is_added_once_with_its_first_certificate(
    ledger: Ledger, heart: Signatories, records: list[Commit]
) -> None:
    again = heart.certified(replace(records[5], certificate=None), ["ada", "bob"])
    ledger.append([again, *records])
    assert chain(ledger, records[-1]) == records
    found = ledger.get(record_hash(again))
    assert found
    assert found.certificate == records[5].certificate


def test_records_of_lineages_that_were_given_up_stay(ledger: Ledger, heart: Signatories, records: list[Commit]) -> None:
    fork = heart.fork(records[3], "fork", ["ada"])
    forked = [fork, heart.after(fork), heart.after(heart.after(fork))]
    ledger.append(forked)
    ledger.append([heart.after(records[-1])])
    assert chain(ledger, forked[-1]) == [*records[:4], *forked]
    assert chain(ledger, forked[-1], record_hash(records[2])) == [records[3], *forked]
    assert chain(ledger, forked[-1], record_hash(forked[0])) == forked[1:]
    assert chain(ledger, forked[-1], record_hash(records[7])) == [*records[:4], *forked]
    assert chain(ledger, heart.after(records[-1])) == [*records, heart.after(records[-1])]


def test_two_records_of_one_round_and_what_follows_each_are_told_apart(
    ledger: Ledger, heart: Signatories, records: list[Commit]
) -> None:
    """Two certified records of a round exist only if peers lie."""
    other = heart.after(records[4], digest="another")
    later = heart.after(other)
    ledger.append([other, later])
    assert chain(ledger, later) == [*records[:5], other, later]
    assert chain(ledger, records[-1]) == records


def test_many_records_are_given_page_by_page(tmp_path: Path, heart: Signatories) -> None:
    long = [heart.founding()]
    while len(long) < 3 * PAGE + 5:
        long.append(heart.after(long[-1]))
    written(tmp_path, heart, long)
    ledger = opened(tmp_path, heart)
    assert chain(ledger, long[-1]) == long
    assert chain(ledger, long[-1], record_hash(long[PAGE])) == long[PAGE + 1 :]


def test_few_records_are_in_memory_while_many_are_given(tmp_path: Path, heart: Signatories) -> None:
    group = Signatories([f"hospital-{number:03}" for number in range(40)])
    long = [group.founding()]
    while len(long) < 300:
        # unsigned: only the size matters
        last = long[-1]
        long.append(replace(last, round=last.round + 1, previous=record_hash(last)))
    size = sum(len(encode_record(each)) for each in long)
    written(tmp_path, group, long, peer="hospital-000")
    ledger = opened(tmp_path, group, peer="hospital-000")
    tracemalloc.start()
    try:
        count = sum(len(record) for frame in record_frames(ledger.chain(record_hash(long[-1]))) for record in frame)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert count >= size > 4 * 2**20
    assert peak < size // 2
    assert peak > FRAME_BYTES


def test_the_start_of_a_long_chain_costs_as_little_as_that_of_a_short_one(
    tmp_path: Path, heart: Signatories, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever asks again and again for the first frame makes a peer read that, and nothing else."""
    long = heart.chain(500)
    path = written(tmp_path, heart, long)
    with open_database(path) as database:
        steps = 0

        def step() -> None:
            nonlocal steps
            steps += 1

        database._connection.set_progress_handler(step, 1)
        (span,) = database.spans(record_hash(long[-1]), "")
        database.page(span)
    assert steps < 2000, "operations of SQLite's virtual machine"


def test_frames_of_records_are_read_again(ledger: Ledger, records: list[Commit]) -> None:
    frames = [memoryview(b"".join(frame)) for frame in record_frames(ledger.chain(record_hash(records[-1])))]
    assert list(read_records(frames)) == records
    with pytest.raises(ExchangeError, match="these records are not here"):
        record_frames(ledger.chain("unknown"))


# What is stored ------------------------------------------------------------------------------------------------------


def test_rows_are_chained_and_the_head_is_signed(tmp_path: Path, heart: Signatories, records: list[Commit]) -> None:
    path = written(tmp_path, heart, records)
    with rows(path) as connection:
        found = connection.execute("SELECT number, record, link, content FROM records ORDER BY number").fetchall()
    assert [row[0] for row in found] == [*range(1, len(records) + 1)]
    assert [row[1] for row in found] == hashes(records)
    assert [decode_record(row[3]) for row in found] == records
    links = [first_link(SESSION, "ada"), *(row[2] for row in found)]
    assert links[1:] == [next_link(before, row[3]) for before, row in zip(links, found, strict=False)]
    head = read_head(tmp_path / HEAD)
    assert head
    assert head.head == Head(len(records), links[-1])
    assert heart.keys["bob"].verify(heart.keys["ada"].key, head.statement, head.signature)
    assert findings(path, heart) == []


def test_a_later_process_goes_on_where_the_ledger_ends(
    tmp_path: Path, heart: Signatories, records: list[Commit]
) -> None:
    for part in (records[:4], records[2:7], records):
        path = written(tmp_path, heart, part)
    assert audited(path, heart).count == len(records)
    assert findings(path, heart) == []
    assert sorted(each.name for each in tmp_path.iterdir()) == [HEAD, DATABASE]


def test_neither_weights_nor_secrets_are_in_the_files(
    tmp_path: Path, heart: Signatories, records: list[Commit]
) -> None:
    written(tmp_path, heart, records)
    private = heart.keys["ada"]._private.encode()
    data = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert private not in data
    assert private.hex().encode() not in data


def test_stored_tells_how_far_the_ledger_is_on_the_disk(
    tmp_path: Path, heart: Signatories, records: list[Commit]
) -> None:
    ledger = opened(tmp_path, heart)
    assert ledger.stored(record_hash(records[0]), 0.0) is None
    ledger.append(records)
    head = ledger.stored(record_hash(records[-1]), DEADLINE)
    assert head
    assert head.count == len(records)
    with open_database(tmp_path / DATABASE) as database:
        assert database.end() == head
    ledger.close(DEADLINE)
    assert MemoryLedger().stored(record_hash(records[0]), 0.0) is None


def test_threads_may_add_and_read_at_the_same_time(tmp_path: Path, heart: Signatories) -> None:
    lineages = [heart.chain(40, f"line-{number}") for number in range(4)]
    ledger = opened(tmp_path, heart)

    def add(records: list[Commit]) -> None:
        for record in records:
            ledger.append([record])

    def read(records: list[Commit]) -> None:
        while ledger.get(record_hash(records[-1])) is None:
            for record in records[::7]:
                given = chain(ledger, record)
                assert given in ([], records[: record.round + 1])

    together(*(partial(do, records) for do in (add, read) for records in lineages))
    ledger.close(DEADLINE)
    assert findings(tmp_path / DATABASE, heart) == []
    assert audited(tmp_path / DATABASE, heart).count == 160
    assert [chain(ledger, records[-1]) for records in lineages] == lineages


def test_the_newest_records_are_in_memory_for_the_worker(
    tmp_path: Path, heart: Signatories, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = heart.chain(NEWEST + 20)
    ledger = opened(tmp_path, heart)
    ledger.append(long)
    ledger.close(DEADLINE)
    again = opened(tmp_path, heart)
    monkeypatch.setattr("swarm.storage.ledger.stored.open_database", pytest.fail)
    for each in (ledger, again):
        assert [each.get(name) for name in hashes(long[-NEWEST:])] == long[-NEWEST:]


# A disk that fails ---------------------------------------------------------------------------------------------------


def test_a_disk_that_hangs_stops_nobody(
    tmp_path: Path, heart: Signatories, records: list[Commit], monkeypatch: pytest.MonkeyPatch
) -> None:
    works = threading.Event()
    append = LedgerFiles.append

    def hang(self: LedgerFiles, added: list[Commit]) -> Head:
        assert works.wait(DEADLINE)
        return append(self, added)

    monkeypatch.setattr(LedgerFiles, "append", hang)
    lines: list[str] = []
    ledger = opened(tmp_path, heart, lines)
    for record in records:
        ledger.append([record])
    assert chain(ledger, records[-1]) == records
    assert chain(ledger, records[-1], record_hash(records[4])) == records[5:]
    assert ledger.get(record_hash(records[3])) == records[3]
    assert ledger.stored(record_hash(records[0]), 0.0) is None
    ledger.close(timeout=0.0)
    assert lines == [
        f"ERROR {len(records)} records were not written to ledger {tmp_path / DATABASE} within 0 s: does the disk hang?"
    ]
    works.set()
    ledger.close(DEADLINE)
    assert findings(tmp_path / DATABASE, heart) == []


def test_a_full_disk_is_told_once_and_what_waits_is_written_later(
    tmp_path: Path, heart: Signatories, records: list[Commit]
) -> None:
    place, lines = tmp_path / "place", []
    place.write_text("in the way")
    ledger = opened(place, heart, lines)
    for count, record in enumerate(records[:3], 1):
        ledger.append([record])
        eventually(lambda count=count: len(lines) == count, "a line")
    assert [line.split()[0] for line in lines] == ["ERROR", "DEBUG", "DEBUG"]
    assert "kept in memory until they can be" in lines[0]
    assert chain(ledger, records[2]) == records[:3]
    assert ledger.stored(record_hash(records[2]), DEADLINE) is None, "it does not wait for what fails"
    place.unlink()
    ledger.append([records[3]])
    ledger.close(DEADLINE)
    assert len(lines) == 3
    assert findings(place / DATABASE, heart) == []
    assert audited(place / DATABASE, heart).count == 4


def test_a_database_that_is_full_loses_nothing(tmp_path: Path, heart: Signatories) -> None:
    files = LedgerFiles(tmp_path, owner(heart), pytest.fail)
    files._database._connection.execute("PRAGMA max_page_count = 14")
    stored = 0
    for record in heart.chain(30):
        with suppress(LedgerError):
            stored = files.append([record]).count
    files.close()
    assert 0 < stored < 30
    assert audited(tmp_path / DATABASE, heart).count == stored
    assert findings(tmp_path / DATABASE, heart) == []


def test_what_could_not_be_written_is_tried_once_more_at_the_end(
    tmp_path: Path, heart: Signatories, records: list[Commit]
) -> None:
    place, lines = tmp_path / "place", []
    place.write_text("in the way")
    ledger = opened(place, heart, lines)
    ledger.append(records)
    eventually(lambda: lines, "a line")
    place.unlink()
    ledger.close(DEADLINE)
    assert audited(place / DATABASE, heart).count == len(records)


def test_records_that_cannot_be_written_at_the_end_either_are_told_as_lost(
    tmp_path: Path, heart: Signatories, records: list[Commit]
) -> None:
    place, lines = tmp_path / "place", []
    place.write_text("in the way")
    ledger = opened(place, heart, lines)
    ledger.append(records)
    eventually(lambda: lines, "a line")
    ledger.close(DEADLINE)
    assert lines[-1].startswith(f"ERROR {len(records)} records of ledger {place / DATABASE} are lost, ")
    assert "File exists" in lines[-1]


# Other processes -----------------------------------------------------------------------------------------------------


def test_a_directory_that_another_run_writes_is_left_alone_until_that_ends(
    tmp_path: Path, heart: Signatories, records: list[Commit]
) -> None:
    first, lines = opened(tmp_path, heart), []
    first.append(records[:4])
    first.stored(record_hash(records[3]), DEADLINE)
    second = opened(tmp_path, heart, lines)
    second.append(records[:6])
    eventually(lambda: lines, "a line")
    assert "another live run writes it" in lines[0]
    assert chain(second, records[5]) == records[:6]
    first.close(DEADLINE)
    second.append([records[6]])
    second.close(DEADLINE)
    assert audited(tmp_path / DATABASE, heart).count == 7
    assert findings(tmp_path / DATABASE, heart) == []


def test_two_processes_that_write_to_one_directory_do_not_damage_it(tmp_path: Path, heart: Signatories) -> None:
    processes = [_writer(tmp_path, count=40) for _ in range(3)]
    for process in processes:
        process.communicate(timeout=60)
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert _links_hold(tmp_path / DATABASE) > 0


def test_a_forked_child_that_ends_harms_nothing(tmp_path: Path, heart: Signatories, records: list[Commit]) -> None:
    """In the child, Python clears all objects when it ends."""
    process = _writer(tmp_path, count=6, fork=True)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert _links_hold(tmp_path / DATABASE) == 6


WRITER = """
import os, sys
from pathlib import Path
from swarm.certification.statements import record_hash
from tests.certification.chains import Signatories
from tests.storage.ledgers import opened

place, count, fork = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3] == "True"
heart = Signatories()
ledger = opened(place, heart)
record = None
for _ in range(count):
    record = heart.after(record) if record else heart.founding(f"line-{os.getpid()}")
    ledger.append([record])
    if fork:
        child = os.fork()
        if child == 0:
            sys.exit(0)
        os.waitpid(child, 0)
    ledger.stored(record_hash(record), 30.0)
    print(record.round, flush=True)
ledger.close(30.0)
"""


def _writer(place: Path, *, count: int, fork: bool = False) -> subprocess.Popen[str]:
    root = Path(__file__).parents[2]
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(place), str(count), str(fork)],
        cwd=root,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(root), os.environ.get("PYTHONPATH", "")])},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _links_hold(path: Path) -> int:
    """The number of the rows of a ledger, whose links are right."""
    with open_database(path) as database:
        found = list(database.rows())
        links = [first_link(database.session, database.peer), *(row.link for row in found)]
    assert [next_link(link, row.content) for link, row in zip(links, found, strict=False)] == links[1:]
    assert [row.number for row in found] == [*range(1, len(found) + 1)]
    return len(found)


# Crashes -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
def test_a_process_that_is_killed_leaves_a_ledger_that_holds(tmp_path: Path, seed: int) -> None:
    random, expected = Random(seed), 0
    for _ in range(3):
        process = _writer(tmp_path, count=10_000)
        told = random.randrange(1, 30)
        assert process.stdout
        for _ in range(told):
            process.stdout.readline()
        process.send_signal(signal.SIGKILL)
        process.communicate()
        stored = _links_hold(tmp_path / DATABASE)
        assert stored >= expected + told, "what was said to be stored is there"
        expected = stored
        head = read_head(tmp_path / HEAD)
        assert head
        assert stored - 1 <= head.count <= stored


def test_a_log_that_is_cut_anywhere_leaves_a_ledger_that_holds_up_to_its_last_record(
    tmp_path: Path, heart: Signatories
) -> None:
    """As after a power cut: what was written last may be lost, and the head tells."""
    records = heart.chain(12)
    place, copy = tmp_path / "place", tmp_path / "copy"
    files = LedgerFiles(place, owner(heart), pytest.fail)
    for record in records:
        files.append([record])
    log = (place / f"{DATABASE}-wal").read_bytes()
    frames = range(32, len(log) + 1, 24 + 4096)  # after a header, each with one page
    lengths = {edge + near for edge in frames for near in (-1, 0, 1)} | {*range(0, len(log), 1009)}
    counts = set()
    for length in sorted(each for each in lengths if each <= len(log)):
        shutil.rmtree(copy, ignore_errors=True)
        copy.mkdir()
        for name in (DATABASE, HEAD):
            shutil.copyfile(place / name, copy / name)
        (copy / f"{DATABASE}-wal").write_bytes(log[:length])
        audit = audited(copy / DATABASE, heart)
        counts.add(audit.count)
        missing = [each for each in audit.findings if "missing at the end" in each]
        assert audit.findings == missing, length
        assert len(missing) == (audit.count < len(records)), length
    files.close()
    assert counts == {*range(len(records) + 1)}


def test_a_run_after_a_power_cut_goes_on_and_the_cut_stays_known(
    tmp_path: Path, heart: Signatories, records: list[Commit]
) -> None:
    path, lines = written(tmp_path, heart, records), []
    with rows(path) as connection:
        connection.execute("DELETE FROM records WHERE number > 8")
    ledger = opened(tmp_path, heart, lines)
    ledger.append(records)
    ledger.close(DEADLINE)
    (line,) = lines
    assert line.startswith(f"WARNING ledger {path}: it has not the 12 records that its head counts")
    assert "ledger-kept-1.head" in line
    assert chain(opened(tmp_path, heart), records[-1]) == records
    assert audited(path, heart).count == 12
    assert findings(path, heart) == [], "the very same records were added again"


def test_what_was_cut_off_and_replaced_stays_known(tmp_path: Path, heart: Signatories, records: list[Commit]) -> None:
    path = written(tmp_path, heart, records)
    with rows(path) as connection:
        connection.execute("DELETE FROM records WHERE number > 8")
    other = heart.after(records[7], digest="another")
    written(tmp_path, heart, [other, heart.after(other)])
    (finding,) = findings(path, heart)
    assert finding.startswith("the head of an earlier run, ledger-kept-1.head, counts 12 records")


@pytest.mark.parametrize("kind", ["missing", "damaged"])
def test_a_head_that_is_gone_at_a_start_stays_known(
    tmp_path: Path, heart: Signatories, records: list[Commit], kind: str
) -> None:
    path, lines = written(tmp_path, heart, records), []
    (tmp_path / HEAD).unlink() if kind == "missing" else (tmp_path / HEAD).write_text("{")
    ledger = opened(tmp_path, heart, lines)
    ledger.append([heart.after(records[-1])])
    ledger.close(DEADLINE)
    assert kind.removesuffix("aged") in lines[0] or "cannot be read" in lines[0]
    (finding,) = findings(path, heart)
    assert "ledger-kept-1.head, was missing or damaged when a run started" in finding


@pytest.mark.parametrize("damage", ["noise", "another database", "another peer", "middle", "schema", "format"])
def test_a_damaged_database_is_kept_and_a_new_one_begun(
    tmp_path: Path, heart: Signatories, records: list[Commit], damage: str
) -> None:
    path, lines = written(tmp_path, heart, heart.chain(200)), []
    if damage == "noise":
        path.write_bytes(b"\xff" * 10_000)
    elif damage == "another database":
        path.unlink()
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("CREATE TABLE patients (name TEXT)")
    elif damage == "another peer":
        with rows(path) as connection:
            connection.execute("UPDATE about SET value = 'bob' WHERE name = 'peer'")
    elif damage == "format":
        path.write_bytes((data := path.read_bytes())[:47] + b"\x05" + data[48:])
    elif damage == "schema":
        path.write_bytes(path.read_bytes().replace(b"CREATE TABLE", b"CREATE TABL\xff", 1))
    else:
        data = path.read_bytes()
        path.write_bytes(data[:4096] + b"\xff" * (len(data) - 8192) + data[-4096:])
    before = path.read_bytes()
    ledger = opened(tmp_path, heart, lines)
    ledger.append(records)
    ledger.close(DEADLINE)
    assert "it is kept as ledger-kept-1.sqlite, and a new one is begun" in lines[-1]
    assert (tmp_path / "ledger-kept-1.sqlite").read_bytes() == before
    assert audited(path, heart).count == len(records)
    assert any("ledger-kept-1.sqlite, was missing or damaged" in each for each in findings(path, heart))


def test_a_ledger_can_be_read_where_nothing_may_be_written(
    tmp_path: Path, heart: Signatories, records: list[Commit]
) -> None:
    path = written(tmp_path / "place", heart, records)
    path.parent.chmod(0o500)
    path.chmod(0o400)
    try:
        assert findings(path, heart) == []
        assert sorted(each.name for each in path.parent.iterdir()) == [HEAD, DATABASE]
    finally:
        path.parent.chmod(0o700)


def test_a_lock_is_held_by_one_until_it_is_released(tmp_path: Path) -> None:
    one, other = FileLock(tmp_path / "lock"), FileLock(tmp_path / "lock")
    assert one.take()
    assert not other.take()
    one.release()
    assert other.take()
    one.release()
    assert not one.take()
    other.release()
    assert [*tmp_path.iterdir()] == []
