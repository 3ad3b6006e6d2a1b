"""How far contributions are from the parent model, as the owners of slices measure it."""

from __future__ import annotations

import math

import numpy as np
import pytest

from swarm.codec import BUILTIN_CODECS
from swarm.errors import ExchangeError
from swarm.exchange import layout
from swarm.exchange.coding import ChunkCoder
from swarm.exchange.exchange import Exchange
from swarm.exchange.layout import FrameKind, slice_chunks
from swarm.merge import CoordinateMedian, MergeRule, TrimmedMean, WeightedMean
from swarm.tensors.state import ModelState, Schema, TensorKind, TensorSpec
from tests.exchange.groups import joined, made, proposal

SCHEMA = Schema(
    (
        TensorSpec("weight", (1100,), "float32"),
        TensorSpec("half", (50,), "bfloat16"),
        TensorSpec("wide", (70,), "float64"),
        TensorSpec("running_mean", (3,), "float32", TensorKind.MEAN),
        TensorSpec("running_var", (3,), "float32", TensorKind.VARIANCE),
    )
)


def model(seed: int, step: float = 0.0) -> ModelState:
    """A reference, or what a peer made of it that went on by ``step``; one dtype of three does not change."""
    state = ModelState.empty(SCHEMA)
    origin, own = np.random.default_rng(99), np.random.default_rng(seed)
    for spec, array in state.arrays():
        values = np.abs(origin.standard_normal(array.shape))
        if spec.dtype != "float64":
            values += step * own.standard_normal(array.shape)
        array[...] = values.astype(array.dtype)
    return state


def moved(state: ModelState, reference: ModelState) -> float:
    pairs = [
        (values.astype(float), reference.segments[dtype].astype(float)) for dtype, values in state.segments.items()
    ]
    return math.sqrt(sum(float(((one - two) ** 2).sum()) for one, two in pairs))


def exchanges(
    held: dict[str, ModelState], reference: ModelState | None, codec: str, weights: dict[str, int]
) -> dict[str, Exchange]:
    """All members of a group, after everything was carried from each to all others."""
    under = proposal(weights, leader="a")
    members = {
        peer: Exchange(peer, under, WeightedMean(), own, ChunkCoder(BUILTIN_CODECS[codec], reference))
        for peer, own in held.items()
    }
    moving = True
    while moving:
        moving = False
        for source, to in [(source, to) for source in members for to in members if source != to]:
            out = members[source].next_frame(to)
            if out is not None:
                moving = True
                members[to].receive(source, joined(out))
    return members


@pytest.mark.parametrize("codec", BUILTIN_CODECS)
def test_the_owners_of_the_slices_measure_whole_contributions(codec: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "LEAST_BYTES", 400)
    reference = model(0)
    held = {"a": model(1, 0.1), "b": model(2, 3.0), "c": model(0)}
    members = exchanges(held, reference, codec, dict.fromkeys(held, 1))
    for peer, state in held.items():
        parts = [part for exchange in members.values() for part in exchange.partial_norms() if part.peer == peer]
        assert len(parts) == 3
        norm = math.sqrt(sum(part.squared for part in parts))
        assert norm == pytest.approx(moved(state, reference), rel=BUILTIN_CODECS[codec].norm_tolerance)
        assert (norm == 0) == (peer == "c")


def test_nothing_is_measured_of_who_does_not_contribute_nor_without_a_parent() -> None:
    held = {"a": model(1, 0.1), "b": model(2, 0.1)}
    members = exchanges(held, model(0), "exact", {"a": 1, "b": 0})
    assert [[part.peer for part in exchange.partial_norms()] for exchange in members.values()] == [["a"], ["a"]]
    members = exchanges(held, None, "exact", {"a": 1, "b": 1})
    assert [exchange.partial_norms() for exchange in members.values()] == [(), ()]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_values_whose_squares_overflow_are_not_taken_for_infinity(dtype: str) -> None:
    schema = Schema((TensorSpec("w", (4,), dtype),))
    origin, far = ModelState.empty(schema), ModelState.empty(schema)
    origin.segments[dtype][...] = 0
    far.segments[dtype][...] = 3e38 if dtype == "float32" else 1e300
    members = exchanges({"a": origin, "b": far}, origin, "exact", {"a": 1, "b": 1})
    for exchange in members.values():
        parts = {part.peer: part.squared for part in exchange.partial_norms()}
        assert parts["a"] == 0
        assert 1e76 < parts["b"] < math.inf


@pytest.mark.parametrize("rule", [WeightedMean(), TrimmedMean(), CoordinateMedian()], ids=lambda rule: rule.name)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("reference", [model(0), None], ids=["measured", "founding"])
def test_nan_is_refused_at_the_latest_when_it_is_merged(
    bad: float, reference: ModelState | None, rule: MergeRule
) -> None:
    exchange = Exchange("a", proposal({"a": 3, "b": 1}, leader="a"), rule, model(1), ChunkCoder(None, reference))
    chunk = slice_chunks(SCHEMA, 0, 2)[0]
    values = np.ones(chunk.size, np.float32)
    values[chunk.size // 2] = bad
    with pytest.raises(ExchangeError, match="b sent a contribution that cannot be: NaN or infinity"):
        exchange.receive("b", made(FrameKind.CONTRIBUTION, chunk.segment, chunk.start, values.tobytes()))
