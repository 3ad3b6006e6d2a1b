"""What a peer tells whoever asks for its status."""

from __future__ import annotations

import json
import threading
import time
from functools import partial

import numpy as np

from swarm.cli.answers import plain
from swarm.peer.recent import MOST_RECORDS, MOST_ROUNDS, MOST_WARNINGS, Recent, RecentRounds
from swarm.records import Commit, Outcome, RoundReport, SyncState
from swarm.tensors.model import Evaluation
from swarm.testing.swarm import MemorySwarm, SwarmPeer, together


def step(peer: SwarmPeer) -> None:
    peer.arrays["w"] += 1.0


def until(condition) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def test_the_last_rounds_are_told_with_where_their_time_went() -> None:
    swarm = MemorySwarm(sync_interval=2, world_size=2)
    evaluate = partial(Evaluation, 0.5, {"accuracy": 0.75})
    ada = swarm.peer("ada", {"w": np.zeros(1)}, evaluate=evaluate)
    bob = swarm.peer("bob", {"w": np.zeros(1)})
    told = []

    def train(peer: SwarmPeer) -> None:
        peer.session.begin()
        for _ in range(6):
            step(peer)
            peer.advance(loss=1.5)
        told.append(json.loads(json.dumps(peer.session.status())))
        peer.session.end()

    together(partial(train, ada), partial(train, bob))
    first = next(status for status in told if status["name"] == "ada")
    assert [each["round"] for each in first["rounds"]] == [1, 2, 3]
    for each in first["rounds"]:
        assert each["outcome"] == "merged"
        assert each["steps"] == 2
        assert each["loss"] == 0.5
        assert each["metrics"] == {"accuracy": 0.75}
        assert each["batch_loss"] == 1.5
        assert each["exchanged"] > 0
        assert each["waited"] + each["exchanged"] <= each["seconds"]
        assert set(each["waited_for"]) <= {"bob"}
    assert [each["round"] for each in first["records"]] == [0, 1, 2, 3]
    last = first["records"][-1]
    assert last["contributors"] == {"ada": 1, "bob": 1}
    assert last["refused"] == []
    assert len({each["record"] for each in first["records"]}) == 4
    assert plain(first) == first, "`swarm status --json` shows all of it"


def test_a_peer_that_waits_says_for_whom() -> None:
    swarm = MemorySwarm(sync_interval=2, world_size=2)
    ada, bob = swarm.peer("ada", {"w": np.zeros(1)}), swarm.peer("bob", {"w": np.zeros(1)})
    seen, go_on = [], threading.Event()

    def watches() -> None:
        until(lambda: ada.session.status().get("status") == "waiting")
        seen.append(ada.session.status())
        go_on.set()

    def late() -> None:
        bob.session.begin()
        go_on.wait(20)
        bob.go_on(2, step)
        bob.session.end()

    together(partial(ada.train, 2, step), late, watches)
    assert seen[0]["waits_for"] == ["bob"]
    assert ada.reports[0].waited_for == ("bob",)
    assert 0 < ada.reports[0].waited < ada.reports[0].seconds
    assert ada.session.status()["waits_for"] == []


def test_a_skipped_sync_point_says_for_whom_it_waited_in_vain() -> None:
    swarm = MemorySwarm(sync_interval=2, world_size=2, failure_timeout=1.0)
    ada, bob = swarm.peer("ada", {"w": np.zeros(1)}), swarm.peer("bob", {"w": np.zeros(1)})
    together(ada.session.begin, bob.session.begin)
    ada.go_on(2, step)
    status = json.loads(json.dumps(ada.session.status()))
    assert status["rounds"][0]["outcome"] == "skipped"
    assert status["rounds"][0]["reason"].startswith("bob did not reach a sync point")
    assert status["rounds"][0]["waited_for"] == ["bob"]
    ada.session.abort("seen")
    bob.session.abort("seen")


def test_where_settings_come_from_is_told_in_a_word() -> None:
    swarm = MemorySwarm(sync_interval=2, world_size=2)
    ada, bob = swarm.peer("ada", {"w": np.zeros(1)}), swarm.peer("bob", {"w": np.zeros(1)})
    together(partial(ada.train, 2, step), partial(bob.train, 2, step))
    origins = ada.session.status()["origins"]
    assert origins["sync_interval"] == "argument"
    assert origins["merge_method"] == "default"
    assert origins.keys() <= ada.session.status()["settings"].keys()


def test_what_is_kept_is_bounded() -> None:
    rounds, recent = RecentRounds(), Recent()
    for number in range(2 * MOST_ROUNDS):
        rounds.add(RoundReport(outcome=Outcome.MERGED, round=number), None, None)
        recent.commit(
            Commit(
                lineage="a", round=number, digest="", members=("a",), group=("a",), contributors=(), sync=SyncState(1)
            )
        )
        recent.warn(f"round {number}")
    told = recent.describe()
    assert [each["round"] for each in rounds.describe("a")] == [*range(MOST_ROUNDS, 2 * MOST_ROUNDS)]
    assert len(told["records"]) == MOST_RECORDS
    assert [each["text"] for each in told["warnings"]] == [
        f"round {number}" for number in range(2 * MOST_ROUNDS - MOST_WARNINGS, 2 * MOST_ROUNDS)
    ]
    assert rounds.last.round == 2 * MOST_ROUNDS - 1
