"""Which sources a model is fetched from, when one of them is given up, and what happens to one that lies."""

from __future__ import annotations

import logging
import queue
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import pytest

from swarm.clock import ManualClock
from swarm.errors import ExchangeError, UnreachablePeerError
from swarm.exchange import layout
from swarm.exchange.whole import model_frames
from swarm.executor import Item, Result, ThreadExecutor
from swarm.messages import FetchRequest
from swarm.peer.deadlines import TIMEOUTS, USEFUL
from swarm.peer.fetching import Fetcher, fetch_given
from swarm.records import PeerId, PeerInfo
from swarm.tensors.state import ModelState, Schema, TensorSpec
from swarm.transport.memory import MemoryNetwork, MemoryTransport

SCHEMA = Schema((TensorSpec("w", (1_000_000,), "float32"),))
TIMEOUT = 10.0


class Watching(ThreadExecutor):
    """Knows what has ended."""

    def __init__(self, clock: ManualClock) -> None:
        super().__init__(clock)
        self.ended: defaultdict[str, threading.Event] = defaultdict(threading.Event)

    def map(self, name: str, work: Callable[[Item], Result], items: Iterable[Item]) -> dict[Item, Result]:
        def run(item: Item) -> Result:
            try:
                return work(item)
            finally:
                self.ended[str(item)].set()

        return super().map(name, run, items)


class Sources(MemoryTransport):
    """Peers that hold a model; each takes some seconds for a frame, and begins when those before it are done."""

    def __init__(self, model: ModelState, clock: ManualClock, pace: dict[str, float]) -> None:
        super().__init__(MemoryNetwork())
        self.asked: list[tuple[str, int]] = []
        self.executor = Watching(clock)
        self._model = model
        self._clock = clock
        self._pace = pace
        self._all_asked = threading.Barrier(len(pace))

    @property
    def now(self) -> float:
        """When the last frame was sent."""
        return self._clock.now()

    def fetch(self, address: str, request: FetchRequest, timeout: float) -> Iterator[memoryview]:
        first = address not in {name for name, _ in self.asked}
        self.asked.append((address, request.part))
        if first:
            self._all_asked.wait(10)
            for name in sorted(self._pace):
                if name < address:
                    self.executor.ended[name].wait(10)
        for head, payload in model_frames(self._model, request.part, request.parts):
            if self._pace[address] == float("inf"):
                raise UnreachablePeerError(f"{address} is silent")
            self._clock.advance(self._pace[address])
            yield memoryview(head + bytes(payload))


@pytest.fixture(autouse=True)
def _many_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "CHUNK_BYTES", 1 << 16)


@pytest.fixture
def model() -> ModelState:
    return ModelState(SCHEMA, {"float32": np.arange(1_000_000, dtype=np.float32)}, [])


@pytest.fixture
def fetched(model: ModelState, caplog: pytest.LogCaptureFixture) -> Callable[..., Sources]:
    caplog.set_level(logging.INFO)

    def fetch(**pace: float) -> Sources:
        clock = ManualClock()
        sources = Sources(model, clock, pace)
        request = FetchRequest("s", "me", model.digest())
        log, addresses = logging.getLogger("swarm"), {name: name for name in pace}
        got = fetch_given(sources, addresses, request, SCHEMA, TIMEOUT, sources.executor, log)
        assert got.digest() == model.digest()
        return sources

    return fetch


def test_each_source_gives_a_share(fetched: Callable[..., Sources], caplog: pytest.LogCaptureFixture) -> None:
    sources = fetched(ann=0.1, bob=0.1, cyd=0.1)
    assert sorted(name for name, _ in sources.asked) == ["ann", "bob", "cyd"]
    assert sorted(part for _, part in sources.asked) == [0, 1, 2]
    assert not caplog.messages


def test_a_source_that_trickles_is_replaced_and_named(
    fetched: Callable[..., Sources], caplog: pytest.LogCaptureFixture
) -> None:
    sources = fetched(ann=0.1, bob=4.0)
    assert sources.asked[-1][0] == "ann"
    (line,) = caplog.messages
    assert line.startswith("others gave parts of a model in place of bob: too slow: ")
    assert line.endswith("s after the others were done")


