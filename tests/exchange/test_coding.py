"""Chunks as payloads: nothing for what is unchanged, and an account of what a codec loses."""

from __future__ import annotations

import numpy as np
import pytest

from swarm.codec import Int8Codec
from swarm.errors import ExchangeError
from swarm.exchange.coding import ChunkCoder, Residual
from swarm.exchange.layout import Chunk
from swarm.tensors.state import ModelState, Schema, TensorSpec

SCHEMA = Schema((TensorSpec("w", (8,), "float32"),))
CHUNK = Chunk(0, 2, 6)


def model(value: float) -> ModelState:
    state = ModelState.empty(SCHEMA)
    state.segments["float32"][:] = value
    return state


def values(*numbers: float) -> np.ndarray:
    return np.array(numbers, np.float32)


def test_what_is_exact_is_sent_from_where_it_lies() -> None:
    own = values(1, 2, 3, 4)
    payload = ChunkCoder(None, model(0)).encode(CHUNK, own)
    assert np.shares_memory(np.frombuffer(payload, np.float32), own)


def test_what_is_unchanged_has_no_payload() -> None:
    coder, out = ChunkCoder(None, model(7)), values(0, 0, 0, 0)
    payload = coder.encode(CHUNK, values(7, 7, 7, 7))
    assert len(payload) == 0
    coder.decode(CHUNK, payload, out)
    assert out.tolist() == [7, 7, 7, 7]


def test_without_a_model_to_go_by_everything_travels() -> None:
    coder = ChunkCoder(Int8Codec())
    assert len(coder.encode(CHUNK, values(7, 7, 7, 7))) == 16
    with pytest.raises(ExchangeError):
        coder.decode(CHUNK, memoryview(b""), values(0, 0, 0, 0))


def test_an_attempt_that_is_aborted_leaves_the_account_as_it_was() -> None:
    residual: Residual = {"float32": np.zeros(8, np.float32)}
    own, reference = values(1, 0.001, 0, 0), model(0)
    first = bytes(ChunkCoder(Int8Codec(), reference, residual).encode(CHUNK, own))
    assert not residual["float32"].any()
    second = ChunkCoder(Int8Codec(), reference, residual)
    assert bytes(second.encode(CHUNK, own)) == first
    second.update_residual()
    assert residual["float32"][3] == pytest.approx(0.001)
    assert not residual["float32"][[0, 1, 6, 7]].any()
    second.update_residual()
    assert residual["float32"][3] == pytest.approx(0.001)


def test_what_was_borrowed_is_read_again_from_where_it_is_by_then() -> None:
    """A commit that comes late finds a copy in the place of the model, which has been trained on."""
    residual: Residual = {"float32": np.zeros(8, np.float32)}
    borrowed, kept = values(1, 0.001, 0, 0), values(1, 0.001, 0, 0)
    coder = ChunkCoder(Int8Codec(), model(0), residual)
    coder.encode(CHUNK, borrowed, lambda: kept)
    borrowed[...] = np.nan
    coder.update_residual()
    assert residual["float32"][3] == pytest.approx(0.001)
