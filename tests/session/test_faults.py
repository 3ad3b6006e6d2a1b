"""Peers that are slow, late, lost or not finite: which peers continue, with which weights and log lines."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import pytest

from swarm import hookimpl
from swarm.merge import WeightedMean
from swarm.plugins.hookspecs import Register
from swarm.records import Outcome
from swarm.tensors.state import Array
from swarm.testing.nodes import eventually
from swarm.testing.swarm import MemorySwarm, SwarmPeer, together

ZEROS = {"w": np.zeros(4, np.float32)}


def adding(amount: float):
    """A step that adds ``amount`` to every weight."""

    def step(peer: SwarmPeer) -> None:
        peer.arrays["w"] += amount

    return step


def value(peer: SwarmPeer) -> float:
    (only,) = set(peer.arrays["w"].tolist())
    return only


def warnings(peer: SwarmPeer) -> list[str]:
    return [line for line in peer.lines if not line.startswith(("INFO", "DEBUG"))]


def test_a_newcomer_heals_and_contributes() -> None:
    swarm = MemorySwarm(sync_interval=1, min_peers=2, straggler_timeout=20.0)
    ada, bob, cyd = (
        swarm.peer(name, {"w": np.full(4, 7.0, np.float32)} if name == "cyd" else ZEROS)
        for name in ("ada", "bob", "cyd")
    )
    two, came = threading.Event(), threading.Event()

    def founder(peer: SwarmPeer, amount: float) -> None:
        peer.session.begin()
        peer.go_on(1, adding(amount))
        two.set()
        assert came.wait(20)
        peer.go_on(1, adding(amount))
        peer.session.end()

    def newcomer() -> float:
        assert two.wait(20)
        cyd.session.begin()
        healed = value(cyd)
        came.set()
        cyd.go_on(1, adding(300.0))
        cyd.session.end()
        return healed

    *_, healed = together(partial(founder, ada, 2.0), partial(founder, bob, 4.0), newcomer)
    assert healed == 3.0
    assert "INFO joined a running session of 2 peers with the model of round 1" in cyd.lines
    assert "INFO 2 peers start from the same weights" in ada.lines
    assert [report.contributors for report in ada.reports] == [("ada", "bob"), ("ada", "bob", "cyd")]
    assert value(cyd) == value(ada) == 3.0 + (2 + 4 + 300) / 3
    assert not warnings(ada)
    assert not warnings(cyd)


def test_a_straggler_is_left_out_after_the_straggler_timeout_and_contributes_its_steps_next_time() -> None:
    swarm = MemorySwarm(sync_interval=1, world_size=3)
    ada, bob, cyd = (swarm.peer(name, ZEROS, straggler_timeout=0.2) for name in ("ada", "bob", "cyd"))
    merged = threading.Barrier(3)

    def fast(peer: SwarmPeer, amount: float) -> None:
        peer.session.begin()
        peer.go_on(1, adding(amount))
        merged.wait(20)
        eventually(lambda: cyd.session.commit.round == 1 and cyd.merging, "the straggler offers to round 2")
        peer.go_on(1, adding(amount))
        peer.session.end()

    def slow() -> None:
        cyd.session.begin()
        cyd.arrays["w"] += 300.0
        merged.wait(20)
        cyd.advance()
        cyd.session.end()

    together(partial(fast, ada, 2.0), partial(fast, bob, 4.0), slow)
    assert [report.contributors for report in bob.reports] == [("ada", "bob"), ("ada", "bob", "cyd")]
    assert bob.reports[0].missing == ("cyd",)
    assert "WARNING round 1 went ahead with fewer peers; missing: cyd (late)" in bob.lines
    assert value(cyd) == value(ada) == 3.0 + (2 + 4 + 300) / 3
    assert cyd.reports[0].round == 2


@pytest.mark.parametrize("poison", [np.nan, np.inf, -np.inf])
def test_weights_that_are_not_finite_are_left_out_by_name_and_replaced(poison: float) -> None:
    swarm = MemorySwarm(sync_interval=1, world_size=3)
    ada, bob, cyd = (swarm.peer(name, ZEROS) for name in ("ada", "bob", "cyd"))

    def run_wild(peer: SwarmPeer) -> None:
        peer.session.begin()
        peer.arrays["w"][2] = poison
        peer.advance()
        assert value(peer) == 3.0
        peer.session.end()

    together(partial(ada.train, 1, adding(2.0)), partial(bob.train, 1, adding(4.0)), partial(run_wild, cyd))
    assert [report.contributors for report in ada.reports] == [("ada", "bob")]
    assert ada.reports[0].group == ("ada", "bob", "cyd")
    assert value(ada) == value(bob) == value(cyd) == 3.0
    told = "WARNING round 1: contribution of cyd left out: its tensors hold NaN or infinity"
    assert any(told in peer.lines for peer in (ada, bob, cyd))


def test_if_no_weights_are_finite_the_last_committed_model_is_loaded() -> None:
    swarm = MemorySwarm(sync_interval=1, world_size=2)
    ada, bob = (swarm.peer(name, {"w": np.full(4, 5.0, np.float32)}) for name in ("ada", "bob"))
    together(*(partial(peer.train, 1, adding(np.nan)) for peer in (ada, bob)))
    assert value(ada) == value(bob) == 5.0


def test_a_contribution_that_a_plugin_screens_is_left_out() -> None:
    class Screen:
        @hookimpl
        def swarm_accept_contribution(self, contribution) -> str | None:
            return "it has moved too far" if contribution.delta_norm > 100 else None

    swarm = MemorySwarm(sync_interval=1, world_size=3)
    peers = [swarm.peer(name, ZEROS, plugins={"screen": Screen()}) for name in ("ada", "bob", "cyd")]
    together(*(partial(peer.train, 1, adding(amount)) for peer, amount in zip(peers, (2.0, 4.0, 1e6), strict=True)))
    assert {value(peer) for peer in peers} == {3.0}
    assert all(report.contributors == ("ada", "bob") for peer in peers for report in peer.reports)
    assert any("contribution of cyd left out: it has moved too far" in line for peer in peers for line in peer.lines)


def left_alone(batches: int, *, sync_interval: int) -> SwarmPeer:
    """A peer that has trained so many batches after the only other one was killed, and has ended."""
    swarm = MemorySwarm(sync_interval=sync_interval, world_size=2, straggler_timeout=0.05)
    ada, bob = swarm.peer("ada", ZEROS), swarm.peer("bob", ZEROS)
    together(ada.session.begin, bob.session.begin)
    swarm.kill(bob)
    ada.go_on(batches, adding(1.0))
    ada.session.end()
    return ada


def test_below_quorum_train_skips_and_keeps_the_steps() -> None:
    ada = left_alone(4, sync_interval=2)
    assert [report.outcome for report in ada.reports] == [Outcome.SKIPPED] * 2
    assert [(report.lineage, report.digest) for report in ada.reports] == [("", "")] * 2
    assert "below quorum: 1 of the 2 peers needed are here; missing: bob (gone)" in ada.reports[0].reason
    assert value(ada) == 4.0
    assert any("bob is gone (" in line for line in warnings(ada))
    assert any("no closing round (below quorum" in line for line in warnings(ada))


def test_a_peer_that_skips_one_sync_point_after_the_other_tells_some_of_them() -> None:
    ada = left_alone(40, sync_interval=1)
    told = [line.partition("skipped")[2] for line in ada.lines if line.startswith(("INFO round", "WARNING round"))]
    assert told[0].startswith(": below quorum")
    assert told[1:4] == [", as before"] * 3
    assert [line.partition("before, ")[2] for line in told[4:]] == [f"{n} times in a row" for n in (4, 8, 16, 32)]


def test_below_quorum_wait_pauses_until_the_peer_is_back() -> None:
    swarm = MemorySwarm(sync_interval=1, world_size=2, straggler_timeout=0.05, below_quorum="wait")
    ada, bob = swarm.peer("ada", ZEROS), swarm.peer("bob", ZEROS)
    together(ada.session.begin, bob.session.begin)
    places = [swarm.addresses[f"swarm_model/{name}"] for name in ("ada", "bob")]
    swarm.network.cut(*places)
    eventually(lambda: not ada.live and not bob.live, "they have lost each other")

    def restore() -> None:
        eventually(lambda: ada.merging, "ada waits")
        swarm.network.restore(*places)

    def train(peer: SwarmPeer, amount: float) -> None:
        peer.go_on(1, adding(amount))
        peer.session.end()

    together(partial(train, ada, 2.0), partial(train, bob, 4.0), restore)
    assert value(ada) == value(bob) == 3.0
    assert [report.outcome for report in ada.reports] == [Outcome.MERGED]


@pytest.mark.parametrize("victim", ["ada", "bob", "cyd", "dan"])
def test_three_of_four_go_on_when_one_is_killed(victim: str) -> None:
    names = ("ada", "bob", "cyd", "dan")
    swarm = MemorySwarm(sync_interval=2, world_size=4)
    peers = {name: swarm.peer(name, ZEROS) for name in names}
    ready = threading.Barrier(4)

    def train(peer: SwarmPeer) -> None:
        peer.session.begin()
        peer.go_on(4, adding(1.0))
        ready.wait(20)
        if peer.name == victim:
            swarm.kill(peer)
            return
        peer.go_on(5, adding(1.0))
        peer.session.end()

    together(*(partial(train, peer) for peer in peers.values()))
    left = [peer for name, peer in peers.items() if name != victim]
    assert len({peer.digest() for peer in left}) == 1
    for peer in left:
        assert any(line.startswith(f"WARNING {victim} is gone (") for line in peer.lines)
        assert any(line == f"WARNING round 3 went ahead with fewer peers; missing: {victim}" for line in peer.lines)
        assert [len(report.group) for report in peer.reports] == [4, 4, 3, 3]
        assert "of 3 peers" in next(line for line in peer.lines if "closing model" in line)


def test_one_failure_after_another_keeps_a_majority_of_the_last_membership() -> None:
    """4, then 3, then 2 peers: each time more than half of the last membership are left."""
    names = ("ada", "bob", "cyd", "dan")
    swarm = MemorySwarm(sync_interval=1, world_size=4, min_peers=2)
    peers = {name: swarm.peer(name, ZEROS) for name in names}
    leaving = {"dan": 1, "cyd": 2}

    def train(peer: SwarmPeer) -> None:
        peer.session.begin()
        for round_ in range(1, 5):
            if leaving.get(peer.name) == round_:
                swarm.kill(peer)
                return
            for name, last in leaving.items():
                if last == round_:
                    eventually(lambda name=name: name not in peer.live, f"{name} is lost")
            peer.go_on(1, adding(1.0))
        peer.session.end()

    together(*(partial(train, peer) for peer in peers.values()))
    ada, bob = peers["ada"], peers["bob"]
    assert ada.digest() == bob.digest()
    assert [len(report.group) for report in ada.reports] == [3, 2, 2, 2]
    assert not [line for line in ada.lines if "FORK" in line]


def test_observers_that_raise_are_logged_once_and_ignored() -> None:
    class Grumpy:
        @hookimpl
        def swarm_peer_joined(self, event) -> None:
            raise RuntimeError("no")

        @hookimpl
        def swarm_round_started(self, event) -> None:
            raise RuntimeError("no")

        @hookimpl
        def swarm_round_finished(self, event) -> None:
            raise RuntimeError("no")

        @hookimpl
        def swarm_session_closed(self, event) -> None:
            raise RuntimeError("no")

    swarm = MemorySwarm(sync_interval=2, world_size=2)
    ada = swarm.peer("ada", ZEROS, plugins={"grumpy": Grumpy()})
    bob = swarm.peer("bob", ZEROS)
    together(partial(ada.train, 5, adding(1.0)), partial(bob.train, 5, adding(1.0)))
    assert value(ada) == value(bob) == 5.0


def test_events_of_observers() -> None:
    class Notes:
        def __init__(self) -> None:
            self.events = []

        @hookimpl
        def swarm_peer_joined(self, event) -> None:
            self.events.append(("joined", event.peer.name))

        @hookimpl
        def swarm_peer_left(self, event) -> None:
            self.events.append(("left", event.peer, event.reason, event.polite))

        @hookimpl
        def swarm_round_started(self, event) -> None:
            self.events.append(("started", event.round))

        @hookimpl
        def swarm_round_finished(self, event) -> None:
            self.events.append((event.report.outcome.value, event.report.round))

        @hookimpl
        def swarm_session_closed(self, event) -> None:
            self.events.append(("closed", event.rounds, event.digest, event.closing))

    swarm = MemorySwarm(sync_interval=2, world_size=2)
    notes = Notes()
    ada = swarm.peer("ada", ZEROS, plugins={"notes": notes})
    bob = swarm.peer("bob", ZEROS)
    together(partial(ada.train, 4, adding(1.0)), partial(bob.train, 4, adding(1.0)))
    told = [event for event in notes.events if event[0] != "left"]
    assert told == [
        ("joined", "bob"),
        ("started", 0),
        ("started", 1),
        ("merged", 1),
        ("started", 2),
        ("merged", 2),
        ("started", 3),
        ("closed", 3),
        ("closed", 3, ada.digest(), True),
    ]


class Raising(WeightedMean):
    """A plugin's rule with a bug."""

    name = "raising"

    def merge(self, columns: Sequence[Array], weights: Sequence[int]) -> Array:
        if len(columns) > 1:
            raise ZeroDivisionError("a bug in the plugin")
        return super().merge(columns, weights)


