"""Memory that goes round, and never while somebody still looks at it."""

from __future__ import annotations

import numpy as np

from swarm.buffers import BufferPool
from swarm.state import Schema, TensorKind, TensorSpec


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


def test_a_large_array_survives_that_many_small_ones_come_back() -> None:
    pool = BufferPool(5000)
    large = pool.empty(1000, "float32")
    kept = place(large)
    small = [pool.empty(100, "float32") for _ in range(9)]
    del large
    small.clear()
    assert pool.kept <= 5000
    assert place(pool.empty(1000, "float32")) == kept


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