def test_a_slow_source_is_not_replaced_while_it_is_useful(
    fetched: Callable[..., Sources], caplog: pytest.LogCaptureFixture
) -> None:
    frame = 1 << 16
    sources = fetched(ann=0.01, bob=1.5 * frame / USEFUL)  # its part of the rate is half of that
    assert len(sources.asked) == 2
    assert sources.now > TIMEOUT
    assert not caplog.messages


def test_one_slow_source_alone_may_take_its_time_and_not_for_ever(fetched: Callable[..., Sources]) -> None:
    longest = TIMEOUTS * TIMEOUT + 2 * SCHEMA.nbytes / USEFUL
    assert fetched(ann=0.9 * longest / 62).now > 0.8 * longest
    with pytest.raises(ExchangeError, match="ann: too slow: .* of its share are missing, and the download takes too"):
        fetched(ann=1.2 * longest / 62)


def test_all_that_fail_are_named(fetched: Callable[..., Sources]) -> None:
    with pytest.raises(ExchangeError, match="ann: ann is silent; bob: bob is silent"):
        fetched(ann=float("inf"), bob=float("inf"))


class Holders(MemoryTransport):
    """Peers of which each gives what it holds."""

    def __init__(self, **held: ModelState) -> None:
        super().__init__(MemoryNetwork())
        self.asked: list[str] = []
        self.held = held

    def fetch(self, address: str, request: FetchRequest, timeout: float) -> Iterator[memoryview]:
        self.asked.append(address)
        for head, payload in model_frames(self.held[address], request.part, request.parts):
            yield memoryview(head + bytes(payload))


class Addresses:
    """Each peer's address is its name."""

    def info(self, peer: PeerId) -> PeerInfo:
        return PeerInfo(name=peer, incarnation=f"{peer}-0", address=peer, session="s")


def changed(model: ModelState, value: float) -> ModelState:
    segments = {name: values.copy() for name, values in model.segments.items()}
    segments["float32"][:] = value
    return ModelState(SCHEMA, segments, [])


class Fetching:
    """A peer that fetches from some that hold a model, or lie."""

    def __init__(self, transport: Holders) -> None:
        self._sources = list(transport.held)
        self._fetcher = Fetcher(
            me=Addresses().info("me"),
            schema=SCHEMA,
            transport=transport,
            roster=Addresses(),
            ledger=None,
            verifier=None,
            timeout=TIMEOUT,
            logger=logging.getLogger("swarm"),
            executor=ThreadExecutor(ManualClock()),
            post=lambda work: work(),
        )

    def fetch(self, digest: str) -> ModelState | None:
        got: queue.Queue[ModelState | None] = queue.Queue()
        self._fetcher.fetch(digest, self._sources, got.put)
        return got.get(timeout=10)


@pytest.mark.parametrize("value", [1.0, float("nan")])
def test_one_liar_among_the_sources_is_found_and_named(
    model: ModelState, value: float, caplog: pytest.LogCaptureFixture
) -> None:
    holders = Holders(ann=model, bob=changed(model, value), cyd=model)
    fetching = Fetching(holders)
    got = fetching.fetch(model.digest())
    assert got is not None
    assert got.digest() == model.digest()


def test_a_liar_is_named_and_asked_no_more(model: ModelState, caplog: pytest.LogCaptureFixture) -> None:
    holders = Holders(ann=changed(model, 1), bob=model, cyd=model)
    fetching = Fetching(holders)
    assert fetching.fetch(model.digest()) is not None
    (warning,) = [record.message for record in caplog.records if record.levelno >= logging.WARNING]
    assert warning.startswith("ann gave a model with digest ")
    assert warning.endswith(": it is not asked again where another peer has the model")
    holders.asked.clear()
    assert fetching.fetch(model.digest()) is not None
    assert "ann" not in holders.asked


def test_where_all_lie_nothing_is_taken_and_all_are_asked_again(
    model: ModelState, caplog: pytest.LogCaptureFixture
) -> None:
    holders = Holders(ann=changed(model, 1), bob=changed(model, 1))
    fetching = Fetching(holders)
    assert fetching.fetch(model.digest()) is None
    holders.asked.clear()
    assert fetching.fetch(model.digest()) is None
    assert {*holders.asked} == {"ann", "bob"}


def test_nan_under_the_right_digest_is_refused(model: ModelState) -> None:
    nan = changed(model, float("nan"))
    assert Fetching(Holders(ann=nan)).fetch(nan.digest()) is None
