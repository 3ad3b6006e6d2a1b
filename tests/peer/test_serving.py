"""How long a model is served to a peer that does not read it."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest

from swarm.clock import ManualClock
from swarm.errors import ExchangeError
from swarm.exchange import layout
from swarm.exchange.whole import model_frames
from swarm.messages import FetchRequest
from swarm.peer.deadlines import TIMEOUTS
from swarm.peer.serving import Downloads
from swarm.tensors.state import ModelState, Schema, TensorSpec
from swarm.transport.pipe import SLOWEST

TIMEOUT = 10.0
SCHEMA = Schema((TensorSpec("w", (1_000_000,), "float32"),))


def model() -> ModelState:
    return ModelState(SCHEMA, {"float32": np.ones(1_000_000, np.float32)}, [])


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def downloads(clock: ManualClock) -> Downloads:
    return Downloads(clock)


def test_a_download_that_is_not_read_frees_the_model(downloads: Downloads, clock: ManualClock) -> None:
    held = model()
    values = weakref.ref(held.segments["float32"])
    download = downloads.begin(FetchRequest("s", "bob", "digest"), model_frames(held))
    frame = next(download)
    clock.advance(TIMEOUTS * TIMEOUT + download.sent / SLOWEST)
    downloads.check(clock.now(), TIMEOUT)
    assert next(download)
    clock.advance(TIMEOUTS * TIMEOUT + download.sent / SLOWEST + 1)
    downloads.check(clock.now(), TIMEOUT)
    with pytest.raises(ExchangeError, match="not served any more: bob reads it too slowly"):
        next(download)
    del held
    gc.collect()
    assert values() is None
    assert frame  # what is being sent stays


def test_a_download_that_is_read_is_served_however_long_it_takes(downloads: Downloads, clock: ManualClock) -> None:
    download, count = downloads.begin(FetchRequest("s", "bob", "digest"), model_frames(model())), 0
    for head, payload in download:
        count += len(payload)
        clock.advance((len(head) + len(payload)) / SLOWEST)
        downloads.check(clock.now(), TIMEOUT)
    assert count == SCHEMA.nbytes


def test_a_peer_fetches_one_model_at_a_time(downloads: Downloads, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "CHUNK_BYTES", 1 << 16)
    frames = {name: model_frames(model()) for name in "abcd"}
    first = downloads.begin(FetchRequest("s", "bob", "old", 0, 2), frames["a"])
    second = downloads.begin(FetchRequest("s", "bob", "old", 1, 2), frames["b"])
    of_another = downloads.begin(FetchRequest("s", "cyd", "old"), frames["c"])
    for download in (first, second, of_another):
        next(download)
    downloads.begin(FetchRequest("s", "bob", "new"), frames["d"])
    for download in (first, second):
        with pytest.raises(ExchangeError, match="bob fetches another model now"):
            next(download)
    assert next(of_another)
