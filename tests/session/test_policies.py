"""Which policy sets the interval of a session."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Sequence
from functools import partial
from threading import Lock
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest

from swarm import hookimpl
from swarm.errors import ConfigurationError, IncompatiblePeerError
from swarm.records import SyncState
from swarm.sync import Signal, SyncPolicy
from swarm.tensors.model import Evaluation, LearningRate
from swarm.testing.swarm import MemorySwarm, SwarmPeer, together

ZEROS = {"w": np.zeros(3, np.float32)}


class Doubling(SyncPolicy):
    """Twice the interval after each round."""

    name: ClassVar[str] = "doubling"

    def next(self, state, signals):
        return SyncState(2 * state.interval)


class Following(Doubling):
    name: ClassVar[str] = "following"
    signal = Signal.VALIDATION_LOSS


class Raising(Doubling):
    def next(self, state, signals):
        raise ZeroDivisionError("no losses to divide by")


class Vanishing(Doubling):
    def next(self, state, signals):
        return SyncState(0)


class Mistyped(Doubling):
    def next(self, state, signals):
        return SyncState(4, "low")


class Undefined(Doubling):
    def next(self, state, signals):
        return SyncState(8, math.nan)


def plugin(policy: type[SyncPolicy]) -> dict[str, object]:
    @hookimpl
    def swarm_register(register):
        register.sync_policy("mine", policy)

    return {"clinic": SimpleNamespace(swarm_register=swarm_register)}


def step(peer: SwarmPeer) -> None:
    peer.arrays["w"] += 1


@pytest.mark.parametrize("adaptive", [False, True])
def test_a_registered_policy_sets_the_interval_on_every_peer(adaptive: bool) -> None:
    swarm = MemorySwarm(sync_interval=2, world_size=2, sync_policy="Mine", use_adaptive_sync=adaptive)
    ada, bob = (swarm.peer(name, ZEROS, plugins=plugin(Doubling)) for name in ("ada", "bob"))
    together(partial(ada.train, 14, step), partial(bob.train, 14, step))
    assert [report.interval for report in ada.reports] == [4, 8, 16]
    assert [report.interval for report in bob.reports] == [4, 8, 16]
    assert ada.digest() == bob.digest()


@pytest.mark.parametrize(
    ("policy", "fault"),
    [
        (Raising, "Raising raised ZeroDivisionError: no losses to divide by"),
        (Vanishing, r"Vanishing gave SyncState\(interval=0, reference=None\): allowed are"),
        (Mistyped, "Mistyped raised TypeError: must be real number"),
        (Undefined, r"Undefined gave SyncState\(interval=8, reference=nan\): allowed are"),
    ],
)
def test_a_policy_that_fails_leaves_the_interval_and_is_reported_once(policy: type[SyncPolicy], fault: str) -> None:
    swarm = MemorySwarm(sync_interval=2, world_size=2, sync_policy="mine")
    peers = [swarm.peer(name, ZEROS, plugins=plugin(policy)) for name in ("ada", "bob")]
    together(*(partial(peer.train, 12, step) for peer in peers))
    for peer in peers:
        assert [report.interval for report in peer.reports] == [2] * 6
        assert len([line for line in peer.lines if line.startswith("ERROR the sync policy")]) <= 1
    errors = [line for peer in peers for line in peer.lines if line.startswith("ERROR")]
    assert errors
    assert all(re.search(fault, line) for line in errors)


def test_an_unknown_policy_fails_at_the_start_and_the_known_are_named() -> None:
    peer = MemorySwarm(sync_policy="doublin").peer("ada", ZEROS, plugins=plugin(Doubling))
    with pytest.raises(
        ConfigurationError,
        match="sync_policy='doublin' is not allowed: allowed is 'adacomm' or 'drift' or 'fixed' or 'mine' or",
    ):
        peer.session.begin()


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"sync_policy": "mine"}, "sync_policy='mine'"),
        ({"sync_policy": "validation"}, "sync_policy='validation'"),
    ],
)
def test_a_policy_that_needs_a_loss_is_refused_where_there_is_none(settings: dict[str, object], named: str) -> None:
    swarm = MemorySwarm(world_size=1, **settings)
    without = swarm.peer("ada", ZEROS, plugins=plugin(Following))
    with pytest.raises(
        ConfigurationError, match=f"{named} follows the validation loss of the last merged model, .* give val_data"
    ):
        without.session.begin()
    within = swarm.peer("ada", ZEROS, plugins=plugin(Following), evaluate=lambda: Evaluation(loss=1.0))
    within.train(1, step)


def test_peers_under_different_policies_refuse_each_other_by_name() -> None:
    swarm = MemorySwarm(sync_interval=2, world_size=2, start_timeout=5.0)
    ada = swarm.peer("ada", ZEROS, plugins=plugin(Doubling), sync_policy="mine")
    bob = swarm.peer("bob", ZEROS, plugins=plugin(Doubling))

    def begin(peer: SwarmPeer) -> str:
        with pytest.raises(IncompatiblePeerError) as caught:
            peer.session.begin()
        return str(caught.value)

    for said in together(partial(begin, ada), partial(begin, bob)):
        assert "sync_policy" in said
        assert "mine" in said
        assert "fixed" in said


def test_the_switch_and_the_name_of_its_policy_agree() -> None:
    swarm = MemorySwarm(sync_interval=2, world_size=2)
    losses = {name: iter([4.0, 3.0, 2.0, 1.0]) for name in ("ada", "bob")}
    ada, bob = (
        swarm.peer(name, ZEROS, evaluate=lambda name=name: Evaluation(loss=next(losses[name])), **settings)
        for name, settings in {"ada": {"use_adaptive_sync": True}, "bob": {"sync_policy": "validation"}}.items()
    )
    together(partial(ada.train, 4, step), partial(bob.train, 4, step))
    assert [report.interval for report in ada.reports] == [report.interval for report in bob.reports] == [2, 3]


# What the policies follow ------------------------------------------------------------------------------------------


def intervals(swarm: MemorySwarm, *, losses: Sequence[float] = (), **options: Any) -> list[list[int]]:
    """The intervals of two peers that train 24 batches; with ``losses`` they tell one at each sync point."""

    def run(peer: SwarmPeer) -> list[int]:
        told = iter(losses)
        peer.session.begin()
        for _ in range(24):
            peer.arrays["w"] += 1
            peer.advance(loss=next(told, 1.0) if losses and peer.session.batches_left <= 1 else None)
        peer.session.end()
        return [report.interval for report in peer.reports]

    return together(*(partial(run, swarm.peer(name, ZEROS, **options)) for name in ("ada", "bob")))


def test_adacomm_follows_the_training_loss() -> None:
    swarm = MemorySwarm(sync_interval=8, world_size=2, sync_policy="adacomm")
    assert intervals(swarm, losses=(4.0, 1.0, 1.0)) == [[8, 4, 4, 4]] * 2


def test_a_training_that_tells_no_loss_is_refused_at_its_first_sync_point() -> None:
    swarm = MemorySwarm(sync_interval=8, world_size=1, sync_policy="adacomm", start_timeout=5.0)
    ada = swarm.peer("ada", ZEROS)
    ada.session.begin()
    with pytest.raises(ConfigurationError, match=r"follows the training loss of the last batch.* on_batch_end\(loss="):
        ada.go_on(8, step)
    ada.session.abort("a test")


def test_qsr_follows_the_learning_rate() -> None:
    rates = iter([0.4, 0.4, 0.4, 0.4, *[0.2] * 20])
    lock = Lock()

    def now() -> float:
        with lock:
            return next(rates)

    swarm = MemorySwarm(sync_interval=2, world_size=2, sync_policy="qsr")
    found = intervals(swarm, learning_rate=LearningRate(now))
    assert found[0] == found[1]
    assert (found[0][0], found[0][-1]) == (2, 8)


def test_qsr_without_an_optimizer_is_refused_at_the_start() -> None:
    ada = MemorySwarm(sync_policy="qsr").peer("ada", ZEROS)
    with pytest.raises(ConfigurationError, match="sync_policy='qsr' follows the learning rate, .*: give optimizer="):
        ada.session.begin()


def test_drift_follows_how_far_the_weights_move() -> None:
    swarm = MemorySwarm(sync_interval=4, world_size=2, sync_policy="drift")

    def run(peer: SwarmPeer) -> list[int]:
        peer.session.begin()
        for batch in range(24):
            peer.arrays["w"] += 1 if batch < 4 else 2
            peer.advance()
        peer.session.end()
        return [report.interval for report in peer.reports]

    found = together(*(partial(run, swarm.peer(name, ZEROS)) for name in ("ada", "bob")))
    assert found[0] == found[1]
    assert found[0][:3] == [4, 2, 2]


def test_seconds_follows_the_time_of_a_batch() -> None:
    swarm = MemorySwarm(sync_interval=2, world_size=2, sync_policy="seconds", sync_seconds=0.2)

    def slow(peer: SwarmPeer) -> None:
        peer.arrays["w"] += 1
        time.sleep(0.02)  # a batch takes its time

    ada, bob = (swarm.peer(name, ZEROS) for name in ("ada", "bob"))
    together(partial(ada.train, 24, slow), partial(bob.train, 24, slow))
    assert [report.interval for report in ada.reports] == [report.interval for report in bob.reports]
    assert 3 <= ada.reports[0].interval <= 10


@pytest.mark.parametrize(
    ("options", "chosen"),
    [
        ({"evaluate": lambda: Evaluation(loss=1.0)}, "validation"),
        ({}, "adacomm"),
        ({"learning_rate": LearningRate(lambda: 0.1)}, "adacomm"),
        ({"learning_rate": LearningRate(lambda: 0.1, decays=True)}, "qsr"),
    ],
)
def test_adaptive_sync_is_the_policy_for_which_there_is_a_signal(options: dict[str, Any], chosen: str) -> None:
    swarm = MemorySwarm(sync_interval=2, world_size=2, use_adaptive_sync=True, start_timeout=5.0)
    other = swarm.peer("bob", ZEROS, sync_policy="mine", plugins=plugin(Doubling))

    def begin(peer: SwarmPeer) -> str:
        with pytest.raises(IncompatiblePeerError) as caught:
            peer.session.begin()
        return str(caught.value)

    said = together(
        partial(begin, swarm.peer("ada", ZEROS, plugins=plugin(Doubling), **options)), partial(begin, other)
    )
    assert all(chosen in text for text in said)


@pytest.mark.parametrize("loss", [math.nan, -math.inf, 1e200])
def test_a_loss_that_is_no_number_is_told_as_infinity(loss: float) -> None:
    told: list[float] = []

    class Listening(Doubling):
        signal = Signal.VALIDATION_LOSS

        def next(self, state: SyncState, signals: Sequence[tuple[int, float]]) -> SyncState:
            told.extend(signal for _, signal in signals)
            return state

    swarm = MemorySwarm(sync_interval=2, world_size=2, sync_policy="mine")
    peers = [
        swarm.peer(name, ZEROS, plugins=plugin(Listening), evaluate=lambda: Evaluation(loss=loss))
        for name in ("ada", "bob")
    ]
    together(*(partial(peer.train, 4, step) for peer in peers))
    assert set(told) == {math.inf}
