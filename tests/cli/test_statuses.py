from __future__ import annotations

import json

import pytest

from swarm.cli.statuses import PeerView, StatusBoard, parse, published
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
        "loss": 0.5, "bytes_sent": 10, "bytes_received": 20,
        "peers": [{"name": "b", "address": "h:2", "state": "suspect", "weightage": 1}],
    }  # fmt: skip

    assert parse(full) == PeerView(
        name="a", address="h:1", session="heart", status="training", round=3, interval=8, loss=0.5, bytes_sent=10,
        bytes_received=20, peers=(PeerView(name="b", address="h:2", status="suspect"),),
    )  # fmt: skip
    assert parse({"name": "a", "round": None, "loss": None}) == PeerView(name="a")


def test_the_board_keeps_what_a_peer_said_last(rendezvous):
    answers = {"127.0.0.1:7000": [{"name": "peer-0", "round": 1}, {"name": "peer-0", "round": 2}]}

    def fetch(address, timeout):
        if not answers.get(address):
            raise UnreachablePeerError(address)
        return answers[address].pop(0)

    board = StatusBoard(rendezvous, fetch)
    seen = []
    for _ in range(3):
        board.refresh()
        seen.append(board.view("peer-0").round)

    assert seen == [1, 2, 2]
    assert board.view("peer-1") is None


def test_a_peer_that_ended_is_not_asked(rendezvous):
    asked = []
    board = StatusBoard(rendezvous, lambda address, timeout: asked.append(address) or {"name": "any"})
    board.ended("peer-0")

    board.refresh()

    assert asked == ["127.0.0.1:7001"]
