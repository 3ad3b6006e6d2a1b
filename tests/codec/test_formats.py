"""The bytes of bf16 and int8, and their accuracy."""

from __future__ import annotations

import struct

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from swarm.codec import Bf16Codec, Int8Codec
from swarm.codec.delta import BLOCK
from swarm.errors import ExchangeError
from swarm.testing.codecs import decoded, encoded, models

BF16, INT8 = Bf16Codec(), Int8Codec()
FLOATS = hnp.arrays(np.float32, st.integers(1, 40), elements=st.floats(-(2.0**100), 2.0**100, width=32))


def zeros(size: int) -> np.ndarray:
    return np.zeros(size, np.float32)


def test_bf16_rounds_to_nearest_even() -> None:
    ties = np.array([1 + 2.0**-8, 1 + 3 * 2.0**-8, -1 - 2.0**-8], np.float32)
    assert decoded(BF16, encoded(BF16, ties, zeros(3)), zeros(3), ties).tolist() == [1, 1 + 2.0**-6, -1]


@given(values=FLOATS)
@settings(derandomize=True, deadline=None)
def test_bf16_bytes_are_those_of_the_dtype(values: np.ndarray) -> None:
    expected = values.astype(ml_dtypes.bfloat16).tobytes() if values.view(np.uint32).any() else b""
    assert encoded(BF16, values, zeros(values.size)) == expected


def test_bf16_refuses_what_rounds_to_infinity() -> None:
    with pytest.raises(ExchangeError, match="too large"):
        encoded(BF16, np.array([3.4e38], np.float32), zeros(1))


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_bf16_leaves_16_bit_values_as_they_are(dtype: type[np.generic]) -> None:
    values = np.array([1, -2.5], dtype)
    assert encoded(BF16, values, None) == values.tobytes()


def test_int8_is_a_scale_and_a_byte_per_value() -> None:
    values = np.array([127, -127, 1.5, 2.5, -0.4, 0], np.float32)
    data = encoded(INT8, values, zeros(6))
    assert struct.unpack("<f6b", data) == (1.0, 127, -127, 2, 2, 0, 0)


def test_int8_scales_every_group_by_itself() -> None:
    values = np.repeat(np.array([1e-3, 0, 1e3], np.float32), INT8.group)[: 2 * INT8.group + 7]
    data = encoded(INT8, values, zeros(values.size))
    np.testing.assert_allclose(decoded(INT8, data, zeros(values.size), values), values, rtol=1e-6)
    middle = INT8.packed_nbytes(INT8.group)
    assert set(data[middle : 2 * middle]) == {0}


@given(values=FLOATS)
@settings(derandomize=True, deadline=None)
def test_int8_is_off_by_half_a_scale_at_most(values: np.ndarray) -> None:
    arrived = decoded(INT8, encoded(INT8, values, zeros(values.size)), zeros(values.size), values)
    bound = np.abs(values).max() / 127 * 0.5001 + 127 * np.finfo(np.float32).tiny
    assert (np.abs(arrived.astype(np.float64) - values) <= bound).all()


@pytest.mark.parametrize("scale", [np.inf, -np.inf, np.nan])
def test_int8_refuses_a_scale_that_is_not_finite(scale: float) -> None:
    with pytest.raises(ExchangeError, match="scale"):
        decoded(INT8, struct.pack("<f2b", scale, 0, 0), zeros(2), zeros(2))


@pytest.mark.parametrize("codec", [BF16, INT8], ids=["bf16", "int8"])
def test_a_chunk_is_coded_alike_whatever_lies_in_the_next_block(codec: Bf16Codec | Int8Codec) -> None:
    values, reference = models(2 * BLOCK + 5, "float32")
    whole = encoded(codec, values, reference)
    parts = [slice(0, BLOCK), slice(BLOCK, 2 * BLOCK), slice(2 * BLOCK, None)]
    assert whole == b"".join(encoded(codec, values[part], reference[part]) for part in parts)


@pytest.mark.parametrize("codec", [BF16, INT8], ids=["bf16", "int8"])
def test_a_aborted_attempt_leaves_the_residual_as_it_was(codec: Bf16Codec | Int8Codec) -> None:
    """Encoding only reads the residual, so that the next attempt starts from the same one."""
    values, reference = models(5000, "float32")
    residual = zeros(5000)
    codec.update_residual(values, reference, residual)
    before = residual.tobytes()
    for cut in (2500, 1024):
        encoded(codec, values[:cut], reference[:cut], residual[:cut])
        encoded(codec, values[cut:], reference[cut:], residual[cut:])
    assert residual.tobytes() == before
