"""The steps of each peer in the report of a round, in its log line and in the status."""

from __future__ import annotations

import json
from functools import partial

import numpy as np
import pytest

from swarm.testing.swarm import MemorySwarm, SwarmPeer, together


def step(peer: SwarmPeer) -> None:
    peer.arrays["w"] += 1


def trained(*batches: int) -> list[SwarmPeer]:
    """Peers that make so many batches, and merge at every twelfth."""
    swarm = MemorySwarm(sync_interval=12, world_size=len(batches))
    peers = [swarm.peer(f"peer-{number}", {"w": np.zeros(3)}) for number in range(len(batches))]
    together(*(partial(peer.train, each, step) for peer, each in zip(peers, batches, strict=True)))
    return peers


def line(peer: SwarmPeer, round_: int) -> str:
    (found,) = [text for text in peer.lines if text.startswith(f"INFO round {round_}:")]
    return found


def test_a_report_and_the_status_name_the_steps_of_each_contributor() -> None:
    one, other = trained(12, 12)
    assert [report.steps for report in (*one.reports, *other.reports)] == [{"peer-0": 12, "peer-1": 12}] * 2
    assert "2 contributed, " in line(one, 1)
    assert json.loads(json.dumps(other.session.status()))["last"]["steps"] == {}  # the closing round has no steps


@pytest.mark.parametrize(
    ("batches", "phrase"),
    [
        ((6, 12), "2 contributed, "),
        ((5, 12), "2 contributed with 5 (peer-0) to 12 (peer-1) steps, "),
    ],
)
def test_the_line_of_a_round_says_where_one_peer_made_more_than_twice_the_steps_of_another(
    batches: tuple[int, int], phrase: str
) -> None:
    assert all(phrase in line(peer, 1) for peer in trained(*batches))
