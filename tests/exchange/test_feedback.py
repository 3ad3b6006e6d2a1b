"""Which residual goes into an attempt."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from swarm.codec import BUILTIN_CODECS
from swarm.codec.choice import FixedCodec
from swarm.exchange.feedback import ErrorFeedback
from swarm.exchange.layout import Chunk
from swarm.messages import Entry, Proposal
from swarm.records import Attempt, PeerStatus, SyncState
from swarm.tensors.buffers import BufferPool
from swarm.tensors.state import ModelState, Schema, TensorSpec

SCHEMA = Schema((TensorSpec("w", (8,), "float32"),))
PROPOSAL = Proposal(
    lineage="l",
    round=1,
    attempt=Attempt(0, "a"),
    parent="p",
    voters=("a",),
    members=("a",),
    entries=(),
    sync=SyncState(1),
    closing=False,
    codec="int8",
)


def group(*names: str) -> Proposal:
    return replace(PROPOSAL, entries=tuple(Entry(name, 1, PeerStatus.TRAINING) for name in names))


@pytest.mark.parametrize(("committed", "kept"), [(False, True), (True, False)])
def test_an_attempt_of_another_group_replaces_the_residual_only_if_it_commits(committed: bool, kept: bool) -> None:
    feedback = ErrorFeedback(SCHEMA, BUILTIN_CODECS.__getitem__, FixedCodec("int8"))
    reference, memory = ModelState.empty(SCHEMA), BufferPool(0)
    reference.segments["float32"][:] = 0
    two, three = group("a", "b"), group("a", "b", "c")
    first = feedback.coder(two, reference, memory)
    first.encode(Chunk(0, 0, 8), np.linspace(0.1, 1.0, 8, dtype=np.float32))
    feedback.update(first, two.group)
    assert feedback.norm > 0
    other = feedback.coder(three, reference, memory)
    assert not np.any(other.residual["float32"])
    if committed:
        feedback.update(other, three.group)
    assert bool(np.any(feedback.coder(two, reference, memory).residual["float32"])) is kept
