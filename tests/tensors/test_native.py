"""The compiled kernels give the same results as NumPy, bit-identical where that is guaranteed."""

from __future__ import annotations

import shutil

import ml_dtypes
import numpy as np
import pytest

from swarm.codec import BUILTIN_CODECS
from swarm.codec.int8 import Int8Codec
from swarm.errors import ExchangeError
from swarm.merge import CoordinateMedian, WeightedMean
from swarm.merge.distance import squared_distance
from swarm.merge.gram import combine, combine_measured, partial_gram
from swarm.tensors import kernels
from swarm.tensors.state import is_finite

needs_native = pytest.mark.skipif(kernels.native is None, reason="the kernels are not compiled here")
SIZES = [0, 1, 15, 16, 17, 1023, 1024, 1025, 70_001]
LARGEST = float(np.finfo(np.float32).max)
BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
DTYPES = [pytest.param(np.dtype(dtype), id=str(dtype)) for dtype in ("float32", "float16", "bfloat16")]


@pytest.fixture
def portable(monkeypatch):
    """Run a function without the kernels."""

    def run(function, *arguments):
        with monkeypatch.context() as patch:
            patch.setattr(kernels, "native", None)
            return function(*arguments)

    return run


def columns(count, size, *, scale=1.0, dtype=np.float32):
    rng = np.random.default_rng(size)
    return [(scale * rng.standard_normal(size)).astype(dtype) for _ in range(count)]


def largest(dtype):
    """The largest finite number."""
    return float(ml_dtypes.finfo(dtype).max)


def test_the_kernels_are_compiled_where_there_is_a_compiler():
    assert kernels.native is not None or shutil.which("cc") is None


@needs_native
def test_contiguous_arrays_of_float32_are_taken():
    assert kernels.takes(np.zeros(4, np.float32), None, np.zeros((2, 3), np.float32))
    assert kernels.readable(np.zeros(4, np.float16), None, np.zeros(2, np.float16))


def test_other_dtypes_and_scattered_memory_are_left_to_numpy():
    assert not kernels.takes(np.zeros(4))
    assert not kernels.takes(np.zeros(4, np.float32), np.zeros(8, np.float32)[::2])
    assert not kernels.takes(np.zeros(4, ">f4"))
    assert not kernels.takes(np.frombuffer(bytes(17), np.uint8)[1:].view(np.float32))
    assert not kernels.readable(np.zeros(4))
    assert not kernels.readable(np.zeros(4, np.uint16))
    assert not kernels.readable(np.zeros(4, np.float16), np.zeros(4, BFLOAT16))
    assert not kernels.readable(np.zeros(8, BFLOAT16)[::2])


def test_what_a_subclass_does_otherwise_is_not_passed_over():
    class Zeros(WeightedMean):
        def merge_into(self, columns, weights, out):
            out[...] = 0

    class Coarse(Int8Codec):
        def pack(self, differences, out):
            out[...] = 0

    ones, out = np.ones(8, np.float32), np.ones(8, np.float32)
    Zeros().merge_measured([ones, ones], (1, 1), ones, out)
    assert not out.any()
    payload = bytearray(Coarse().encoded_nbytes(8, "float32"))
    Coarse().encode(ones, np.zeros_like(ones), memoryview(payload))
    assert not any(payload)


@needs_native
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("weights", [[1, 1], [3, 1], [1, 1, 1, 1], [5, 100, 1, 17, 2, 30, 4]])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("scale", [1.0, 2.0**-16])
def test_combinations_are_equal_to_the_bit(portable, size, weights, dtype, scale):
    chunks, factors = columns(len(weights), size, scale=scale, dtype=dtype), np.array(weights) / sum(weights)
    assert combine(chunks, factors).tobytes() == portable(combine, chunks, factors).tobytes()


@needs_native
@pytest.mark.parametrize("dtype", DTYPES[1:])
def test_every_number_of_half_precision_is_read_and_rounded_as_numpy_does(portable, dtype):
    every = np.arange(1 << 16, dtype=np.uint16).view(dtype)
    every = every[np.isfinite(every) & (abs(every.astype(float)) <= largest(dtype) / 2)]
    factors = np.full(2, 0.5)
    assert combine([every, every], factors).tobytes() == every.tobytes()
    for shift in (1, 2, 999):  # midpoints of neighbours are ties
        chunks = [every, np.roll(every, shift)]
        assert combine(chunks, factors).tobytes() == portable(combine, chunks, factors).tobytes()


