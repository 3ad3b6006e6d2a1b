"""How much of others' contributions a member takes before it can merge them."""

from __future__ import annotations

import numpy as np
import pytest

from swarm.exchange.coding import ChunkCoder
from swarm.exchange.layout import Chunk
from swarm.exchange.reduce_buffer import ReduceBuffer
from swarm.tensors.state import ModelState, Schema, TensorSpec

CHUNKS = [Chunk(0, start, start + 10) for start in range(0, 40, 10)]
SCHEMA = Schema((TensorSpec("w", (40,), "float32"),))
ZEROS = np.zeros(10, np.float32)


@pytest.fixture
def own() -> ModelState:
    state = ModelState.empty(SCHEMA)
    state.segments["float32"][...] = np.arange(40)
    return state


def reduce_buffer(own: ModelState, *contributors: str, ahead: float = 2 * ZEROS.nbytes) -> ReduceBuffer:
    return ReduceBuffer(CHUNKS, contributors, "me", own, ChunkCoder(), ahead)


def test_a_peer_far_ahead_waits_for_those_behind(own: ModelState) -> None:
    held = reduce_buffer(own, "fast", "me", "slow")
    for chunk in CHUNKS[:2]:
        assert held.room("fast")
        held.put("fast", chunk, ZEROS, 0.0)
    assert not held.room("fast")
    assert held.room("slow")
    held.put("slow", CHUNKS[0], ZEROS, 0.0)
    assert held.complete(CHUNKS[0])
    held.drop(CHUNKS[0])
    assert held.room("fast")


def test_whoever_is_furthest_behind_is_never_held_up(own: ModelState) -> None:
    held = reduce_buffer(own, "a", "b", "c", ahead=0)
    todo = {peer: iter(CHUNKS) for peer in "abc"}
    while left := held.missing():
        free = [peer for peer in sorted(left) if held.room(peer)]
        assert free, left
        held.put(free[0], next(todo[free[0]]), ZEROS, 0.0)


def test_a_peer_that_contributes_nothing_is_held_up_only_while_others_owe(own: ModelState) -> None:
    held = reduce_buffer(own, "a", ahead=0)
    assert not held.room("finished")
    for chunk in CHUNKS:
        held.put("a", chunk, ZEROS, 0.0)
    assert held.room("finished")


def test_contributions_come_in_the_order_of_peers_with_this_peer_where_it_belongs(own: ModelState) -> None:
    held = reduce_buffer(own, "a", "me", "z")
    held.put("z", CHUNKS[1], ZEROS + 2, 0.0)
    held.put("a", CHUNKS[1], ZEROS + 1, 0.0)
    assert [array[0] for array in held.of(CHUNKS[1])] == [1, 10, 2]
