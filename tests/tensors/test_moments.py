"""The tensors of optimizers in a schema, a model state and a capture."""

from __future__ import annotations

from dataclasses import replace

import ml_dtypes
import numpy as np
import pytest

from swarm.errors import ModelError
from swarm.session.arithmetic import difference, measure
from swarm.tensors.capture import BorrowedCapture, faulty, has_stepped
from swarm.tensors.optimizer import nadam_product
from swarm.tensors.state import MOMENTS, ModelState, Schema, TensorKind, TensorSpec, segment_dtype

MODEL = (
    TensorSpec("w", (2, 3), "float32"),
    TensorSpec("half", (4,), "bfloat16"),
    TensorSpec("seen", (), "int64", TensorKind.COUNTER),
)
OPTIMIZER = (
    TensorSpec("optimizer.exp_avg of w", (2, 3), "bfloat16", TensorKind.MOMENT),
    TensorSpec("optimizer.exp_avg_sq of w", (2, 3), "bfloat16", TensorKind.ROOT_MOMENT),
    TensorSpec("optimizer.step", (1,), "int64", TensorKind.STEPS),
)
SCHEMA = Schema((*MODEL, *OPTIMIZER))


@pytest.fixture
def state() -> ModelState:
    made = ModelState.empty(SCHEMA)
    for number, (_, array) in enumerate(made.arrays(), 1):
        array[...] = number
    return made


def test_moments_are_a_segment_apart_from_weights_of_their_dtype() -> None:
    assert SCHEMA.segments == {"float32": 6, "bfloat16": 4, MOMENTS: 12}
    assert SCHEMA.bounds[MOMENTS] == (0, 6, 12)
    assert SCHEMA.moments == 2
    assert Schema(MODEL).moments is None
    assert segment_dtype(MOMENTS) == "bfloat16"
    assert {segment_dtype(segment) for segment in Schema(MODEL).segments} == {"float32", "bfloat16"}


def test_the_model_alone_is_a_view_of_the_same_memory(state: ModelState) -> None:
    alone = state.of_model()
    assert alone.schema == SCHEMA.of_model == Schema(MODEL)
    assert [spec for spec, _ in alone.arrays()] == [*MODEL]
    alone.segments["float32"][0] = 9
    assert state.segments["float32"][0] == 9


def test_the_optimizer_comes_after_the_model() -> None:
    with pytest.raises(ModelError, match="must come after those of the model"):
        Schema((*OPTIMIZER, *MODEL))


@pytest.mark.parametrize(("index", "dtype"), [(0, "float32"), (1, "float16"), (2, "float32")])
def test_other_dtypes_are_refused(index: int, dtype: str) -> None:
    with pytest.raises(ModelError, match=r"optimizer\.\w+.* has dtype"):
        Schema((replace(OPTIMIZER[index], dtype=dtype),))


def test_another_role_is_another_model_and_another_name_is_not() -> None:
    other = replace(OPTIMIZER[0], name="optimizer.momentum_buffer of w")
    renamed = replace(OPTIMIZER[0], name="optimizer.exp_avg of layer_2/w")
    assert Schema((renamed,)).fingerprint == Schema(OPTIMIZER[:1]).fingerprint != Schema((other,)).fingerprint
    assert Schema((renamed,)).difference(Schema(OPTIMIZER[:1])) is None
    found = Schema((other,)).difference(Schema(OPTIMIZER[:1]))
    assert "optimizer.momentum_buffer of w" in found
    assert "optimizer.exp_avg of w" in found


def test_a_schema_without_them_has_the_fingerprint_of_earlier_releases() -> None:
    assert Schema(MODEL).fingerprint == "f45d849589df9dbc8a55ef4891097e1e"


def test_they_are_no_part_of_distances_and_replace_those_of_the_model(state: ModelState) -> None:
    other = state.copy()
    other.segments[MOMENTS][...] = 100
    other.side[1][...] = 7
    assert measure(other, state).norm == 0
    other.segments["float32"] += 2
    assert measure(other, state).norm == pytest.approx(2 * np.sqrt(6))
    step = difference(other, state)
    assert step.segments["float32"].tolist() == [2.0] * 6
    assert step.segments[MOMENTS].tolist() == [100] * 12
    assert step.side[1].tolist() == [7]


@pytest.mark.parametrize("borrowed", [False, True])
@pytest.mark.parametrize("value", [1.0, np.nan, np.inf])
def test_state_counts_if_it_is_finite_and_says_nothing_about_the_weights(
    state: ModelState, value: float, *, borrowed: bool
) -> None:
    state.segments[MOMENTS][3] = ml_dtypes.bfloat16(value)
    capture = BorrowedCapture(SCHEMA, [array for _, array in state.arrays()]) if borrowed else state
    found = measure(capture)
    assert found.moments_finite is bool(np.isfinite(value))
    assert found.finite
    assert faulty(capture) == ()


def test_an_optimizer_that_has_not_stepped_has_none(state: ModelState) -> None:
    assert has_stepped(state)
    state.side[1][...] = 0
    assert not has_stepped(state)
    assert not has_stepped(state.of_model())


def test_the_product_of_nadam() -> None:
    assert nadam_product(0.9, 0.004, 0) == 1.0
    expected = 0.9 * (1 - 0.5 * 0.96**0.004) * 0.9 * (1 - 0.5 * 0.96**0.008)
    assert nadam_product(0.9, 0.004, 2) == pytest.approx(expected)
    assert nadam_product(0.9, 0.004, 2**62) == 0.0
