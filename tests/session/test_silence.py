"""Which peer an exchange blames, and when."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from itertools import permutations

import numpy as np
import pytest

from swarm.clock import ManualClock
from swarm.errors import ContributionError, ExchangeError
from swarm.exchange import layout
from swarm.exchange.coding import ChunkCoder
from swarm.exchange.exchange import Exchange, OutFrame
from swarm.executor import ThreadExecutor
from swarm.merge.mean import WeightedMean
from swarm.messages import Entry, Proposal, StreamHeader
from swarm.peer.deadlines import USEFUL
from swarm.peer.streams import OVER, ExchangeStreams
from swarm.records import Attempt, PeerStatus, SyncState
from swarm.tensors.state import ModelState, Schema, TensorSpec
from swarm.transport.base import Frame, Sink, Upload
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
        )
        self.clock = ManualClock()
        self.failed: list[str] = []
        self.reasons: list[str] = []
        self.done = 0
        coder = ChunkCoder(None, reference)
        made = {name: Exchange(name, proposal, WeightedMean(), self.model(), coder) for name in NAMES}
        self.streams = ExchangeStreams(
            "ann",
            proposal,
            made["ann"],
            ThreadExecutor(self.clock),
            self._finished,
            self._fail,
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
        out = self.others[sender].next_frame("ann")
        assert out is not None
        self._take(sender, out, spoil)

    def place_all(self, sender: str) -> None:
        """All that ``sender`` can send so far."""
        while out := self.others[sender].next_frame("ann"):
            self._take(sender, out)

    def _take(self, sender: str, out: OutFrame, spoil: float | None = None) -> None:
        head, payload = out
        place = self.sinks[sender].begin(memoryview(head), len(payload))
        place[:] = payload
        if spoil is not None:
            place[:4] = np.float32(spoil).tobytes()
        self.sinks[sender].end()

    def exchange_all(self) -> None:
        """Everything from everybody; what ann sends arrives by itself, beside her streams."""
        for _ in range(2):  # contributions, then results
            for sender, to in permutations(NAMES, 2):
                if to == "ann":
                    self.place_all(sender)
                else:
                    while out := self.others[sender].next_frame(to):
                        self.others[to].receive(sender, memoryview(bytearray(b"".join(out))))

    def _finished(self, _: ModelState) -> None:
        self.done += 1

    def _fail(self, peer: str, reason: str) -> None:
        self.failed.append(peer)
        self.reasons.append(reason)

    def check(self, timeout: float = TIMEOUT) -> None:
        self.streams.check(self.clock.now(), timeout)


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
        ann.place_all(name)
    ann.check()
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


def test_a_peer_that_sends_a_byte_now_and_then_is_blamed(ann: Ann) -> None:
    """It is never silent, and the others are done."""
    head, payload = ann.others["bob"].next_frame("ann") or (b"", memoryview(b""))
    ann.sinks["bob"].begin(memoryview(head), len(payload))
    ann.place_all("cyd")
    ann.check()
    for seconds in range(1, 11):
        ann.clock.advance(1)
        ann.sinks["bob"].progress(seconds)
        ann.check()
        assert ann.failed == []
    ann.clock.advance(1)
    ann.check()
    assert ann.reasons == ["bob is too slow: 2.7 MB of its contribution are missing 11 s after the others were done"]


def test_a_slow_link_that_moves_is_waited_for(ann: Ann) -> None:
    ann.place_all("cyd")
    ann.check()
    while "of its contribution" in ann.streams.waits_for:
        ann.clock.advance(1.5 * layout.CHUNK_BYTES / USEFUL)  # each of the two others has half of the rate
        ann.place("bob")
        ann.check(TIMEOUT / 4)
    assert ann.clock.now() > TIMEOUT
    assert ann.failed == []


def test_results_are_not_missed_while_a_contribution_is_missing(ann: Ann) -> None:
    """Whose result is missing may be waiting for the same contribution."""
    ann.place_all("bob")
    ann.check()
    while "of its contribution" in ann.streams.waits_for:
        ann.clock.advance(1.5 * layout.CHUNK_BYTES / USEFUL)
        ann.place("cyd")
        ann.check(TIMEOUT / 4)
    assert ann.clock.now() > TIMEOUT
    assert ann.failed == []


def test_a_line_says_who_owes_how_much(ann: Ann) -> None:
    assert ann.streams.waits_for == "bob (2.7 MB of its contribution), cyd (2.7 MB of its contribution)"
    ann.place_all("bob")
    assert ann.streams.waits_for == "cyd (2.7 MB of its contribution)"
    ann.place_all("cyd")
    assert ann.streams.waits_for == "bob (2.7 MB of its merged chunks), cyd (2.7 MB of its merged chunks)"


class Uploads(MemoryTransport):
    """Keeps the frames of an upload for the test to read."""

    def __init__(self) -> None:
        self.frames: Iterator[Frame] = iter(())
        self.done: dict[str, Callable[[str | None], None]] = {}
        self.cancelled: list[str] = []

    def upload(
        self, address: str, header: StreamHeader, frames: Iterator[Frame], done: Callable[[str | None], None]
    ) -> Upload:
        self.frames, self.done[address] = frames, done
        return Kept(self, address)


class Kept(Upload):
    def __init__(self, uploads: Uploads, address: str) -> None:
        self._uploads, self._address = uploads, address

    def cancel(self) -> None:
        self._uploads.cancelled.append(self._address)


def test_a_member_that_takes_nothing_is_blamed_though_this_one_has_all_that_it_needs(ann: Ann) -> None:
    transport = Uploads()
    for name in NAMES[1:]:
        ann.streams.send(transport, name, name, StreamHeader("s", "ann", "i", "l", 1, Attempt(1, "ann")))
    ann.exchange_all()
    assert ann.done == 1
    transport.done["cyd"](None)
    ann.check()
    ann.clock.advance(2 * TIMEOUT)
    ann.check()
    assert ann.failed == []
    ann.clock.advance(1)
    ann.check()
    ann.check()
    assert ann.failed == ["bob"]
    assert ann.reasons == ["bob does not take what it is sent, of which 0 B went out"]
    assert set(transport.cancelled) == {"bob"}


def test_a_member_whose_stream_breaks_after_the_end_is_not_blamed(ann: Ann) -> None:
    """Its own attempt may be over already."""
    transport = Uploads()
    ann.streams.send(transport, "bob", "bob", StreamHeader("s", "ann", "i", "l", 1, Attempt(1, "ann")))
    ann.exchange_all()
    transport.done["bob"]("the attempt is over")
    ann.check()
    ann.clock.advance(9 * TIMEOUT)
    ann.check()
    assert ann.failed == []


def test_a_member_that_has_left_the_attempt_before_is_not_blamed_and_one_that_refuses_is(ann: Ann) -> None:
    """The leader tells one member before the other that it aborts an attempt."""
    transport = Uploads()
    for name in NAMES[1:]:
        ann.streams.send(transport, name, name, StreamHeader("s", "ann", "i", "l", 1, Attempt(1, "ann")))
    transport.done["bob"](f"bob:1 refused: {OVER}")
    assert ann.failed == []
    transport.done["cyd"]("cyd:1 refused: no space")
    assert ann.reasons == ["sending to cyd failed: cyd:1 refused: no space"]


def test_a_stream_that_ended_is_told_that_its_attempt_is_over(ann: Ann) -> None:
    ann.streams.stop()
    with pytest.raises(ExchangeError, match=f"{OVER}$"):
        ann.place("bob")


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
