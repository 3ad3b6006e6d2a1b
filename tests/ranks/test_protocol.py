"""What rank 0 sends: instructions of any length, and models tensor by tensor."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from swarm.ranks.arriving import receive, send
from swarm.ranks.instructions import FRAME, Kind, hear, tell
from swarm.tensors.optimizer import MergedOptimizerPort, OptimizerState, moment, steps
from swarm.tensors.state import ModelState, Schema, TensorKind, TensorSpec
from swarm.testing.swarm import ArrayModel, together
from tests.ranks.sites import Meeting, ThreadGroup


@pytest.fixture
def groups():
    meeting = Meeting(2)
    return [ThreadGroup(meeting, rank) for rank in range(2)]


@pytest.mark.parametrize("length", [0, 1, FRAME - 60, FRAME - 20, FRAME - 8, FRAME, 3 * FRAME])
def test_an_instruction_arrives_whatever_its_length(groups, length: int) -> None:
    content = {"text": "ä" * length, "left": 2**63 - 1}
    _, heard = together(partial(tell, groups[0], Kind.DONE, content), partial(hear, groups[1]))
    assert heard == (Kind.DONE, content)
    assert groups[0]._meeting.operations == (1 if 6 * length < FRAME - 60 else 2)


class Moments(OptimizerState):
    """An optimizer with one moment for each weight."""

    def __init__(self) -> None:
        super().__init__("merge")
        self.written: dict[str, np.ndarray] = {}

    def tensors(self, model):
        weights = [spec for spec in model.tensors if spec.kind is TensorKind.WEIGHT]
        return (*(moment("optimizer.m", spec, TensorKind.MOMENT) for spec in weights), steps("optimizer", (2,)))

    def read(self, into):
        for _, array in into:
            array[...] = 0

    def write(self, state, *, keep=False):
        self.written = {spec.name: array.copy() for spec, array in state}

    def reset(self):
        raise AssertionError


def test_a_model_with_its_optimizer_arrives_tensor_by_tensor(groups) -> None:
    rng = np.random.default_rng(5)
    shapes = {"a": rng.normal(size=(3, 2)).astype(np.float32), "b": rng.normal(size=4).astype(np.float16)}
    models = [ArrayModel(shapes), ArrayModel({name: 0 * array for name, array in shapes.items()})]
    optimizers = [Moments(), Moments()]
    ports = [MergedOptimizerPort(*pair) for pair in zip(models, optimizers, strict=True)]
    schema = ports[0].schema()
    state = ModelState.empty(schema)
    for number, (_, array) in enumerate(state.arrays()):
        array[...] = rng.normal(size=array.shape) if array.dtype.kind in "fV" else number

    def take() -> None:
        ports[1].write(receive(groups[1], ports[1].schema()))

    together(partial(send, groups[0], state), take)
    ports[0].write(state)
    for name in shapes:
        assert np.array_equal(models[0].arrays[name], models[1].arrays[name])
    assert optimizers[1].written.keys() == optimizers[0].written.keys() != set()
    assert all(
        np.array_equal(optimizers[1].written[name], optimizers[0].written[name]) for name in optimizers[0].written
    )


def test_the_weights_of_an_update_arrive_in_float32(groups) -> None:
    schema = Schema(
        (
            TensorSpec("h", (3,), "bfloat16"),
            TensorSpec("d", (2,), "float64"),
            TensorSpec("s", (1,), "float16", TensorKind.STATE),
        )
    )
    update = ModelState(
        schema,
        {"bfloat16": np.array([1e-3, 2, 3], np.float32), "float64": np.array([1.0, 1e300])},
        [np.array([7], np.float16)],
    )
    _, arrived = together(
        partial(send, groups[0], update), lambda: [array for _, array in receive(groups[1], schema, wide=True).arrays()]
    )
    assert [array.dtype.name for array in arrived] == ["float32", "float64", "float16"]
    assert all(np.array_equal(array, sent) for array, (_, sent) in zip(arrived, update.arrays(), strict=True))
