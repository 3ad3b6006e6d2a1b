"""Which peer an exchange blames, and when."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest

from swarm.clock import ManualClock
from swarm.errors import ContributionError, ExchangeError
from swarm.exchange import layout
from swarm.exchange.coding import ChunkCoder
from swarm.exchange.exchange import Exchange
from swarm.executor import ThreadExecutor
from swarm.merge.mean import WeightedMean
from swarm.messages import Entry, Proposal, StreamHeader
from swarm.peer.streams import ExchangeStreams
from swarm.records import Attempt, PeerStatus, SyncState
from swarm.tensors.state import ModelState, Schema, TensorSpec
from swarm.transport.base import Frame, NoUpload, Sink, Upload
from swarm.transport.memory import MemoryTransport

TIMEOUT = 10.0
SCHEMA = Schema((TensorSpec("w", (2_000_000,), "float32"),))
NAMES = ("ann", "bob", "cyd")


class Ann:
    """One member's streams; the frames of the others are given by hand."""

    def __init__(self, reference: ModelState | None = None) -> None:
        proposal = Proposal(
            lineage="l",
            round=1,
            attempt=Attempt(1, "ann"),
            parent="",
            voters=NAMES,
            members=NAMES,
            entries=tuple(Entry(name, 1, PeerStatus.TRAINING) for name in NAMES),
            sync=SyncState(1),
            closing=False,
            weight=3,
        )
        self.clock = ManualClock()
        self.failed: list[str] = []
        coder = ChunkCoder(None, reference)
        made = {name: Exchange(name, proposal, WeightedMean(), self.model(), coder) for name in NAMES}
        self.streams = ExchangeStreams(
            "ann",
            proposal,
            made["ann"],
            ThreadExecutor(self.clock),
            lambda _: None,
            lambda peer, _: self.failed.append(peer),
        )
        self.others = made
        self.sinks: dict[str, Sink] = {}
        for name in NAMES[1:]:
            self.sinks[name] = self.streams.open_sink(name)

    @staticmethod
    def model() -> ModelState:
        return ModelState(SCHEMA, {"float32": np.ones(2_000_000, np.float32)}, [])

    def place(self, sender: str, spoil: float | None = None) -> None:
        """One frame of ``sender``, received where it belongs; ``spoil`` takes the place of its first value."""
        head, payload = self.others[sender].next_frame("ann") or (b"", memoryview(b""))
        place = self.sinks[sender].begin(memoryview(head), len(payload))
        place[:] = payload
        if spoil is not None:
            place[:4] = np.float32(spoil).tobytes()
        self.sinks[sender].end()

    def check(self) -> None:
        self.streams.check(self.clock.now(), TIMEOUT)


@pytest.fixture(autouse=True)
def _many_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "CHUNK_BYTES", 1 << 18)


@pytest.fixture
def ann() -> Ann:
    return Ann()


@pytest.fixture
def ann_with_parent() -> Ann:
    """In a round that builds on another one, so that contributions are measured."""
    parent = Ann.model()
    parent.segments["float32"][...] = 0
    return Ann(parent)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_the_sender_of_nan_is_blamed_even_if_another_peer_finds_it(ann_with_parent: Ann, bad: float) -> None:
    """Contributions are measured when the last one of a chunk is here, on the thread of whoever sent that."""
    ann = ann_with_parent
    ann.place("bob", spoil=bad)
    assert ann.failed == []
    ann.place("cyd")
    assert ann.failed == ["bob"]
    ann.place("cyd")  # goes on: an end of its stream would look to cyd like a fault of ann's


def test_the_last_sender_of_nan_is_blamed(ann_with_parent: Ann) -> None:
    ann_with_parent.place("cyd")
    with pytest.raises(ExchangeError, match="bob sent a contribution that cannot be: NaN or infinity") as caught:
        ann_with_parent.place("bob", spoil=np.nan)
    assert ann_with_parent.failed == ["bob"]
    assert caught.value.__cause__ is None  # an error that is its own cause would keep whole models alive


