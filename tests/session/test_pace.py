"""Peers of different speed: memory is bounded, and no peer waits for ever."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from swarm.exchange import exchange
from swarm.merge import BUILTIN_RULES
from swarm.testing.swarm import MemorySwarm, SwarmPeer, together

NAMES = ("ada", "bob", "cyd")
MERGED = {"norm_clip": 2.0, "centered_clip": 3 * 23 / 27}
"""Of three rounds of 0, 1 and 2: what these rules make of it. Others take the middle, 1."""


@pytest.mark.parametrize("method", [name for name, rule in BUILTIN_RULES.items() if rule.fewest <= 3])
def test_a_round_commits_without_memory_for_waiting_chunks(monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    monkeypatch.setattr(exchange, "bytes_ahead", lambda _: 0)
    swarm = MemorySwarm(world_size=3, sync_interval=1, merge_method=method)
    peers = [swarm.peer(name, {"w": np.zeros(600_000, np.float32)}) for name in NAMES]

    def step(peer: SwarmPeer) -> None:
        peer.arrays["w"] += np.float32(NAMES.index(peer.name))

    together(*(partial(peer.train, 3, step) for peer in peers))
    for peer in peers:
        assert [report.attempts for report in peer.reports] == [1] * 3
        np.testing.assert_allclose(peer.arrays["w"], MERGED.get(method, 3.0), rtol=1e-3)
