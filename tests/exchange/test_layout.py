"""How a model is cut, and the frames that carry it."""

from __future__ import annotations

from itertools import accumulate

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarm.errors import ExchangeError
from swarm.exchange import layout
from swarm.exchange.layout import (
    CHUNK_BYTES,
    HEADER,
    FrameKind,
    Head,
    frame,
    open_head,
    side_chunks,
    slice_chunks,
    values_of,
)
from swarm.tensors.state import Schema, TensorSpec, numpy_dtype
from swarm.transport.base import HEAD_BYTES


def schema(*sizes: tuple[str, int]) -> Schema:
    return Schema(tuple(TensorSpec(f"t{index}", (size,), dtype) for index, (dtype, size) in enumerate(sizes)))


@given(
    size=st.integers(0, 3 * CHUNK_BYTES),
    members=st.integers(1, 9),
    dtype=st.sampled_from(["float64", "float32", "bfloat16"]),
)
def test_the_slices_cover_every_element_once_in_chunks_of_bounded_size(size: int, members: int, dtype: str) -> None:
    model = schema((dtype, size), ("float16", 5))
    chunks = [chunk for member in range(members) for chunk in slice_chunks(model, member, members)]
    for segment, total in enumerate(model.segments.values()):
        runs = sorted((chunk.start, chunk.stop) for chunk in chunks if chunk.segment == segment)
        assert [start for start, _ in runs] == [0, *(stop for _, stop in runs)][: len(runs)]
        assert (runs[-1][1] if runs else 0) == total
    assert all(0 < chunk.size * numpy_dtype(dtype).itemsize <= CHUNK_BYTES for chunk in chunks if chunk.segment == 0)


@pytest.mark.parametrize(("mib", "chunks"), [(0.03, 1), (0.25, 1), (0.5, 2), (5, 4), (25, 13), (64, 32)])
def test_a_slice_has_enough_chunks_to_keep_both_ways_busy_but_no_crumbs(mib: float, chunks: int) -> None:
    size = int(4 * mib * 2**20 / 4)
    assert abs(len(slice_chunks(schema(("float32", size)), 1, 4)) - chunks) <= 1


@given(
    sizes=st.lists(st.integers(0, 3000), max_size=20),
    members=st.integers(1, 5),
    most=st.integers(1, 500),
    least=st.integers(1, 500),
)
def test_chunks_cross_the_bounds_of_small_tensors_only(sizes: list[int], members: int, most: int, least: int) -> None:
    model = schema(*(("float32", size) for size in sizes))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layout, "CHUNK_BYTES", 4 * most)
        patch.setattr(layout, "LEAST_BYTES", 4 * least)
        slices = [slice_chunks(model, member, members) for member in range(members)]
    runs = [(chunk.start, chunk.stop) for chunks in slices for chunk in chunks]
    assert [place for run in runs for place in run] == sorted(place for run in runs for place in run)
    assert sum(stop - start for start, stop in runs) == sum(sizes)
    large = max(min(least, most), most // 2)
    for start, stop in runs:
        assert 0 < stop - start <= most
        within = [end for end in accumulate(sizes) if start < end < stop]
        assert not within or within[0] - start < large
        assert not within or stop - within[-1] < large or stop - start <= least


def test_the_tail_of_a_large_tensor_is_no_crumb() -> None:
    model = schema(("float32", CHUNK_BYTES // 4 + 10), ("float32", 6 * CHUNK_BYTES // 4))
    first, second, *_ = (chunk.size for chunk in slice_chunks(model, 0, 1))
    assert (first, second) == (CHUNK_BYTES // 8 + 5,) * 2


def test_a_tensor_of_about_the_usual_size_stays_whole() -> None:
    """A chunk of a quarter of the slice would have to be copied, or leave a crumb."""
    sizes = (400_000, 340_000, 340_000, 340_000)
    assert [chunk.size for chunk in slice_chunks(schema(*(("float32", size) for size in sizes)), 0, 1)] == [*sizes]
    small = schema(("float32", 120_000), ("float32", 120_000))
    assert [chunk.size for chunk in slice_chunks(small, 0, 1)] == [120_000, 120_000]
    larger = schema(("float32", 700_000), ("float32", 340_000), ("float32", 340_000))
    assert [chunk.size for chunk in slice_chunks(larger, 0, 1)] == [350_000, 350_000, 340_000, 340_000]


def test_tensors_that_are_small_beside_a_chunk_are_packed_into_few() -> None:
    layer = [("float32", 256 * 256), ("float32", 256)]
    assert len(slice_chunks(schema(*layer * 400), 0, 2)) == 26


@pytest.mark.parametrize("members", [1, 2, 7])
def test_the_slices_differ_by_one_element_at_most(members: int) -> None:
    sizes = [
        sum(chunk.size for chunk in slice_chunks(schema(("float32", 1000)), member, members))
        for member in range(members)
    ]
    assert max(sizes) - min(sizes) <= 1


def test_a_model_smaller_than_the_group_leaves_some_without_a_slice() -> None:
    counts = [len(slice_chunks(schema(("float32", 2)), member, 5)) for member in range(5)]
    assert sorted(counts) == [0, 0, 0, 1, 1]


@pytest.mark.parametrize("nbytes", [0, 1, CHUNK_BYTES, CHUNK_BYTES + 1])
def test_the_chunks_of_a_side_block_cover_it(nbytes: int) -> None:
    assert sum(stop - start for start, stop in side_chunks(nbytes)) == nbytes


def test_a_frame_opens_to_what_it_was_made_of() -> None:
    values = np.arange(4, dtype=np.float32)
    header, payload = frame(FrameKind.RESULT, 2, 100, values)
    assert open_head(memoryview(header)) == Head(FrameKind.RESULT, 2, 100)
    np.testing.assert_array_equal(values_of(payload, "float32", 4), values)


def test_a_transport_hands_the_whole_header_over_before_the_payload() -> None:
    assert HEADER.size == HEAD_BYTES


def test_a_frame_takes_the_memory_of_its_values() -> None:
    values = np.zeros(3, np.float32)
    _, payload = frame(FrameKind.RESULT, 0, 0, values)
    values[:] = 1
    np.testing.assert_array_equal(np.frombuffer(payload, np.float32), values)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "0 bytes is shorter than its header"),
        (HEADER.pack(FrameKind.RESULT, 0, 8)[:-1], "15 bytes is shorter than its header"),
        (HEADER.pack(77, 0, 0), "unknown kind 77"),
    ],
)
def test_a_broken_header_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(ExchangeError, match=message):
        open_head(memoryview(data))


def test_values_of_another_length_are_refused() -> None:
    with pytest.raises(ExchangeError, match="3 float32 takes 12 bytes, not 8"):
        values_of(memoryview(bytes(8)), "float32", 3)