def test_the_contributor_of_bad_values_is_blamed_not_the_sender_of_the_last_frame(ann: Ann) -> None:
    """As where inner products overflow, or the leader's coefficients have come."""
    with ann.streams.taking("cyd"):  # cyd's stream goes on
        raise ContributionError("bob", "bob sent a contribution that cannot be merged")
    assert ann.failed == ["bob"]


def test_a_silent_peer_is_blamed(ann: Ann) -> None:
    ann.clock.advance(TIMEOUT - 1)
    ann.place("bob")
    ann.clock.advance(2)
    ann.check()
    assert ann.failed == ["cyd"]


def test_a_slow_frame_is_not_silence(ann: Ann) -> None:
    head, payload = ann.others["bob"].next_frame("ann") or (b"", memoryview(b""))
    ann.sinks["bob"].begin(memoryview(head), len(payload))
    for _ in range(5):
        ann.clock.advance(TIMEOUT - 1)
        ann.sinks["bob"].progress()
        ann.place("cyd")
        ann.check()
    assert ann.failed == []
    ann.clock.advance(TIMEOUT - 1)
    ann.place("cyd")
    ann.clock.advance(2)
    ann.check()
    assert ann.failed == ["bob"]


def test_a_peer_that_is_held_up_is_not_silent(ann: Ann, monkeypatch: pytest.MonkeyPatch) -> None:
    held = [False]
    monkeypatch.setattr(Exchange, "room", lambda _, sender: sender != "bob" or not held[0])
    held[0] = True
    thread = threading.Thread(target=ann.place, args=("bob",))
    thread.start()
    while "bob" not in ann.streams._held_up:
        time.sleep(0.001)
    ann.clock.advance(2 * TIMEOUT + 1)
    ann.streams.heard("cyd")
    ann.check()
    assert ann.failed == []
    held[0] = False
    ann.place("cyd")
    thread.join(10)
    assert not thread.is_alive()


def test_a_member_that_merged_nothing_for_the_group_is_given_up_later_than_one_that_contributed_nothing(
    ann: Ann,
) -> None:
    """It may be waiting for a third one's contribution itself."""
    for name in NAMES[1:]:
        while (out := ann.others[name].next_frame("ann")) is not None:
            ann.sinks[name].begin(memoryview(out[0]), len(out[1]))[:] = out[1]
            ann.sinks[name].end()
    ann.clock.advance(2 * TIMEOUT)
    ann.streams.heard("cyd")
    ann.check()
    assert ann.failed == []
    ann.clock.advance(1)
    ann.check()
    assert ann.failed == ["bob"]


def test_a_frame_that_nobody_waits_for_ends_its_stream_before_there_is_memory_for_it(ann: Ann) -> None:
    head = layout.frame(layout.FrameKind.RESULT, 7, 0, memoryview(b""))[0]
    with pytest.raises(ExchangeError, match="bob sent a result that it does not owe"):
        ann.sinks["bob"].begin(memoryview(head), 1 << 40)
    assert ann.failed == ["bob"]


class Uploads(MemoryTransport):
    """Keeps the frames of an upload for the test to read."""

    def __init__(self) -> None:
        self.frames: Iterator[Frame] = iter(())

    def upload(self, address: str, header: StreamHeader, frames: Iterator[Frame], done: object) -> Upload:
        self.frames = frames
        return NoUpload()


def test_a_stream_that_waits_for_something_to_send_ends_with_the_attempt(ann: Ann) -> None:
    transport = Uploads()
    ann.streams.send(transport, "bob", "address", StreamHeader("s", "ann", "i", "l", 1, Attempt(1, "ann")))
    ended = threading.Event()

    def read() -> None:
        for _ in transport.frames:
            pass
        ended.set()

    threading.Thread(target=read, daemon=True).start()
    while "bob" not in ann.streams._idle:
        time.sleep(0.001)
    assert not ended.is_set()
    ann.streams.stop()
    assert ended.wait(10)
