"""The records of how sessions of local peers ended."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, replace

import pytest

from swarm.storage.session_records import DIRECTORY, SessionRecord, read_records, record_of, write_record

CLOSED = SessionRecord(
    rank=1, session="heart", ended=True, closing=True, round=7, digest="d", file="/m/f", bytes_sent=3
)
BEGUN = SessionRecord(rank=0, session="heart")


@pytest.fixture
def rendezvous(tmp_path):
    (tmp_path / DIRECTORY).mkdir()
    return tmp_path


def test_the_latest_record_of_each_session_of_each_peer_counts(rendezvous):
    later = replace(CLOSED, run=2, digest="e")
    for record in (CLOSED, BEGUN, later):
        write_record(rendezvous, record)
    assert read_records(rendezvous) == [BEGUN, later]
    assert record_of(rendezvous, 1, "heart") == later
    assert record_of(rendezvous, 1, "lungs") is None


def test_sessions_of_one_peer_have_a_record_each_whatever_they_are_called(rendezvous):
    records = [replace(BEGUN, session=name) for name in ("a.b", "a/b", "x" * 128)]
    for record in records:
        write_record(rendezvous, record)
    assert read_records(rendezvous) == records


def test_without_a_launcher_nothing_is_written(tmp_path):
    write_record(tmp_path, CLOSED)
    write_record(tmp_path / "nowhere", CLOSED)
    assert not list(tmp_path.iterdir())
    assert read_records(tmp_path) == []


@pytest.mark.parametrize(
    "change",
    [{"rank": "0"}, {"rank": True}, {"rank": None}, {"closing": 1}, {"round": "7"}, {"round": 1.5}, {"digest": None},
     {"run": "1"}, {"more": 1}, {"session": ["heart"]}],
)  # fmt: skip
def test_files_that_are_no_record_are_skipped(rendezvous, change):
    folder = rendezvous / DIRECTORY
    write_record(rendezvous, CLOSED)
    (folder / "changed.json").write_text(json.dumps(asdict(CLOSED) | change))
    (folder / "torn.json").write_text(json.dumps(asdict(CLOSED))[:-10])
    (folder / "deep.json").write_text("[" * 5000)
    (folder / "binary.json").write_bytes(b"\xff\xfe")
    (folder / "folder.json").mkdir()
    os.mkfifo(folder / "pipe.json")
    assert read_records(rendezvous) == [CLOSED]


def test_text_is_made_printable(rendezvous):
    write_record(rendezvous, SessionRecord(rank=0, session="\x1b[31m", reason="two\nlines"))
    (found,) = read_records(rendezvous)
    assert (found.session, found.reason) == (r"\x1b[31m", r"two\nlines")


def test_a_path_that_is_no_unicode_is_written_and_shown_escaped(rendezvous):
    write_record(rendezvous, replace(CLOSED, file="/m/\udcff.safetensors"))
    assert [record.file for record in read_records(rendezvous)] == [r"/m/\udcff.safetensors"]
