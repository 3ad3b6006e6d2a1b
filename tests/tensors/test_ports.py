"""What a subclass of a port overrides counts, whatever shortcuts its base has."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from swarm.tensors.model import ModelPort
from swarm.tensors.state import Array, ModelState, Schema, TensorKind, TensorSpec
from swarm.testing.swarm import ArrayModel

SCHEMA = Schema((TensorSpec("w", (2,), "float32"), TensorSpec("seen", (), "int64", TensorKind.COUNTER)))
START = {"w": np.float32([1, 2]), "seen": np.int64(5)}
KINDS = {"seen": TensorKind.COUNTER}


class Shortcuts(ArrayModel):
    """Adds in place, as ``ArrayModel`` lets its memory be borrowed."""

    def add(self, step: ModelState) -> None:
        for spec, array in step.arrays():
            self.arrays[spec.name] += array


class Noisy:
    """A mixin that gives away other values than it has."""

    def read(self, into: ModelState) -> None:
        super().read(into)
        for _, array in into.arrays():
            array[...] = array + 10


class Halving:
    """A mixin that halves what it is told to write."""

    def write(self, state: ModelState) -> None:
        for _, array in state.arrays():
            array[...] = array // 2
        super().write(state)


class BringsItsOwn(Noisy, Shortcuts):
    def borrow(self, schema: Schema) -> Sequence[Array] | None:
        return [np.float32([7, 7]), np.int64(7)]


def port(*bases: type) -> ArrayModel:
    return type("Port", bases, {})(START, KINDS)


def step(*, w: float = 0, seen: int = 0) -> ModelState:
    state = ModelState.empty(SCHEMA)
    for (_, array), value in zip(state.arrays(), (w, seen), strict=True):
        array[...] = value
    return state


def test_a_port_that_overrides_no_method_keeps_the_shortcuts() -> None:
    plain = port(Shortcuts)
    assert type(plain).borrow is ArrayModel.borrow
    assert type(plain).add is Shortcuts.add
    assert type(port(Halving, Shortcuts)).borrow is ArrayModel.borrow


@pytest.mark.parametrize("below", [False, True])
def test_the_memory_of_a_port_that_overrides_read_is_not_borrowed(below: bool) -> None:
    bases = (port(Noisy, Shortcuts).__class__,) if below else (Noisy, Shortcuts)
    assert port(*bases).borrow(SCHEMA) is None


def test_a_port_that_overrides_both_may_be_borrowed() -> None:
    borrowed = BringsItsOwn(START, KINDS).borrow(SCHEMA)
    assert borrowed is not None
    assert borrowed[0].tolist() == [7, 7]


def test_what_is_added_is_read_and_written_by_what_a_port_overrides() -> None:
    noisy, halving = port(Noisy, Shortcuts), port(Halving, Shortcuts)
    noisy.add(step(w=1, seen=6))
    halving.add(step(w=5, seen=6))
    assert (noisy.arrays["w"].tolist(), noisy.arrays["seen"]) == ([12, 13], 6)
    assert (halving.arrays["w"].tolist(), halving.arrays["seen"]) == ([3, 3], 3)


def test_a_port_without_shortcuts_adds_by_reading_and_writing() -> None:
    plain = ArrayModel(START, KINDS)
    plain.add(step(w=0.5, seen=9))
    assert (plain.arrays["w"].tolist(), plain.arrays["seen"]) == ([1.5, 2.5], 9)
    assert type(plain).add is ModelPort.add
