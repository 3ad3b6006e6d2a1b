"""Weights and models that must not be merged."""

from __future__ import annotations

import re

import pytest

NAMES = ("ada", "bob", "cyd")
TOGETHER = {"world_size": 3, "straggler_timeout": 20, "failure_timeout": 10}
"""Nobody is left behind, however slow the machine is: the batch that goes wrong is in everybody's third round."""


@pytest.mark.parametrize("poison", ["nan", "inf", "-inf"])
def test_weights_that_are_not_finite_are_left_out_by_name_and_healed(training, poison: str) -> None:
    ada, cyd = (training.peer(name, **TOGETHER) for name in ("ada", "cyd"))
    bob = training.peer("bob", "--poison=" + poison, "--poison-at=10", **TOGETHER)
    peers = (ada, bob, cyd)
    # The tenth batch is in the third round of four batches each.
    for peer in peers:
        peer.said("^ROUND 3 merged ada bob cyd$")
        peer.said("^FROM 3 ada cyd$")
        peer.said("^FROM 4 ada bob cyd$")
    warning = "round 3: contribution of bob left out: its tensors hold NaN or infinity"
    assert sum(peer.text.count(warning) for peer in peers) == 1  # the leader's
    training.finish()
    training.one_model(*peers)


@pytest.mark.parametrize(
    ("lie", "warning"),
    [
        ([], r"contribution of bob left out: its weights have moved by 1e\+09, the median of those who train is \d+"),
        (["--claim=1000"], r"contribution of bob left out: bob offered .* by 1000 and sent some that did by 1e\+09"),
    ],
    ids=["told", "denied"],
)
def test_weights_that_have_moved_absurdly_far_are_left_out_by_name_and_healed(
    training, lie: list[str], warning: str
) -> None:
    ada, cyd = (training.peer(name, **TOGETHER) for name in ("ada", "cyd"))
    bob = training.peer("bob", "--poison=1e9", "--poison-at=10", *lie, **TOGETHER)
    peers = (ada, bob, cyd)
    for peer in peers:
        peer.said("^ROUND 3 merged ada bob cyd$")
        peer.said("^FROM 3 ada cyd$")
        peer.said("^FROM 4 ada bob cyd$")
    assert sum(len(re.findall(f"WARNING .*round 3: {warning}", peer.text)) for peer in peers) == 1  # the leader's
    assert all(("round 3: attempt" in peer.text) == bool(lie) for peer in peers)
    training.finish()
    training.one_model(*peers)


@pytest.mark.parametrize(
    ("odd", "difference"), [("--size=20001", r"'?w'?.*20001"), ("--dtype=float64", r"'?w'?.*float64")]
)
def test_another_model_is_refused_by_name_and_the_others_train(training, odd: str, difference: str) -> None:
    ada, bob = (training.peer(name, world_size=3) for name in ("ada", "bob"))
    cyd = training.peer("cyd", odd, world_size=3)
    assert cyd.wait() == 1
    cyd.said(f"IncompatiblePeerError: .*(ada|bob).*{difference}|IncompatiblePeerError: .*{difference}.*(ada|bob)")
    for peer in (ada, bob):
        peer.said(f"WARNING .*cyd.*{difference}|WARNING .*{difference}.*cyd")
        peer.said("^ROUND 2 merged ada bob$")
    training.finish()
    training.one_model(ada, bob)
