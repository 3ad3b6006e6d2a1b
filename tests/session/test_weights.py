"""Who owns the memory of the capture after the answer."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest

from swarm.executor import ThreadExecutor
from swarm.peer.futures import Answer, AnswerKind
from swarm.records import Commit, ContributionStats, SyncState
from swarm.session.batches import Batches
from swarm.session.pending import PendingAnswer
from swarm.session.weights import Weights
from swarm.tensors.state import Array, ModelState, Schema
from swarm.testing.nodes import eventually
from swarm.testing.swarm import ArrayModel, MemorySwarm, SwarmPeer, together

COMMIT = Commit(lineage="l", round=1, digest="d", members=("a",), group=("a",), contributors=("a",), sync=SyncState(1))


class Merges:
    """Stands for an engine that merges every offer to fives."""

    reference = None

    def __init__(self, *, pending: bool) -> None:
        self.pending = pending

    def offer(self, capture: ModelState, _: ContributionStats) -> Answer:
        merged = capture.copy()
        merged.segments["float64"][...] = 5.0
        return Answer(kind=AnswerKind.MERGED, commit=COMMIT, model=merged)


@pytest.mark.parametrize("pending", [False, True])
def test_the_memory_of_a_capture_is_used_again_only_if_it_cannot_be_merged_any_more(pending: bool) -> None:
    port = ArrayModel({"w": np.ones(3)})
    batches = Batches(done=1)
    weights = Weights(port, port.schema(), batches)
    weights.take(keep=False)
    port.arrays["w"] += 1.0
    batches.done = 2
    stats = ContributionStats(peer="a", round=1, weight=1)
    engine: Any = Merges(pending=pending)
    offered = PendingAnswer(engine, weights.capture, stats, ThreadExecutor(), None)
    answer = offered.wait()
    assert answer.model is not None
    weights.take_over(offered, answer, answer.model)
    assert port.arrays["w"].tolist() == [6.0] * 3
    assert weights.capture.segments["float64"].tolist() == [1.0 if pending else 4.0] * 3
    assert (batches.merged_up_to, batches.captured_at) == (1, 1)

    weights.take(keep=True)
    assert weights.capture.segments["float64"].tolist() == [1.0 if pending else 6.0] * 3
    assert batches.captured_at == (1 if pending else 2)


@pytest.mark.parametrize("borrow", [False, True])
def test_a_copy_of_the_model_that_is_offered_as_it_is_keeps_its_values(borrow: bool) -> None:
    port = ArrayModel({"w": np.ones(3)})
    batches = Batches(done=1)
    weights = Weights(port, port.schema(), batches, borrow=borrow)
    own = ModelState.empty(port.schema())
    port.read(own)
    assert weights.take(keep=False, own=own) is own
    assert batches.captured_at == 1
    stats = ContributionStats(peer="a", round=1, weight=1)
    engine: Any = Merges(pending=False)
    offered = PendingAnswer(engine, own, stats, ThreadExecutor(), None, spends=False)
    assert offered.step.segments["float64"].tolist() == [4.0] * 3
    assert own.segments["float64"].tolist() == [1.0] * 3
    assert not offered.spent


def test_a_borrowed_model_is_copied_only_if_the_round_may_still_merge_it() -> None:
    port = ArrayModel({"w": np.ones(3)})
    weights = Weights(port, port.schema(), Batches(), borrow=True)
    borrowed = weights.take(keep=False)
    assert np.shares_memory(borrowed.part(0, 0, 3), port.arrays["w"])

    weights.release(pending=True)
    port.arrays["w"] += 1.0
    assert weights.take(keep=True) is borrowed
    assert borrowed.part(0, 0, 3).tolist() == [1.0] * 3

    weights.release(pending=False)
    anew = weights.take(keep=True)
    assert anew.part(0, 0, 3).tolist() == [2.0] * 3


def test_borrowed_arrays_are_released_between_rounds() -> None:
    """What lies in another order is borrowed as a copy, so it would be a model's memory."""
    swarm = MemorySwarm(sync_interval=1, world_size=2)
    peers = [swarm.peer(name, {"w": np.zeros((3, 4), order="F")}) for name in ("ada", "bob")]
    borrowed: list[weakref.ref[np.ndarray]] = []
    for peer in peers:
        borrow = peer.model.borrow

        def borrowing(schema: Schema, borrow: Callable[[Schema], list[Array]] = borrow) -> list[Array]:
            arrays = borrow(schema)
            borrowed.extend(map(weakref.ref, arrays))
            return arrays

        peer.model.borrow = borrowing  # type: ignore[method-assign]
    together(*(partial(advanced, peer) for peer in peers))
    assert len(borrowed) == 4
    # A thread of the transport may be about to let go of the last frame.
    eventually(lambda: all(array() is None for array in borrowed), "everything borrowed is given back")
    for peer in peers:
        peer.session.abort("the test is over")


def advanced(peer: SwarmPeer) -> None:
    peer.session.begin()
    peer.arrays["w"] += 1.0
    peer.advance()
