"""Outer optimizers in whole sessions: one model everywhere, whoever joins, resumes or finishes early."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open

from swarm.codec import BUILTIN_CODECS
from swarm.errors import ConfigurationError, IncompatiblePeerError
from swarm.merge import BUILTIN_RULES
from swarm.session.session import Session
from swarm.tensors.state import Array, TensorKind
from swarm.testing.swarm import MemorySwarm, SwarmPeer, together

NAMES = ("ada", "bob", "cyd")
OPTIMIZERS = ("nesterov", "fedavgm", "fedadam", "fedyogi")
NESTEROV = [1.33, 3.227, 5.6343, 8.50087, 11.780783]
"""Where a weight is after each round whose contributions add 1 to it."""


def arrays() -> dict[str, Array]:
    return {"w": np.zeros(6, np.float32), "mean": np.zeros(2, np.float32)}


def swarm_of(*names: str, **settings: object) -> list[SwarmPeer]:
    settings = {"sync_interval": 1, "world_size": len(names), "outer": "nesterov", **settings}
    swarm = MemorySwarm(**settings)
    return [swarm.peer(name, arrays(), kinds={"mean": TensorKind.MEAN}, normalization="pooled") for name in names]


def step(peer: SwarmPeer) -> None:
    for array in peer.arrays.values():
        np.add(array, 1, out=array)


def weight(peer: SwarmPeer) -> float:
    (value,) = set(peer.arrays["w"].tolist())
    return float(value)


@pytest.mark.parametrize("count", range(1, 6))
def test_every_round_makes_a_step_of_weights_and_the_closing_one_none(count: int) -> None:
    peers = swarm_of("ada", "bob")
    together(*(partial(peer.train, count, step) for peer in peers))
    assert [weight(peer) for peer in peers] == pytest.approx([NESTEROV[count - 1]] * 2)
    assert [peer.arrays["mean"].tolist() for peer in peers] == [[count, count]] * 2
    assert len({peer.digest() for peer in peers}) == 1


@pytest.mark.parametrize("outer", OPTIMIZERS)
@pytest.mark.parametrize("codec", BUILTIN_CODECS)
@pytest.mark.parametrize("overlap", [False, True], ids=["blocking", "overlap"])
def test_all_peers_end_with_one_model(outer: str, codec: str, *, overlap: bool) -> None:
    peers = swarm_of(*NAMES, outer=outer, codec=codec, overlap=overlap)
    rngs = {peer.name: np.random.default_rng(number) for number, peer in enumerate(peers)}

    def train(peer: SwarmPeer) -> None:
        peer.arrays["w"] += rngs[peer.name].normal(size=6).astype(np.float32)

    together(*(partial(peer.train, 5, train) for peer in peers))
    assert len({peer.digest() for peer in peers}) == 1
    assert not [line for peer in peers for line in peer.lines if line.startswith(("WARNING", "ERROR"))]


@pytest.mark.parametrize("rule", BUILTIN_RULES)
@pytest.mark.parametrize("mode", ["snapshot", "active", "inactive"])
def test_peers_that_finish_early_end_with_the_model_of_the_others(rule: str, mode: str) -> None:
    peers = swarm_of(*NAMES, "dee", merge_method=rule, checkin_model_on_train_end=mode)
    together(*(partial(peer.train, 2 + 4 * number, step) for number, peer in enumerate(peers)))
    assert len({peer.digest() for peer in peers}) == 1
    assert not [line for peer in peers for line in peer.lines if "left out" in line]


def test_a_rate_of_one_without_momentum_is_plain_averaging_to_the_bit() -> None:
    plain = swarm_of(*NAMES, outer="none")
    stepped = swarm_of(*NAMES, outer="fedavgm", outer_learning_rate=1, outer_momentum=0)
    for peers in (plain, stepped):
        rngs = {peer.name: np.random.default_rng(number) for number, peer in enumerate(peers)}

        def train(peer: SwarmPeer, rngs: dict[str, np.random.Generator] = rngs) -> None:
            peer.arrays["w"] += rngs[peer.name].normal(size=6).astype(np.float32)

        together(*(partial(peer.train, 4, train) for peer in peers))
    assert plain[0].digest() == stepped[0].digest()


def begin_and_train(peer: SwarmPeer, batches: int) -> None:
    peer.session.begin()
    peer.go_on(batches, step)


def test_a_peer_that_joins_later_has_the_momentum_of_the_others() -> None:
    """With another one, its model would differ from theirs, and no round with it could be decided."""
    swarm = MemorySwarm(sync_interval=1, min_peers=2, outer="nesterov", straggler_timeout=20.0)
    ada, bob, cyd = (swarm.peer(name, arrays()) for name in NAMES)
    together(*(partial(begin_and_train, peer, 2) for peer in (ada, bob)))
    assert weight(ada) == pytest.approx(NESTEROV[1])

    def finish(peer: SwarmPeer) -> None:
        peer.go_on(3, step)
        peer.session.end()

    together(partial(cyd.train, 3, step), *(partial(finish, peer) for peer in (ada, bob)))
    assert weight(ada) == weight(bob) == weight(cyd) > NESTEROV[3]
    assert {report.group for report in cyd.reports} == {NAMES}
    assert all(report.attempts == 1 for report in cyd.reports)


def resumable(place: Path, **settings: object) -> list[SwarmPeer]:
    swarm = MemorySwarm(
        **{"sync_interval": 1, "world_size": 2, "checkpoint_seconds": 0, "failure_timeout": 1.0, **settings}
    )
    return [swarm.peer(name, arrays(), model_dir=place / name) for name in ("ada", "bob")]


def test_a_swarm_that_resumes_goes_on_with_its_momentum(tmp_path: Path) -> None:
    peers = resumable(tmp_path, outer="nesterov")
    together(*(partial(begin_and_train, peer, 3) for peer in peers))
    for peer in peers:
        peer.session.abort("power cut")
    peers = resumable(tmp_path, outer="nesterov", resume=True)
    together(*(partial(peer.train, 2, step) for peer in peers))
    assert [weight(peer) for peer in peers] == pytest.approx([NESTEROV[4]] * 2)


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("none", "nesterov", "'outer.momentum of w' is not in the file; give outer, .* that run"),
        ("nesterov", "none", "'outer.momentum of mean' is in the file, and not in the model; give outer, .* that run"),
    ],
)
def test_a_swarm_does_not_resume_under_another_optimizer(tmp_path: Path, before: str, after: str, said: str) -> None:
    peers = resumable(tmp_path, outer=before)
    together(*(partial(begin_and_train, peer, 2) for peer in peers))
    for peer in peers:
        peer.session.abort("power cut")
    with pytest.raises(ConfigurationError, match=said):
        resumable(tmp_path, outer=after, resume=True)[0].session.begin()


def test_the_state_is_in_no_file_of_a_result(tmp_path: Path) -> None:
    peers = resumable(tmp_path, outer="fedadam")
    together(*(partial(peer.train, 2, step) for peer in peers))
    for name in ("local", "swarm-final"):
        with safe_open(tmp_path / "ada" / f"{name}.safetensors", "np") as file:
            assert {*file.keys()} == {"mean", "w"}


@pytest.mark.parametrize(
    ("ours", "theirs", "named"),
    [
        ({}, {"outer": "none"}, "outer is"),
        ({"outer_momentum": 0.5}, {}, "outer_momentum is"),
        ({"outer": "fedadam"}, {"outer": "fedadam", "outer_epsilon": 0.1}, "outer_epsilon is"),
    ],
)
def test_peers_must_agree(ours: dict[str, object], theirs: dict[str, object], named: str) -> None:
    swarm = MemorySwarm(sync_interval=1, world_size=2)
    peers = [
        swarm.peer(name, arrays(), **{"outer": "nesterov", **given}) for name, given in (("ada", ours), ("bob", theirs))
    ]
    with pytest.raises(IncompatiblePeerError, match=named):
        together(*(partial(peer.train, 1, step) for peer in peers))


def test_a_training_peer_sees_the_model_without_the_state() -> None:
    peers = swarm_of("ada", "bob")
    together(*(partial(begin_and_train, peer, 1) for peer in peers))
    sessions: list[Session] = [peer.session for peer in peers]
    assert [[*session.reference.segments] for session in sessions if session.reference] == [["float32"]] * 2
    for session in sessions:
        session.abort("seen")
