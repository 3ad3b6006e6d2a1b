"""What the simulation expects of a peer whose codec has left something to send."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from swarm.exchange.layout import FrameKind, frame, slice_chunks
from swarm.messages import Entry, Proposal
from swarm.records import Attempt, PeerStatus, SyncState
from tests.simulator.feedback import Feedback
from tests.simulator.model import NOISE, SCHEMA, SIZE, STEPS, Taken, Weights
from tests.simulator.process import PLUGINS
from tests.simulator.violation import Violation

NAMES = ("a", "b")
MODELS = {digest: np.zeros(SIZE, np.float32) for digest in ("founding", "first", "second")}


def proposal(round_: int, parent: str) -> Proposal:
    return Proposal(
        lineage="l",
        round=round_,
        attempt=Attempt(0, "a"),
        parent=parent,
        voters=NAMES,
        members=NAMES,
        entries=tuple(Entry(name, 1, PeerStatus.TRAINING) for name in NAMES),
        sync=SyncState(1),
        closing=False,
        codec="int8",
    )


class Stub:
    """What the check looks at of a process of ``a``, which has taken one step."""

    def __init__(self) -> None:
        values = np.zeros(SIZE, np.float32)
        values[STEPS:] = NOISE[0]
        self.name, self.waiting, self.offered = "a", True, Taken(values, 1)
        self.settings, self.offer = SimpleNamespace(overlap=False), SimpleNamespace(stats=SimpleNamespace(round=0))


class Sender:
    """Sends in the name of ``a``."""

    def __init__(self) -> None:
        self.residual = np.zeros(SIZE, np.float32)
        self.feedback, self.process = Feedback(), cast("Any", Stub())
        self.feedback.committed(self.process, proposal(0, "").commit("founding"), None, MODELS)

    def send(self, round_: int, parent: str, residual: Weights) -> None:
        """Send what it has trained, and ``residual`` with it, to a round."""
        joined, codec, values = proposal(round_, parent), PLUGINS.codec("int8"), self.process.offered.values
        self.process.offer.stats.round = round_
        for member, name in enumerate(NAMES):
            for chunk in slice_chunks(SCHEMA, member, len(NAMES)):
                part = slice(chunk.start, chunk.stop)
                out = memoryview(bytearray(codec.encoded_nbytes(chunk.size, "float32")))
                size = codec.encode(values[part], MODELS[parent][part], out, residual[part])
                head = frame(FrameKind.CONTRIBUTION, chunk.segment, chunk.start, out[:size])
                self.feedback.sends(self.process, joined, name, head)
                codec.update_residual(values[part], MODELS[parent][part], self.residual[part])

    def commit(self, round_: int, parent: str, digest: str) -> None:
        joined = proposal(round_, parent)
        self.feedback.committed(self.process, joined.commit(digest), joined, MODELS)


@pytest.fixture
def sender() -> Sender:
    sender = Sender()
    sender.send(1, "founding", np.zeros(SIZE, np.float32))
    return sender


def test_a_peer_sends_what_it_has_left_of_the_last_round(sender: Sender) -> None:
    sender.commit(1, "founding", "first")
    assert np.abs(sender.residual).max() > 1e-3
    sender.send(2, "first", sender.residual.copy())


def test_a_peer_that_drops_what_it_has_left_is_noticed(sender: Sender) -> None:
    sender.commit(1, "founding", "first")
    with pytest.raises(Violation, match="a sends something else"):
        sender.send(2, "first", np.zeros(SIZE, np.float32))


def test_a_peer_that_catches_up_with_a_round_that_it_contributed_to_starts_anew(sender: Sender) -> None:
    """It missed the decision after it had lost the model: what its codec left out of that is not known any more."""
    sender.feedback.fetched(sender.process)
    sender.commit(1, "founding", "first")
    sender.send(2, "first", np.zeros(SIZE, np.float32))
    sender.commit(2, "first", "second")
    with pytest.raises(Violation, match="a sends something else"):
        sender.send(3, "second", np.zeros(SIZE, np.float32))
