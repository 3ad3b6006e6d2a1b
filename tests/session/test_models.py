"""The store of the models that a peer may still need."""

from __future__ import annotations

import pytest

from swarm.errors import ExchangeError
from swarm.peer.models import Models, way
from swarm.tensors.state import ModelState, Schema, TensorKind, TensorSpec


def model() -> ModelState:
    return ModelState.empty(Schema(()))


def test_undecided_models_that_are_not_needed_are_dropped() -> None:
    models, first, second = Models(), model(), model()
    models.add("first", first)
    models.add("second", second)
    models.keep({"second"})
    assert models.get("second") is second
    with pytest.raises(ExchangeError, match="the model first is not here"):
        models.get("first")


def test_the_committed_model_is_served_by_its_digest_until_the_store_is_cleared() -> None:
    models, first = Models(), model()
    models.commit("first", first)
    models.keep(())
    assert models.get("first") is models.committed("first") is models.reference is first
    assert models.committed("second") is None
    models.clear()
    assert models.reference is None
    with pytest.raises(ExchangeError):
        models.get("first")


def test_the_way_between_two_models_is_that_of_their_weights() -> None:
    schema = Schema(
        (
            TensorSpec("w", (8,), "float32"),
            TensorSpec("half", (1,), "float16"),
            TensorSpec("n", (), "int64", TensorKind.COUNTER),
        )
    )
    before, after = ModelState.empty(schema), ModelState.empty(schema)
    for state, value in ((before, 1.0), (after, 2.0)):
        for _, array in state.arrays():
            array[...] = value
    assert way(before, after) == 3.0
