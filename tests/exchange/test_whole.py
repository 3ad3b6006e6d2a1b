"""A whole model travels in shares to a peer that catches up, and what does not fit is refused."""

from __future__ import annotations

import random
from collections.abc import Iterator

import numpy as np
import pytest

from swarm.errors import ExchangeError
from swarm.exchange import layout
from swarm.exchange.layout import HEADER, FrameKind
from swarm.exchange.whole import MAX_PARTS, Assembly, model_frames
from swarm.tensors.state import ModelState, Schema, TensorKind, TensorSpec

SCHEMA = Schema(
    (
        TensorSpec("weight", (11, 3), "float32"),
        TensorSpec("seen", (9,), "int64", TensorKind.COUNTER),
        TensorSpec("half", (5,), "bfloat16"),
    )
)
TINY = Schema((TensorSpec("w", (2,), "float32"),))
ONLY_SIDE = Schema((TensorSpec("seen", (), "int64", TensorKind.COUNTER),))


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "CHUNK_BYTES", 16)


def model(schema: Schema) -> ModelState:
    rng = np.random.default_rng(0)
    made = ModelState.empty(schema)
    for _, array in made.arrays():
        array[...] = (10 * np.abs(rng.standard_normal(array.shape))).astype(array.dtype)
    return made


def share(state: ModelState, part: int = 0, parts: int = 1) -> list[memoryview]:
    return [memoryview(b"".join(out)) for out in model_frames(state, part, parts)]


def frame(kind: FrameKind, segment: int, start: int, payload: bytes) -> memoryview:
    return memoryview(HEADER.pack(kind, segment, start) + payload)


@pytest.mark.parametrize("parts", [1, 2, 3, 7])
@pytest.mark.parametrize("schema", [SCHEMA, TINY, ONLY_SIDE, Schema(())], ids=["model", "tiny", "side", "empty"])
def test_a_model_arrives_as_it_was_in_any_number_of_shares_and_any_order(schema: Schema, parts: int) -> None:
    state, assembly, order = model(schema), Assembly(schema, parts), random.Random(parts)
    for part in order.sample(range(parts), parts):
        frames = share(state, part, parts)
        order.shuffle(frames)
        assembly.take(part, iter(frames))
    assert assembly.missing == ()
    assert assembly.model().digest() == state.digest()


def test_a_model_is_not_given_before_all_shares_are_there() -> None:
    assembly = Assembly(SCHEMA, 2)
    assembly.take(1, iter(share(model(SCHEMA), 1, 2)))
    assert assembly.missing == (0,)
    with pytest.raises(ExchangeError, match="shares 0 of the model are missing"):
        assembly.model()


def test_a_share_cut_short_does_not_count() -> None:
    frames = share(model(SCHEMA))
    for missing in range(len(frames)):
        assembly = Assembly(SCHEMA, 1)
        with pytest.raises(ExchangeError, match="1 chunks of the share are missing"):
            assembly.take(0, iter(frames[:missing] + frames[missing + 1 :]))
        assert assembly.missing == (0,)


def test_a_frame_that_comes_twice_or_belongs_to_another_share_is_refused() -> None:
    frames = share(model(SCHEMA))
    strays: Iterator[memoryview] = iter([*frames, frame(FrameKind.CONTRIBUTION, 0, 0, bytes(16))])
    for stray in strays:
        with pytest.raises(ExchangeError, match="that the share does not have"):
            Assembly(SCHEMA, 1).take(0, iter([*frames, stray]))
    with pytest.raises(ExchangeError, match="that the share does not have"):
        Assembly(SCHEMA, 2).take(0, iter(frames))


def test_a_chunk_of_another_length_is_refused() -> None:
    with pytest.raises(ExchangeError, match="takes 8 bytes, not 4"):
        Assembly(TINY, 1).take(0, iter([frame(FrameKind.RESULT, 0, 0, bytes(4))]))


@pytest.mark.parametrize(("part", "parts"), [(1, 1), (-1, 2), (0, 0), (0, MAX_PARTS + 1)])
def test_a_share_that_does_not_exist_is_refused_before_anything_is_sent(part: int, parts: int) -> None:
    with pytest.raises(ExchangeError, match="no share"):
        model_frames(model(SCHEMA), part, parts)
