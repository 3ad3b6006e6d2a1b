"""The warning where merged models are much worse on a site's own batches than its model right before the merge."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial

import numpy as np
import pytest

from swarm.session.loss_change import WINDOW, LossChange
from swarm.testing.swarm import MemorySwarm, SwarmPeer, together


def told(caplog: pytest.LogCaptureFixture, pairs: Sequence[tuple[float, float]], first: float = 2.0) -> list[str]:
    """The warnings after merges with these losses before and after."""
    change = LossChange(logging.getLogger("swarm"))
    change.trained(first)
    for before, after in pairs:
        change.trained(before)
        change.merged()
        assert change.wanted
        change.trained(after)
        assert not change.wanted
    change.judge()
    return [record.getMessage() for record in caplog.records]


@pytest.mark.parametrize(
    ("before", "after", "warned"),
    [(0.1, 0.11, False), (0.01, 0.049, False), (0.01, 0.051, True), (0.1, 0.149, False), (0.1, 0.151, True)],
)
def test_it_warns_of_five_times_the_loss_or_a_fortieth_of_the_first(caplog, before, after, warned) -> None:
    assert bool(told(caplog, [(before, after)] * 4)) is warned


@pytest.mark.parametrize(("before", "after", "first"), [(-3.0, -2.96, 2.0), (-3.0, -2.9, -1.0), (0.0, 0.0, 0.0)])
def test_losses_below_zero_give_no_ratio(caplog, before: float, after: float, first: float) -> None:
    assert not told(caplog, [(before, after)] * 4, first)


@pytest.mark.parametrize("odd", [float("nan"), float("inf")])
def test_losses_that_are_not_finite_are_left_out(caplog, odd: float) -> None:
    assert not told(caplog, [(odd, odd)] * 4)
    assert not told(caplog, [(1.0, odd)] * 4)


def test_a_run_that_goes_on_from_a_trained_model_begins_with_a_small_loss(caplog) -> None:
    assert not told(caplog, [(0.0488, 0.0514)] * 4, first=0.05)


def test_the_warning_has_the_figures_and_the_remedies(caplog) -> None:
    (warning,) = told(caplog, [(1.0, 1.0), (1.0, 1.0), *[(0.01, 0.2), (0.03, 0.4)] * 2])
    assert "is 0.02 right before a merge and 0.3 right after it (mean of 4 merges)" in warning
    assert all(word in warning for word in ("`local`", "sync_interval", "docs/choosing.md"))


@pytest.mark.parametrize(("merges", "warned"), [(0, False), (1, False), (2, False), (3, True)])
def test_a_few_merges_say_nothing(caplog, merges: int, warned: bool) -> None:
    assert bool(told(caplog, [(0.01, 1.0)] * merges)) is warned


@pytest.mark.parametrize("rest", [4, WINDOW])
def test_the_first_merges_do_not_count(caplog, rest: int) -> None:
    assert not told(caplog, [*[(0.1, 2.0)] * min(rest // 2, WINDOW), *[(0.01, 0.02)] * rest])


def test_one_warning_comes(caplog) -> None:
    assert len(told(caplog, [(0.01, 1.0)] * (5 * WINDOW))) == 1


def test_losses_that_are_not_known_are_left_out(caplog) -> None:
    change = LossChange(logging.getLogger("swarm"))
    for _ in range(4):
        change.trained(None)
        change.merged()
        assert not change.wanted
        change.trained(0.1)
        change.merged()
        change.trained(None)
        change.judge()
    assert not caplog.records


def train(peer: SwarmPeer, *, batches: int, averaged: bool = False) -> None:
    """The weight of a peer drifts to its own value between merges; the loss is the squared distance from it."""
    goal = {"ada": -1.0, "bob": 1.0}[peer.name]
    peer.session.begin()
    for _ in range(batches):
        loss = float((peer.arrays["w"][0] - goal) ** 2)
        peer.arrays["w"] += 0.5 * (goal - peer.arrays["w"])
        if peer.session.batches_left > 1:
            peer.session.advance()  # as a callback, which reads the loss only if it has to call
        else:
            peer.session.advance(loss=loss, averaged=averaged)
    peer.session.end()


@pytest.mark.parametrize("overlap", [False, True])
def test_a_session_warns_sites_whose_data_differ(overlap: bool) -> None:
    swarm = MemorySwarm(sync_interval=4, world_size=2, overlap=overlap)
    peers = [swarm.peer(name, {"w": np.zeros(1)}) for name in ("ada", "bob")]
    together(*(partial(train, peer, batches=40) for peer in peers))
    for peer in peers:
        assert len([line for line in peer.lines if "right before a merge" in line]) == 1
        assert peer.session.metrics()["swarm_rounds"] >= 10


def test_a_mean_over_batches_is_not_compared() -> None:
    swarm = MemorySwarm(sync_interval=4, world_size=2)
    peers = [swarm.peer(name, {"w": np.zeros(1)}) for name in ("ada", "bob")]
    together(*(partial(train, peer, batches=40, averaged=True) for peer in peers))
    assert not any("right before a merge" in line for peer in peers for line in peer.lines)
