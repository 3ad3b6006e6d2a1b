"""What sessions of local peers leave for the launcher."""

from __future__ import annotations

import json
import os
from dataclasses import asdict

import pytest

from swarm.membership.outcomes import DIRECTORY, SessionOutcome, leave, outcomes

CLOSED = SessionOutcome(
    rank=1, session="heart", ended=True, closing=True, round=7, digest="d", file="/m/f", bytes_sent=3
)
BEGUN = SessionOutcome(rank=0, session="heart")


@pytest.fixture
def rendezvous(tmp_path):
    (tmp_path / DIRECTORY).mkdir()
    return tmp_path


def test_the_last_word_of_each_session_counts(rendezvous):
    leave(rendezvous, "b", CLOSED)
    leave(rendezvous, "a", CLOSED)
    leave(rendezvous, "a", BEGUN)
    assert outcomes(rendezvous) == [BEGUN, CLOSED]


def test_without_a_launcher_nothing_is_left(tmp_path):
    leave(tmp_path, "a", CLOSED)
    leave(tmp_path / "nowhere", "a", CLOSED)
    assert not list(tmp_path.iterdir())
    assert outcomes(tmp_path) == []


@pytest.mark.parametrize(
    "change",
    [{"rank": "0"}, {"rank": True}, {"rank": None}, {"closing": 1}, {"round": "7"}, {"round": 1.5}, {"digest": None},
     {"more": 1}, {"session": ["heart"]}],
)  # fmt: skip
def test_what_is_no_outcome_is_passed_over(rendezvous, change):
    folder = rendezvous / DIRECTORY
    leave(rendezvous, "good", CLOSED)
    (folder / "changed.json").write_text(json.dumps(asdict(CLOSED) | change))
    (folder / "torn.json").write_text(json.dumps(asdict(CLOSED))[:-10])
    (folder / "deep.json").write_text("[" * 5000)
    (folder / "binary.json").write_bytes(b"\xff\xfe")
    (folder / "folder.json").mkdir()
    os.mkfifo(folder / "pipe.json")
    assert outcomes(rendezvous) == [CLOSED]


def test_text_is_made_printable(rendezvous):
    leave(rendezvous, "a", SessionOutcome(rank=0, session="\x1b[31m", reason="two\nlines"))
    (found,) = outcomes(rendezvous)
    assert (found.session, found.reason) == (r"\x1b[31m", r"two\nlines")
