"""Captures: borrowed memory, and copies of it."""

from __future__ import annotations

import numpy as np
import pytest

from swarm.tensors.capture import BorrowedCapture, faulty, replaced_state
from swarm.tensors.state import ModelState, Schema, SpectralNorm, TensorKind, TensorSpec, pack

SCHEMA = Schema(
    (
        TensorSpec("a", (2, 3), "float32"),
        TensorSpec("mean", (2,), "float32", TensorKind.MEAN),
        TensorSpec("half", (4,), "float16"),
        TensorSpec("none", (0,), "float32"),
        TensorSpec("b", (5,), "float32"),
        TensorSpec("c", (), "float32"),
    )
)


@pytest.fixture
def model() -> ModelState:
    state = ModelState.empty(SCHEMA)
    for number, (_, array) in enumerate(state.arrays()):
        array[...] = np.arange(array.size).reshape(array.shape) + 100 * number
    return state


@pytest.fixture
def tensors(model: ModelState) -> list[np.ndarray]:
    return [array.copy() for _, array in model.arrays()]


def test_parts_are_those_of_the_flat_segments(model: ModelState, tensors: list[np.ndarray]) -> None:
    borrowed = BorrowedCapture(SCHEMA, tensors)
    for index, segment in enumerate(model.segments.values()):
        for start in range(segment.size + 1):
            for stop in range(start, segment.size + 1):
                part = borrowed.part(index, start, stop)
                assert part.dtype == segment.dtype
                np.testing.assert_array_equal(part, segment[start:stop])
                assert part.flags.c_contiguous
    assert pack(borrowed.side) == model.pack_side()


def test_what_one_tensor_has_is_not_copied(tensors: list[np.ndarray]) -> None:
    borrowed = BorrowedCapture(SCHEMA, tensors)
    assert np.shares_memory(borrowed.part(0, 1, 6), tensors[0])
    assert np.shares_memory(borrowed.part(0, 6, 11), tensors[4])


def test_who_reads_the_model_cannot_change_it(tensors: list[np.ndarray]) -> None:
    part = BorrowedCapture(SCHEMA, tensors).part(0, 1, 6)
    with pytest.raises(ValueError, match="read-only"):
        part += 1
    assert all(array.flags.writeable for array in tensors)


@pytest.mark.parametrize("held", [False, True])
def test_only_what_is_held_stays_when_the_model_changes(
    model: ModelState, tensors: list[np.ndarray], held: bool
) -> None:
    borrowed = BorrowedCapture(SCHEMA, tensors)
    if held:
        borrowed.hold()
        borrowed.hold()
    for array in tensors:
        np.add(array, 1, out=array)
    assert borrowed.part(0, 4, 9).tolist() == (model.segments["float32"][4:9] + (0 if held else 1)).tolist()
    assert borrowed.part(1, 0, 4).tolist() == (model.segments["float16"] + (0 if held else 1)).tolist()
    assert pack(borrowed.side) == model.pack_side()


@pytest.mark.parametrize("held", [False, True])
@pytest.mark.parametrize("poisoned", [0, 1, 4])
def test_tensors_with_nan_are_named(tensors: list[np.ndarray], poisoned: int, held: bool) -> None:
    tensors[poisoned].reshape(-1)[-1] = np.nan
    borrowed = BorrowedCapture(SCHEMA, tensors)
    if held:
        borrowed.hold()
    assert faulty(borrowed) == (SCHEMA.tensors[poisoned].name,)


@pytest.mark.parametrize("held", [False, True])
def test_runs_are_all_values_at_their_places(model: ModelState, tensors: list[np.ndarray], held: bool) -> None:
    borrowed = BorrowedCapture(SCHEMA, tensors)
    if held:
        borrowed.hold()
    runs = [(segment, start, values.tolist()) for segment, start, values in borrowed.runs()]
    flat = [segment.tolist() for segment in model.segments.values()]
    assert runs if held else len(runs) == 5
    for segment, start, values in runs:
        assert flat[segment][start : start + len(values)] == values
    assert sum(len(values) for *_, values in runs) == sum(map(len, flat))


def test_faulty_tensors_are_named_in_order_and_module_state_only_where_it_became_nan() -> None:
    nan = np.float32([np.nan, 1])
    specs = [TensorSpec(name, (2,), "float32") for name in "abc"]
    specs += [TensorSpec(name, (2,), "float32", TensorKind.STATE) for name in ("old", "new", "mask")]
    schema = Schema((*specs, TensorSpec("mean", (2,), "float32", TensorKind.MEAN)))
    parent = ModelState(schema, {}, [nan, np.zeros(2, np.float32), nan, nan])
    arrays = [nan, np.zeros(2, np.float32), np.float32([0, np.inf]), nan, nan, np.float32([np.inf] * 2), nan]
    assert faulty(BorrowedCapture(schema, arrays), parent) == ("a", "c", "new", "mean")
    assert faulty(BorrowedCapture(schema, arrays)) == ("a", "c", "mean")


def test_replaced_state_is_what_another_model_has_otherwise_and_no_singular_vector() -> None:
    specs = (
        TensorSpec("w", (2, 2), "float32"),
        *(TensorSpec(name, (2,), "float32", TensorKind.STATE) for name in ("u", "v", "queue", "same")),
        TensorSpec("mean", (2,), "float32", TensorKind.MEAN),
    )
    schema = Schema(specs, (SpectralNorm(0, 0, 1, 2),))
    mine, theirs = (
        ModelState(schema, {"float32": np.zeros(4, np.float32)}, [np.full(2, value, np.float32) for value in values])
        for values in ((1, 1, 1, 1, 1), (2, 2, 2, 1, 2))
    )
    assert [spec.name for spec in replaced_state(mine, theirs)] == ["queue"]
