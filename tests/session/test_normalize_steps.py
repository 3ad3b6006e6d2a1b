"""Peers that have made different numbers of steps, in whole sessions."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from swarm.codec import BUILTIN_CODECS
from swarm.merge import BUILTIN_RULES
from swarm.testing.swarm import MemorySwarm, SwarmPeer, together

GRADIENTS = {"ada": 1.0, "bob": 3.0, "cyd": 2.0, "dee": 2.0}


def step(peer: SwarmPeer) -> None:
    peer.arrays["w"] += np.float32(GRADIENTS[peer.name])


def trained(batches: dict[str, int], **settings: object) -> list[SwarmPeer]:
    """Peers that merge after four batches, and once more what is left."""
    swarm = MemorySwarm(sync_interval=4, world_size=len(batches), straggler_timeout=20.0, **settings)
    peers = [swarm.peer(name, {"w": np.zeros(600, np.float32)}) for name in batches]
    together(*(partial(peer.train, batches[peer.name], step) for peer in peers))
    assert len({peer.digest() for peer in peers}) == 1
    return peers


@pytest.mark.parametrize(("normalize", "ends"), [(False, 15.0), (True, 14.0)])
def test_fewer_steps_count_as_much_as_more(*, normalize: bool, ends: float) -> None:
    """Both make four, and then ada two and bob four: 8 + (2 + 12) / 2, or 8 + 3 (1 + 3) / 2."""
    ada, bob = trained({"ada": 6, "bob": 8}, normalize_steps=normalize)
    assert [report.steps for report in bob.reports] == [{"ada": 4, "bob": 4}, {"ada": 2, "bob": 4}]
    assert set(ada.arrays["w"].tolist()) == {ends}


@pytest.mark.parametrize("rule", BUILTIN_RULES)
@pytest.mark.parametrize("codec", BUILTIN_CODECS)
def test_it_works_with_every_rule_and_codec(rule: str, codec: str) -> None:
    """A gradient of about 2, of which robust rules take somewhat less, and as many steps as the mean of the peers'."""
    peers = trained({"ada": 6, "bob": 8, "cyd": 6, "dee": 8}, normalize_steps=True, merge_method=rule, codec=codec)
    assert 11 < peers[0].arrays["w"].mean() < 14.5
    assert all(report.attempts == 1 for report in peers[0].reports)
    assert not [line for peer in peers for line in peer.lines if line.startswith(("WARNING", "ERROR"))]


def test_frozen_weights_are_taken_as_they_are() -> None:
    """Ada has stopped at 8 and has nothing new; bob adds 12 in each interval, to 14 and 17."""
    ada, _ = trained({"ada": 4, "bob": 12}, normalize_steps=True)
    assert set(ada.arrays["w"].tolist()) == {17.0}
