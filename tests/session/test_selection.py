"""Peers that merge a part of their models and keep the rest to themselves."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from swarm.errors import ModelError
from swarm.tensors.model import Evaluation
from swarm.tensors.state import TensorKind
from swarm.testing.swarm import MemorySwarm, SwarmPeer, together

NAMES = ("ada", "bob")


def arrays(rank: int) -> dict[str, np.ndarray]:
    return {
        "backbone": np.full(2, 100.0 * rank, np.float32),
        "adapter.lora": np.full(3, float(rank), np.float32),
        "adapter.seen": np.array(rank),
        "head": np.full(4, 10.0 * rank, np.float32),
        "head.seen": np.array(rank),
    }


KINDS = {"adapter.seen": TensorKind.COUNTER, "head.seen": TensorKind.COUNTER}


def step(peer: SwarmPeer) -> None:
    speed = 1.0 if peer.name == "ada" else 3.0
    peer.arrays["adapter.lora"] += speed
    peer.arrays["head"] += speed


def pair(model_dirs: Path | None = None, **settings: object) -> list[SwarmPeer]:
    swarm = MemorySwarm(sync_interval=2, world_size=2, **settings)
    return [
        swarm.peer(name, arrays(rank), kinds=KINDS, model_dir=model_dirs and model_dirs / name)
        for rank, name in enumerate(NAMES)
    ]


@pytest.mark.parametrize(
    "settings", [{"share": ["adapter.*"]}, {"local": ["head*", "backbone"]}, {"share": "adapter.*", "local": "head*"}]
)
def test_shared_tensors_end_equal_and_local_ones_differ(settings: dict) -> None:
    peers = pair(**settings)
    together(*(partial(peer.train, 4, step) for peer in peers))
    for rank, peer in enumerate(peers):
        # all start from one peer's shared tensors, and four steps of 1 and 3 are eight on average
        assert set(peer.arrays["adapter.lora"] - peers[0].arrays["adapter.lora"]) == {0.0}
        assert peer.arrays["adapter.lora"][0] in {8.0, 9.0}
        assert peer.arrays["backbone"].tolist() == [100.0 * rank] * 2
        assert peer.arrays["head"].tolist() == [10.0 * rank + (4.0, 12.0)[rank]] * 4
        assert peer.arrays["head.seen"] == rank
    assert peers[0].arrays["adapter.seen"] == peers[1].arrays["adapter.seen"]
    assert peers[0].digest() == peers[1].digest()


def test_local_tensors_are_not_sent() -> None:
    sent = []
    for settings in ({}, {"share": "adapter.lora"}):
        swarm = MemorySwarm(sync_interval=2, world_size=2, **settings)
        models = [{"adapter.lora": np.ones(3, np.float32), "backbone": np.ones(100_000, np.float32)}] * 2
        peers = [swarm.peer(name, model) for name, model in zip(NAMES, models, strict=True)]
        together(*(partial(peer.train, 2, step_adapter) for peer in peers))
        sent.append(max(peer.session.metrics()["swarm_bytes_sent"] for peer in peers))
    everything, adapter = sent
    assert everything > 400_000
    assert adapter < 1_000


def step_adapter(peer: SwarmPeer) -> None:
    peer.arrays["adapter.lora"] += 1


def test_local_tensors_may_have_another_shape_at_every_peer() -> None:
    swarm = MemorySwarm(sync_interval=2, world_size=2, local=["head"])
    peers = [
        swarm.peer(name, {"adapter.lora": np.zeros(3, np.float32), "head": np.zeros(classes)})
        for name, classes in zip(NAMES, (2, 5), strict=True)
    ]
    together(*(partial(peer.train, 2, step_adapter) for peer in peers))
    assert [report.contributors for peer in peers for report in peer.reports] == [NAMES, NAMES]


def test_the_merged_model_is_validated_with_the_peers_own_local_tensors() -> None:
    swarm = MemorySwarm(sync_interval=2, world_size=2, local=["head*", "backbone"])
    seen = []

    def evaluate() -> Evaluation:
        seen.append((float(bob.arrays["adapter.lora"][0]), float(bob.arrays["head"][0])))
        return Evaluation(loss=1.0)

    ada = swarm.peer("ada", arrays(0), kinds=KINDS)
    bob = swarm.peer("bob", arrays(0), kinds=KINDS, evaluate=evaluate)
    together(partial(ada.train, 2, step), partial(bob.train, 2, step))
    assert seen[:2] == [(0.0, 0.0), (4.0, 6.0)]


def test_files_hold_what_is_shared_and_a_resumed_peer_keeps_its_own_rest(tmp_path: Path) -> None:
    settings = {"share": ["adapter.*"], "checkpoint_seconds": 0, "failure_timeout": 1.0}

    def stop_after_two_rounds(peer: SwarmPeer) -> None:
        peer.session.begin()
        peer.go_on(4, step)
        peer.session.abort("power cut")

    together(*(partial(stop_after_two_rounds, peer) for peer in pair(tmp_path, **settings)))
    peers = pair(tmp_path, **settings, resume=True)
    together(*(partial(peer.train, 2, lambda peer: None) for peer in peers))
    for rank, peer in enumerate(peers):
        assert peer.arrays["adapter.lora"][0] >= 8.0
        assert peer.arrays["head"].tolist() == [10.0 * rank] * 4
        for name in ("swarm-final.safetensors", "local.safetensors"):
            assert load_file(tmp_path / peer.name / name).keys() == {"adapter.lora", "adapter.seen"}


def test_a_pattern_that_matches_nothing_ends_the_start() -> None:
    ada, _ = pair(local=["haed"])
    with pytest.raises(ModelError, match="local has 'haed', which matches no tensor of the model; nearest are 'head'"):
        ada.session.begin()
