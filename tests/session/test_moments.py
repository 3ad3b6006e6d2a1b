"""The state of optimizers in whole sessions: merged, taken over, replaced, resumed, and left out of result files."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from safetensors import safe_open

from swarm.errors import IncompatiblePeerError
from swarm.tensors.state import Array, TensorKind
from swarm.testing.nodes import eventually
from swarm.testing.swarm import MemorySwarm, SwarmPeer, together

MEAN, ROOT, STEP = "optimizer.m of w", "optimizer.v of w", "optimizer.step"
KINDS = {MEAN: TensorKind.MOMENT, ROOT: TensorKind.ROOT_MOMENT, STEP: TensorKind.STEPS}
AMOUNTS = {"ada": 1.0, "bob": 3.0, "cyd": 8.0}


def arrays() -> dict[str, Array]:
    moments = {name: np.zeros(6, ml_dtypes.bfloat16) for name in (MEAN, ROOT)}
    return {"w": np.zeros(6, np.float32), **moments, STEP: np.zeros(1, np.int64)}


def step(peer: SwarmPeer) -> None:
    """The mean of a peer's gradients is the peer's own number from its first step on."""
    peer.arrays["w"] += AMOUNTS[peer.name]
    peer.arrays[MEAN][:] = AMOUNTS[peer.name]
    peer.arrays[ROOT][:] = AMOUNTS[peer.name] / 4
    peer.arrays[STEP][:] += 1


def swarm_of(*names: str, **settings: object) -> list[SwarmPeer]:
    swarm = MemorySwarm(**{"sync_interval": 2, "world_size": len(names), "optimizer_state": "merge", **settings})
    return [swarm.peer(name, arrays(), kinds=KINDS) for name in names]


def state(peer: SwarmPeer) -> tuple[float, float, int]:
    (mean,), (root,) = ({*map(float, peer.arrays[name])} for name in (MEAN, ROOT))
    return mean, root, int(peer.arrays[STEP][0])


def test_moments_are_merged_by_mean_and_steps_by_maximum() -> None:
    peers = swarm_of("ada", "bob")
    together(*(partial(peer.train, 2, step) for peer in peers))
    assert [state(peer) for peer in peers] == [(2.0, 0.5, 2)] * 2
    assert len({peer.digest() for peer in peers}) == 1


def test_those_of_a_peer_that_has_not_stepped_are_not_waited_for_and_it_takes_the_others() -> None:
    ada, bob = swarm_of("ada", "bob")
    together(partial(ada.train, 2, step), partial(bob.train, 2, lambda _peer: None))
    assert state(ada) == state(bob) == (1.0, 0.25, 2)


def test_without_any_they_stay_zero() -> None:
    peers = swarm_of("ada", "bob")
    together(*(partial(peer.train, 2, lambda _peer: None) for peer in peers))
    assert [state(peer) for peer in peers] == [(0.0, 0.0, 0)] * 2


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_those_with_nan_or_infinity_do_not_count(value: float) -> None:
    ada, bob = swarm_of("ada", "bob")

    def break_down(peer: SwarmPeer) -> None:
        step(peer)
        peer.arrays[ROOT][3] = value

    together(partial(ada.train, 2, step), partial(bob.train, 2, break_down))
    assert state(ada) == state(bob) == (1.0, 0.25, 2)
    assert ada.arrays["w"].tolist() == [4.0] * 6  # its weights do


@pytest.mark.parametrize("mode", ["snapshot", "active", "inactive"])
def test_those_of_a_finished_peer_do_not_count(mode: str) -> None:
    ada, bob = swarm_of("ada", "bob", checkin_model_on_train_end=mode)

    def go_on() -> None:
        ada.session.begin()
        ada.go_on(4, step)
        assert state(ada) == (1.0, 0.25, 4)
        ada.session.end()

    together(go_on, partial(bob.train, 2, step))
    assert state(ada) == state(bob) == (1.0, 0.25, 4)


def test_a_newcomer_takes_the_moments_with_the_weights() -> None:
    swarm = MemorySwarm(sync_interval=2, min_peers=1, optimizer_state="merge", failure_timeout=1.0)
    ada, bob = (swarm.peer(name, arrays(), kinds=KINDS) for name in ("ada", "bob"))
    ada.session.begin()
    ada.go_on(2, step)
    bob.session.begin()
    assert state(bob) == (1.0, 0.25, 2)
    together(ada.session.end, bob.session.end)


def test_with_overlap_they_are_replaced_and_not_added() -> None:
    peers = swarm_of("ada", "bob", overlap=True, sync_interval=4)

    def train(peer: SwarmPeer) -> None:
        peer.session.begin()
        peer.go_on(4, step)
        eventually(lambda: not peer.session.round_running, f"the round of {peer.name} is over")
        step(peer)
        peer.advance()
        assert state(peer) == (2.0, 0.5, 4)
        assert peer.arrays["w"].tolist() == [8.0 + AMOUNTS[peer.name]] * 6
        peer.session.end()

    together(*(partial(train, peer) for peer in peers))
    assert len({peer.digest() for peer in peers}) == 1


@pytest.fixture
def stopped(tmp_path: Path) -> Path:
    """The model directory of peers that were stopped after their first round."""
    peers = resumable(tmp_path)

    def train(peer: SwarmPeer) -> None:
        peer.session.begin()
        peer.go_on(2, step)
        eventually(lambda: len([*(tmp_path / peer.name).rglob("*.json")]) == 2, "the checkpoint is on disk")
        peer.session.abort("power cut")

    together(*(partial(train, peer) for peer in peers))
    return tmp_path


def resumable(place: Path, **settings: object) -> list[SwarmPeer]:
    swarm = MemorySwarm(
        sync_interval=2, world_size=2, checkpoint_seconds=0, failure_timeout=1.0, optimizer_state="merge", **settings
    )
    return [swarm.peer(name, arrays(), kinds=KINDS, model_dir=place / name) for name in ("ada", "bob")]


def test_a_checkpoint_has_them_and_a_resumed_peer_goes_on_from_them(stopped: Path) -> None:
    ada, bob = resumable(stopped, resume=True)
    together(*(partial(peer.train, 0, step) for peer in (ada, bob)))
    assert state(ada) == state(bob) == (2.0, 0.5, 2)


def test_the_files_of_a_result_do_not_have_them(tmp_path: Path) -> None:
    ada, bob = resumable(tmp_path)
    together(*(partial(peer.train, 2, step) for peer in (ada, bob)))
    for name in ("local", "swarm-final"):
        with safe_open(tmp_path / "ada" / f"{name}.safetensors", "np") as file:
            assert [*file.keys()] == ["w"]
    with safe_open(tmp_path / "ada/swarm-final.safetensors", "np") as file:
        assert file.metadata()["digest"] == ada.session.commit.digest


def test_peers_must_agree() -> None:
    swarm = MemorySwarm(sync_interval=2, world_size=2)
    ada = swarm.peer("ada", arrays(), kinds=KINDS, optimizer_state="merge")
    bob = swarm.peer("bob", {"w": np.zeros(6, np.float32)})
    with pytest.raises(IncompatiblePeerError, match=r"optimizer_state is (keep|merge|None) at"):
        together(*(partial(peer.train, 2, step) for peer in (ada, bob)))


def test_another_optimizer_is_named() -> None:
    swarm = MemorySwarm(sync_interval=2, world_size=2, optimizer_state="merge")
    other = {name.replace(".v of", ".u of"): value for name, value in arrays().items()}
    kinds = {name.replace(".v of", ".u of"): kind for name, kind in KINDS.items()}
    peers = [swarm.peer("ada", arrays(), kinds=KINDS), swarm.peer("bob", other, kinds=kinds)]
    with pytest.raises(IncompatiblePeerError, match=r"optimizer\.[uv] of w"):
        together(*(partial(peer.train, 2, step) for peer in peers))