@needs_native
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("weights", [[1], [1, 1], [3, 1, 7], [1, 1, 9, 1]])
@pytest.mark.parametrize("dtype", DTYPES)
def test_combining_and_measuring_at_once_is_the_same_as_one_after_the_other(size, weights, dtype):
    *chunks, origin = columns(len(weights) + 1, size, dtype=dtype)
    factors, out = np.array(weights) / sum(weights), np.empty(size, dtype)
    measured = combine_measured(chunks, factors, origin, out)
    assert out.tobytes() == combine(chunks, factors).tobytes()
    exact = [float(np.square(chunk.astype(float) - origin.astype(float)).sum()) for chunk in chunks]
    assert measured == pytest.approx(exact, rel=1e-5)


@needs_native
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("count", [1, 2, 3, 8, 9, 64])
def test_medians_are_equal_to_the_bit(portable, size, count):
    chunks = columns(count, size)
    for chunk in chunks[::2]:
        chunk[:3] = np.array([-0.0, 0.0, -LARGEST])[:size]
    merge = CoordinateMedian().merge
    assert merge(chunks, (1,) * count).tobytes() == portable(merge, chunks, (1,) * count).tobytes()


@needs_native
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("count", [1, 2, 5, 33])
def test_inner_products_are_those_of_numpy(portable, size, count):
    chunks = columns(count, size)
    distance = squared_distances(partial_gram(chunks))
    assert distance == pytest.approx(squared_distances(portable(partial_gram, chunks)), rel=1e-5)


def squared_distances(gram):
    """Distances from inner products; the origin cancels."""
    return gram.diagonal() + gram.diagonal()[:, None] - 2 * gram


@needs_native
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_combination_whose_differences_overflow_is_computed_again_in_double(dtype):
    top = largest(dtype)
    chunks = [np.full(2000, value, dtype) for value in (top, -top, top)]
    assert combine(chunks, np.full(3, 1 / 3)).tolist() == pytest.approx([top / 3] * 2000, rel=2.0**-8)


@needs_native
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_distances_are_those_of_numpy(portable, size, dtype):
    values, origin = columns(2, size, dtype=dtype)
    for other in (origin, None):
        assert squared_distance(values, other) == pytest.approx(portable(squared_distance, values, other), rel=1e-5)


@needs_native
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", [0, 16, 1024, 2047, 2049])
@pytest.mark.parametrize("dtype", DTYPES)
def test_what_is_not_finite_is_found_wherever_it_lies(bad, place, dtype):
    values, origin = np.full(2050, largest(dtype), dtype), np.full(2050, -largest(dtype), dtype)
    assert is_finite(values)
    assert np.isfinite(squared_distance(values, origin))
    values[place] = bad
    assert not is_finite(values)
    assert not np.isfinite(squared_distance(values, origin))
    assert not np.isfinite(combine_measured([origin, values], np.full(2, 0.5), origin, np.empty_like(values))[1])


def coded(codec, values, reference, residual):
    """The payload, the decoded values, and the residual."""
    out = bytearray(codec.encoded_nbytes(values.size, "float32"))
    codec.encode(values, reference, memoryview(out), residual)
    arrived, left = np.empty_like(values), np.zeros_like(values) if residual is None else residual.copy()
    codec.decode(memoryview(out), reference, arrived)
    codec.update_residual(values, reference, left)
    return bytes(out), arrived.tobytes(), left.tobytes()


@needs_native
@pytest.mark.parametrize("size", SIZES[1:])
@pytest.mark.parametrize("codec", ["bf16", "int8"])
@pytest.mark.parametrize("scale", [1e-42, 1e-3, 1.0, 1e30])
@pytest.mark.parametrize("feedback", [True, False])
def test_codecs_are_equal_to_the_bit(portable, size, codec, scale, feedback):
    values, reference, residual = columns(3, size, scale=scale)
    arguments = (BUILTIN_CODECS[codec], values, reference, residual if feedback else None)
    assert coded(*arguments) == portable(coded, *arguments)


