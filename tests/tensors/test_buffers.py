"""Memory is reused, and never while a view of it exists."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from swarm.tensors.buffers import SMALL_BYTES, BufferPool
from swarm.tensors.state import Schema, TensorKind, TensorSpec


def place(array: np.ndarray) -> int:
    return array.ctypes.data


def test_memory_is_given_out_again_once_no_view_of_it_is_left() -> None:
    pool = BufferPool(10_000)
    array = pool.empty(100, "float32")
    first, view = place(array), array[10:20].view(np.uint8).data
    del array
    assert place(pool.empty(100, "float32")) != first
    del view
    assert place(pool.empty(200, "float16")) == first


def test_no_more_is_kept_than_the_limit() -> None:
    pool = BufferPool(1000)
    arrays = [pool.empty(100, "float32") for _ in range(3)]
    places = {place(array) for array in arrays}
    arrays.clear()
    again = [pool.empty(100, "float32") for _ in range(3)]
    assert pool.kept == 0
    assert len({place(array) for array in again} & places) >= 1
    again.clear()
    assert pool.kept <= 1000
    large = pool.empty(2000, "float64")
    del large
    assert pool.kept <= 1000


def test_a_model_survives_that_many_chunks_come_back() -> None:
    pool = BufferPool(SMALL_BYTES + 5000)
    large = pool.empty(SMALL_BYTES + 1, "uint8")
    kept = place(large)
    small = [pool.empty(100, "float32") for _ in range(30)]
    del large
    small.clear()
    assert pool.kept <= SMALL_BYTES + 5000
    assert place(pool.empty(SMALL_BYTES + 1, "uint8")) == kept


def test_a_model_that_comes_back_takes_the_room_of_chunks_of_a_size_not_asked_for_lately() -> None:
    pool = BufferPool(SMALL_BYTES + 4500)
    model, stale, used = pool.empty(SMALL_BYTES + 1, "uint8"), pool.empty(512, "uint8"), pool.empty(4096, "uint8")
    places = place(model), place(used)
    del stale, used, model
    assert pool.kept == SMALL_BYTES + 1 + 4096
    assert places == (place(pool.empty(SMALL_BYTES + 1, "uint8")), place(pool.empty(4096, "uint8")))


def test_sizes_that_are_nearly_alike_share_their_memory() -> None:
    pool = BufferPool(10_000_000)
    for nbytes in range(1_000_000, 1_040_000, 1000):
        array = pool.empty(nbytes, "uint8")
        assert array.nbytes == nbytes
        del array
    assert pool.kept <= 1_310_720


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 3 * SMALL_BYTES)), max_size=30))
def test_kept_is_what_lies_there_and_no_more_than_allowed(steps: list[tuple[bool, int]]) -> None:
    pool, held = BufferPool(2 * SMALL_BYTES), []
    for take, nbytes in steps:
        if take or not held:
            held.append(pool.empty(nbytes, "uint8"))
            assert held[-1].nbytes == nbytes
        else:
            held.pop(nbytes % len(held))
        assert 0 <= pool.kept <= 2 * SMALL_BYTES
    spans = sorted((place(array), array.nbytes) for array in held if array.nbytes)
    assert all(start + nbytes <= following for (start, nbytes), (following, _) in pairwise(spans))


def test_a_model_has_segments_of_its_schema() -> None:
    schema = Schema(
        (
            TensorSpec("w", (3, 2), "bfloat16"),
            TensorSpec("b", (4,), "float64"),
            TensorSpec("n", (), "int64", TensorKind.COUNTER),
        )
    )
    model = BufferPool(0).model(schema)
    assert {dtype: (array.dtype.name, array.size) for dtype, array in model.segments.items()} == {
        "bfloat16": ("bfloat16", 6),
        "float64": ("float64", 4),
    }
    assert [array.shape for array in model.side] == [()]
    model.segments["float64"][:] = 1.5
    assert model.segments["float64"].sum() == 6
