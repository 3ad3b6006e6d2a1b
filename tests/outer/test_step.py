"""The step of an outer optimizer on whole models."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from swarm.outer import FedAdam, FedAvgM, Nesterov, OuterOptimizer, OuterStep
from swarm.tensors.buffers import BufferPool
from swarm.tensors.state import ModelState, Schema, TensorKind, TensorSpec, numpy_dtype

SCHEMA = Schema(
    (
        TensorSpec("w", (5, 3), "float32"),
        TensorSpec("half", (40,), "bfloat16"),
        TensorSpec("mean", (2,), "float32", TensorKind.MEAN),
        TensorSpec("wide", (3,), "float64"),
        TensorSpec("seen", (), "int64", TensorKind.COUNTER),
        TensorSpec("bias", (7,), "float32"),
        TensorSpec("optimizer.exp_avg of w", (5, 3), "bfloat16", TensorKind.MOMENT),
    )
)
WEIGHTS = ("w", "half", "wide", "bias")
NESTEROV = Nesterov(learning_rate=0.7, momentum=0.9)
ADAM = FedAdam(learning_rate=0.1, momentum=0.9, beta2=0.99, epsilon=1e-3)


def model(seed: int, schema: Schema = SCHEMA) -> ModelState:
    rng = np.random.default_rng(seed)
    state = ModelState.empty(schema)
    for _, array in state.arrays():
        array[...] = (3 * rng.standard_normal(array.shape)).astype(array.dtype)
    return state


def values(state: ModelState) -> dict[str, np.ndarray]:
    return {spec.name: array for spec, array in state.arrays()}


def rounds(optimizer: OuterOptimizer, count: int) -> tuple[OuterStep, list[ModelState], list[ModelState]]:
    """What ``count`` rounds after the founding one have merged, and what each has committed."""
    step, memory = OuterStep(optimizer, SCHEMA), BufferPool(0)
    merged = [model(seed) for seed in range(count + 1)]
    committed = [step.committed(merged[0], None, memory, steps=False)]
    for each in merged[1:]:
        committed.append(step.committed(each, committed[-1], memory, steps=True))
    return step, merged, committed


@pytest.mark.parametrize("optimizer", [NESTEROV, ADAM], ids=["nesterov", "fedadam"])
def test_every_weight_is_stepped_with_its_own_state(optimizer: OuterOptimizer) -> None:
    _, merged, committed = rounds(optimizer, 3)
    for name in WEIGHTS:
        dtype = values(merged[0])[name].dtype
        wide = np.float64 if dtype == np.float64 else np.float32
        state = [np.zeros(values(merged[0])[name].shape, wide) for _ in optimizer.roles]
        at = values(merged[0])[name]
        for number in range(1, 4):
            goal = values(merged[number])[name].astype(wide)
            at = (goal - optimizer.change(at.astype(wide) - goal, state)).astype(dtype)
            found = values(committed[number])
            assert found[name].tobytes() == at.tobytes(), f"{name} in round {number}"
            for role, expected in zip(optimizer.roles, state, strict=True):
                assert found[f"outer.{role} of {name}"].tobytes() == expected.tobytes()


def test_nothing_but_weights_is_stepped() -> None:
    _, merged, committed = rounds(NESTEROV, 2)
    for name in set(values(merged[2])) - set(WEIGHTS):
        assert values(committed[2])[name].tobytes() == values(merged[2])[name].tobytes()


def test_the_models_that_it_is_given_do_not_change() -> None:
    step, merged, committed = rounds(NESTEROV, 1)
    before, digests = committed[1], (merged[1].digest(), committed[1].digest())
    after = step.committed(merged[1], before, BufferPool(0), steps=True)
    for _, array in after.arrays():
        if array.dtype != ml_dtypes.bfloat16:  # moments are shared
            array[...] = 0
    assert (merged[1].digest(), before.digest()) == digests


def test_without_a_step_the_merged_weights_are_committed_with_the_state_of_before() -> None:
    step, merged, committed = rounds(NESTEROV, 2)
    closing = step.committed(merged[0], committed[2], BufferPool(0), steps=False)
    assert closing.contributed().digest() == merged[0].digest()
    state = {name for name in values(closing) if name.startswith("outer.")}
    assert len(state) == len(WEIGHTS)
    for name in state:
        assert values(closing)[name].tobytes() == values(committed[2])[name].tobytes()


def test_state_is_zero_at_first_and_peers_do_not_contribute_it() -> None:
    step, merged, committed = rounds(ADAM, 0)
    assert all(not values(committed[0])[name].any() for name in values(committed[0]) if name.startswith("outer."))
    assert step.schema.contributed == SCHEMA
    assert committed[0].contributed().digest() == merged[0].digest()
    assert SCHEMA.contributed is SCHEMA


def test_plain_averaging_gives_the_merged_bits_in_every_dtype() -> None:
    """Also where a weight is a negative zero, and where its difference from the last model was rounded."""
    step, memory = OuterStep(FedAvgM(learning_rate=1.0, momentum=0.0), SCHEMA), BufferPool(0)
    before = step.committed(model(0), None, memory, steps=False)
    merged = model(1)
    values(merged)["w"][0] = -0.0
    values(merged)["half"][0] = -0.0
    committed = step.committed(merged, before, memory, steps=True)
    assert committed.contributed().digest() == merged.digest()


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_a_step_that_overflows_is_an_error_that_says_what_to_do(dtype: str) -> None:
    schema = Schema((TensorSpec("w", (1,), dtype),))
    step, memory = OuterStep(NESTEROV, schema), BufferPool(0)
    states = [ModelState(schema, {dtype: np.array([value], numpy_dtype(dtype))}, []) for value in (0, 1)]
    states[1].segments[dtype][0] = np.finfo(states[1].segments[dtype].dtype).max
    before = step.committed(states[0], None, memory, steps=False)
    with pytest.raises(ValueError, match="NaN or infinity; a lower outer_learning_rate"):
        step.committed(states[1], before, memory, steps=True)


def test_momentum_that_fades_ends_as_zero_and_never_as_a_subnormal_number() -> None:
    """Some processors round subnormal numbers to zero: peers would get different bits."""
    schema = Schema((TensorSpec("w", (1,), "float32"),))
    step, memory = OuterStep(Nesterov(learning_rate=0.5, momentum=0.5), schema), BufferPool(0)
    at = ModelState(schema, {"float32": np.zeros(1, np.float32)}, [])
    committed = step.committed(at, None, memory, steps=False)
    goal = ModelState(schema, {"float32": np.full(1, 1e-25, np.float32)}, [])
    committed = step.committed(goal, committed, memory, steps=True)
    seen = []
    for _ in range(60):
        committed = step.committed(committed.contributed(), committed, memory, steps=True)
        seen.append(abs(float(committed.segments["outer.float32"][0])))
    assert seen[-1] == 0
    assert min(value for value in seen if value) > 2.0**-101
