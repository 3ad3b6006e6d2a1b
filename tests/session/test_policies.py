"""Which policy sets the interval of a session."""

from __future__ import annotations

import math
import re
from functools import partial
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest

from swarm import hookimpl
from swarm.errors import ConfigurationError, IncompatiblePeerError
from swarm.records import SyncState
from swarm.sync import SyncPolicy
from swarm.tensors.model import Evaluation
from swarm.testing.swarm import MemorySwarm, SwarmPeer, together

ZEROS = {"w": np.zeros(3, np.float32)}


class Doubling(SyncPolicy):
    """Twice the interval after each round."""

    name: ClassVar[str] = "doubling"

    def next(self, state, losses):
        return SyncState(2 * state.interval)


class Following(Doubling):
    name: ClassVar[str] = "following"
    needs_loss: ClassVar[bool] = True


class Raising(Doubling):
    def next(self, state, losses):
        raise ZeroDivisionError("no losses to divide by")


class Vanishing(Doubling):
    def next(self, state, losses):
        return SyncState(0)


class Mistyped(Doubling):
    def next(self, state, losses):
        return SyncState(4, "low")


class Undefined(Doubling):
    def next(self, state, losses):
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
        (Vanishing, r"Vanishing gave SyncState\(interval=0, loss=None\): allowed are"),
        (Mistyped, "Mistyped raised TypeError: must be real number"),
        (Undefined, r"Undefined gave SyncState\(interval=8, loss=nan\): allowed are"),
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
        ConfigurationError, match="sync_policy='doublin' is not allowed: allowed is 'fixed' or 'mine' or 'validation'"
    ):
        peer.session.begin()


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"sync_policy": "mine"}, "sync_policy='mine'"),
        ({"sync_policy": "validation"}, "sync_policy='validation'"),
        ({"use_adaptive_sync": True}, "use_adaptive_sync=True"),
    ],
)
def test_a_policy_that_needs_a_loss_is_refused_where_there_is_none(settings: dict[str, object], named: str) -> None:
    swarm = MemorySwarm(world_size=1, **settings)
    without = swarm.peer("ada", ZEROS, plugins=plugin(Following))
    with pytest.raises(ConfigurationError, match=f"{named} follows the merged model's validation loss.* give val_data"):
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
