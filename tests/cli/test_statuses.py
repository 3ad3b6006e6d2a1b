from __future__ import annotations

import json
import threading

import pytest

from swarm.cli.answers import PeerView, parse
from swarm.cli.statuses import StatusBoard, published
from swarm.clock import ManualClock
from swarm.errors import UnreachablePeerError


@pytest.fixture
def rendezvous(tmp_path):
    for rank in range(2):
        record = {"name": f"peer-{rank}", "address": f"127.0.0.1:{7000 + rank}", "incarnation": "x", "pid": 1}
        (tmp_path / f"peer-{rank}.json").write_text(json.dumps(record))
    return tmp_path


def test_published_addresses_are_read_by_name(rendezvous):
    (rendezvous / "torn.json").write_text('{"name": "pe')
    (rendezvous / "other.json").write_text("[]")

    assert published(rendezvous) == {"peer-0": "127.0.0.1:7000", "peer-1": "127.0.0.1:7001"}


def test_an_answer_is_read_and_what_is_missing_keeps_its_default():
    full = {
        "name": "a", "address": "h:1", "session": "heart", "status": "training", "round": 3, "interval": 8,
        "loss": 0.5, "bytes_sent": 10, "bytes_received": 20, "epoch": 2, "total_epochs": 4, "seconds_left": 7,
        "peers": [{"name": "b", "address": "h:2", "state": "suspect", "weight": 1}],
    }  # fmt: skip

    assert parse(full) == PeerView(
        name="a", address="h:1", session="heart", status="training", round=3, interval=8, loss=0.5, bytes_sent=10,
        bytes_received=20, epoch=2, total_epochs=4, seconds_left=7.0,
        peers=(PeerView(name="b", address="h:2", status="suspect"),),
    )  # fmt: skip
    assert parse({"name": "a", "round": None, "loss": None}) == PeerView(name="a")


def test_the_board_keeps_what_a_peer_said_last(rendezvous):
    answers = {"127.0.0.1:7000": [{"name": "peer-0", "round": 1}, {"name": "peer-0", "round": 2}]}

    def fetch(address, timeout):
        if not answers.get(address):
            raise UnreachablePeerError(address)
        return answers[address].pop(0)

    clock = ManualClock()
    board = StatusBoard(rendezvous, fetch, clock=clock)
    seen, silent = [], []
    for _ in range(4):
        clock.advance(1.5)
        board.refresh()
        seen.append(board.view("peer-0").round)
        silent.append(board.silent_for("peer-0"))

    assert seen == [1, 2, 2, 2]
    assert silent == [0.0, 0.0, 1.5, 3.0]
    assert board.view("peer-1") is None
    assert board.silent_for("peer-1") == 0.0


def test_a_peer_that_hangs_does_not_keep_the_others_from_being_asked(rendezvous):
    other_answered = threading.Event()
    in_time = []

    def fetch(address, timeout):
        if address == "127.0.0.1:7000":
            in_time.append(other_answered.wait(10))
            raise UnreachablePeerError(address)
        other_answered.set()
        return {"name": "peer-1", "round": 1}

    board = StatusBoard(rendezvous, fetch)
    board.refresh()

    assert in_time == [True]
    assert board.view("peer-1").round == 1


def test_a_peer_that_takes_its_address_back_has_left_and_is_not_silent(rendezvous):
    clock = ManualClock()
    answer = {"name": "any", "status": "training", "round": 3, "seconds_left": 60}
    board = StatusBoard(rendezvous, lambda address, timeout: answer, clock=clock)
    board.refresh()
    (rendezvous / "peer-0.json").unlink()
    clock.advance(20.0)
    board.refresh()

    assert board.view("peer-0") == PeerView(name="any", status="left the swarm", round=3)
    assert board.silent_for("peer-0") == 0.0
    assert board.view("peer-1").status == "training"


def test_of_a_peer_with_several_sessions_the_first_is_shown(rendezvous):
    board = StatusBoard(rendezvous, lambda address, timeout: {"sessions": [{"name": "a", "round": 1}, {"name": "b"}]})
    board.refresh()

    assert board.view("peer-0") == PeerView(name="a", round=1)


def test_a_peer_that_ended_has_no_time_left(rendezvous):
    board = StatusBoard(rendezvous, lambda address, timeout: {"name": "any", "epoch": 2, "seconds_left": 60})
    board.refresh()
    board.ended("peer-0")

    assert board.view("peer-1").seconds_left == 60
    assert board.view("peer-0") == PeerView(name="any", epoch=2)


def test_a_peer_that_ended_is_not_asked(rendezvous):
    asked = []
    board = StatusBoard(rendezvous, lambda address, timeout: asked.append(address) or {"name": "any"})
    board.ended("peer-0")

    board.refresh()

    assert asked == ["127.0.0.1:7001"]
