"""Pieces as payloads: nothing for what is unchanged, and an account of what a codec loses."""

from __future__ import annotations

import numpy as np
import pytest

from swarm.codec import Int8Codec
from swarm.errors import ExchangeError
from swarm.rounds.coding import PieceCoder, Residual
from swarm.rounds.layout import Piece
from swarm.state import ModelState, Schema, TensorSpec

SCHEMA = Schema((TensorSpec("w", (8,), "float32"),))
PIECE = Piece(0, 2, 6)


def model(value: float) -> ModelState:
    state = ModelState.empty(SCHEMA)
    state.segments["float32"][:] = value
    return state


def values(*numbers: float) -> np.ndarray:
    return np.array(numbers, np.float32)


def test_what_is_exact_is_sent_from_where_it_lies() -> None:
    own = values(1, 2, 3, 4)
    payload = PieceCoder(None, model(0)).encode(PIECE, own)
    assert np.shares_memory(np.frombuffer(payload, np.float32), own)


def test_what_is_unchanged_has_no_payload() -> None:
    coder, out = PieceCoder(None, model(7)), values(0, 0, 0, 0)
    payload = coder.encode(PIECE, values(7, 7, 7, 7))
    assert len(payload) == 0
    coder.decode(PIECE, payload, out)
    assert out.tolist() == [7, 7, 7, 7]


def test_without_a_model_to_go_by_everything_travels() -> None:
    coder = PieceCoder(Int8Codec())
    assert len(coder.encode(PIECE, values(7, 7, 7, 7))) == 16
    with pytest.raises(ExchangeError):
        coder.decode(PIECE, memoryview(b""), values(0, 0, 0, 0))


def test_an_attempt_that_is_void_leaves_the_account_as_it_was() -> None:
    residual: Residual = {"float32": np.zeros(8, np.float32)}
    own, reference = values(1, 0.001, 0, 0), model(0)
    first = bytes(PieceCoder(Int8Codec(), reference, residual).encode(PIECE, own))
    assert not residual["float32"].any()
    second = PieceCoder(Int8Codec(), reference, residual)
    assert bytes(second.encode(PIECE, own)) == first
    second.carry()
    assert residual["float32"][3] == pytest.approx(0.001)
    assert not residual["float32"][[0, 1, 6, 7]].any()
    second.carry()
    assert residual["float32"][3] == pytest.approx(0.001)


def test_what_was_lent_is_read_again_from_where_it_is_by_then() -> None:
    """A commit that comes late finds a copy in the place of the model, which has been trained on."""
    residual: Residual = {"float32": np.zeros(8, np.float32)}
    lent, kept = values(1, 0.001, 0, 0), values(1, 0.001, 0, 0)
    coder = PieceCoder(Int8Codec(), model(0), residual)
    coder.encode(PIECE, lent, lambda: kept)
    lent[...] = np.nan
    coder.carry()
    assert residual["float32"][3] == pytest.approx(0.001)