class Given(WeightedMean):
    """A plugin's rule that gives what no model can hold."""

    def __init__(self, name: str, give: Callable[[Array], object]) -> None:
        self.name = name
        self._give = give

    def merge(self, columns: Sequence[Array], weights: Sequence[int]) -> Array:
        merged = super().merge(columns, weights)
        return self._give(merged) if len(columns) > 1 else merged


WRONG = {
    "raising": (Raising(), "ZeroDivisionError: a bug in"),
    "none": (Given("none", lambda merged: None), "merge rule 'none' gave NoneType for chunks of float64["),
    "short": (
        Given("short", lambda merged: merged[:-1]),
        "merge rule 'short' gave float64[1] for chunks of float64[2]",
    ),
    "single": (Given("single", lambda merged: merged.astype("f4")), "gave float32[2] for chunks of float64[2]"),
    "nan": (
        Given("nan", lambda merged: merged * np.nan),
        "merge rule 'nan' gave NaN or infinity for contributions that",
    ),
}


class WrongRules:
    @hookimpl
    def swarm_register(self, register: Register) -> None:
        for name, (rule, _) in WRONG.items():
            register.merge_rule(name, rule)


@pytest.mark.parametrize("rule", WRONG)
def test_a_merge_rule_that_is_wrong_is_named_and_neither_hangs_nor_ends_training(rule: str) -> None:
    swarm = MemorySwarm(sync_interval=1, world_size=2, merge_method=rule, failure_timeout=0.2, straggler_timeout=0.1)
    failures: list[str] = []

    class Observer:
        @hookimpl
        def swarm_round_failed(self, event) -> None:
            failures.append(event.reason)

    plugins = {"wrong": WrongRules(), "observer": Observer()}
    ada, bob = peers = [
        swarm.peer(name, {"w": np.zeros(4)}, plugins=plugins, below_quorum="train") for name in ("ada", "bob")
    ]

    def run(peer: SwarmPeer) -> None:
        peer.session.begin()
        while not (ada.reports and bob.reports):  # who left earlier would be missed, and nothing would be merged
            peer.arrays["w"] += 1.0
            peer.advance()
        peer.session.abort("enough seen")

    together(*(partial(run, peer) for peer in peers))
    for peer in peers:
        assert peer.arrays["w"].tolist() == [float(len(peer.reports))] * 4
        assert {report.outcome for report in peer.reports} == {Outcome.SKIPPED}
    assert any(WRONG[rule][1] in report.reason for peer in peers for report in peer.reports)
    attempts = [failure for failure in failures if failure.startswith("round 1: attempt")]
    assert attempts
    assert all("merging failed: " in attempt and WRONG[rule][1] in attempt for attempt in attempts)
    assert {f"WARNING {failure}" for failure in attempts} <= {*warnings(ada), *warnings(bob)}


def test_a_long_list_of_tensors_is_shortened() -> None:
    swarm = MemorySwarm(sync_interval=1, world_size=2)
    ada, bob = (swarm.peer(name, {letter: np.zeros(2) for letter in "abcdefg"}) for name in ("ada", "bob"))

    def poison(peer: SwarmPeer) -> None:
        for name in peer.arrays:
            peer.arrays[name] += np.nan if peer is ada else 1.0

    together(*(partial(peer.train, 1, poison) for peer in (ada, bob)))
    (line,) = [line for line in ada.lines if "NaN or infinity here in" in line]
    assert line.startswith("WARNING NaN or infinity here in a, b, c, d, e and 2 more: ")
