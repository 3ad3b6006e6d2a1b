"""Which sources a model is fetched from, and when one of them is given up."""

from __future__ import annotations

import logging
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
from swarm.peer.fetching import fetch_model
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
        got = fetch_model(sources, addresses, request, SCHEMA, TIMEOUT, sources.executor, log)
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