@needs_native
@pytest.mark.parametrize("codec", ["bf16", "int8"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, LARGEST])
@pytest.mark.parametrize("place", [3, 1500])
def test_both_refuse_to_code_what_cannot_travel(portable, codec, bad, place):
    values, reference = np.zeros(2000, np.float32), np.full(2000, -LARGEST / 2, np.float32)
    values[place] = bad
    for run in (lambda function, *arguments: function(*arguments), portable):
        with pytest.raises(ExchangeError, match="NaN, infinite or too large"):
            run(coded, BUILTIN_CODECS[codec], values, reference, None)


@needs_native
@pytest.mark.parametrize("codec", ["bf16", "int8"])
def test_both_refuse_a_difference_that_leads_out_of_range(portable, codec):
    size = 1500
    values = np.full(size, LARGEST / 2, np.float32)
    data = bytearray(BUILTIN_CODECS[codec].encoded_nbytes(size, "float32"))
    BUILTIN_CODECS[codec].encode(values, np.zeros_like(values), memoryview(data))
    arguments = (memoryview(data), np.full(size, 0.75 * LARGEST, np.float32), np.empty_like(values))
    for run in (lambda function, *arguments: function(*arguments), portable):
        with pytest.raises(ExchangeError, match="out of the range"):
            run(BUILTIN_CODECS[codec].decode, *arguments)


@needs_native
def test_payloads_need_not_be_aligned():
    values, reference = columns(2, 1025)
    for codec in ("bf16", "int8"):
        size = BUILTIN_CODECS[codec].encoded_nbytes(values.size, "float32")
        odd, even, out = (
            memoryview(bytearray(size + 1))[1:],
            memoryview(bytearray(size)),
            np.empty((2, 1025), np.float32),
        )
        for data, arrived in zip((odd, even), out, strict=True):
            BUILTIN_CODECS[codec].encode(values, reference, data)
            BUILTIN_CODECS[codec].decode(data, reference, arrived)
        assert odd == even
        assert out[0].tobytes() == out[1].tobytes()


@needs_native
def test_formats_and_lengths_that_do_not_belong_together_are_refused():
    native = kernels.native
    short, long, double = np.zeros(3, np.float32), np.zeros(4, np.float32), np.zeros(1)
    half = np.zeros(3, np.float16)
    for call in (
        lambda: native.squared_distance(short, long),
        lambda: native.squared_distance(short, half),
        lambda: native.squared_distance(double, double),
        lambda: native.all_finite(double),
        lambda: native.combine([half, short], double, None, None, half),
        lambda: native.combine([half, half], double, None, None, short),
        lambda: native.median([half, half], np.zeros((0, 4), np.int32), half),
        lambda: native.combine([short, long], double, None, None, short),
        lambda: native.combine([short], np.zeros(0), None, None, short),
        lambda: native.combine([short, short], double, long, np.zeros(2), short),
        lambda: native.combine([short, short], double, short, np.zeros(1), short),
        lambda: native.add_products([short, short], long, np.zeros(4)),
        lambda: native.add_products([short, short], short, np.zeros(3)),
        lambda: native.add_products([], short, np.zeros(0)),
        lambda: native.median([short, long], np.zeros((0, 4), np.int32), short),
        lambda: native.median([short, short], np.array([[0, 2, 1, 1]], np.int32), short),
        lambda: native.median([short, short], np.array([[0, -1, 1, 1]], np.int32), short),
        lambda: native.median([short, short], bytes(3), short),
        lambda: native.bf16_encode(short, long, None, bytearray(8)),
        lambda: native.bf16_encode(short, short, None, bytearray(5)),
        lambda: native.bf16_decode(bytes(8), short, short),
        lambda: native.int8_encode(short, short, None, bytearray(6)),
        lambda: native.int8_decode(bytes(6), short, short),
        lambda: native.int8_update_residual(short, short, long),
    ):
        with pytest.raises(ValueError, match="belong together"):
            call()


@needs_native
def test_memory_that_may_not_be_written_is_refused():
    values = np.zeros(3, np.float32)
    with pytest.raises((BufferError, ValueError)):
        kernels.native.bf16_encode(values, values, None, bytes(6))
    for call in (kernels.native.median, kernels.native.add_products):
        with pytest.raises((BufferError, ValueError)):
            call([values], np.zeros((0, 4), np.int32) if call is kernels.native.median else values, bytes(12))
    with pytest.raises(TypeError):
        kernels.native.combine([values, object()], np.zeros(1), None, None, values)
    with pytest.raises(TypeError):
        kernels.native.all_finite()
