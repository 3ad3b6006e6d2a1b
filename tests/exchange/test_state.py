"""Module state in an exchange, and the singular vectors of merged weights."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from swarm.errors import ExchangeError
from swarm.exchange.exchange import Exchange
from swarm.merge import BUILTIN_RULES, WeightedMean, spectral
from swarm.records import PeerStatus
from swarm.tensors.state import ModelState, Schema, SpectralNorm, TensorKind, TensorSpec
from tests.exchange.groups import ExchangeGroup, frames, joined, proposal, states

pytestmark = pytest.mark.usefixtures("small_chunks")

MEAN, RULES = WeightedMean(), tuple(BUILTIN_RULES.values())
GRAM = BUILTIN_RULES["geomedian"]

STATE = Schema(
    (
        TensorSpec("w", (2,), "float32"),
        TensorSpec("queue", (5,), "float32", TensorKind.STATE),
        TensorSpec("place", (), "int64", TensorKind.STATE),
        TensorSpec("seen", (), "bool", TensorKind.STATE),
    )
)


@pytest.mark.parametrize(
    ("weights", "statuses", "source"),
    [
        ({"ann": 1, "bob": 1, "cid": 1}, {}, "ann"),
        ({"ann": 1, "bob": 2, "cid": 1}, {}, "bob"),
        ({"ann": 0, "bob": 1, "cid": 1}, {}, "bob"),
        ({"ann": 9, "bob": 1, "cid": 2}, {"ann": PeerStatus.SNAPSHOT}, "cid"),
        ({"ann": 1, "bob": 2, "cid": 0}, {"ann": PeerStatus.SNAPSHOT, "bob": PeerStatus.SNAPSHOT}, "bob"),
    ],
    ids=["tie", "weight", "no weight", "finished", "all finished"],
)
def test_module_state_is_that_of_one_contributor_as_a_whole(
    weights: dict[str, int], statuses: dict[str, PeerStatus], source: str
) -> None:
    held = states(STATE, 3)
    under = proposal(weights)
    entries = tuple(replace(entry, status=statuses.get(entry.peer, entry.status)) for entry in under.entries)
    group = ExchangeGroup(held, weights, MEAN, under=replace(under, entries=entries))
    group.run()
    for exchange in group.members.values():
        assert [array.tobytes() for array in exchange.result().side] == [a.tobytes() for a in held[source].side]


def test_module_state_that_is_as_before_is_not_sent_again() -> None:
    held, parent = states(STATE, 2), states(STATE, 1, seed=5)["ann"]
    held["ann"].side[:] = [array.copy() for array in parent.side]
    weights = {"ann": 1, "bob": 1}
    group = ExchangeGroup(held, weights, MEAN, parent=parent)
    group.run()
    assert group.members["bob"].result().side[0].tobytes() == parent.side[0].tobytes()
    assert group.sent["ann"] == group.sent["bob"] == 2 * 4  # one of the two weights, contributed and merged


def test_module_state_that_has_become_nan_is_refused() -> None:
    held, parent = states(STATE, 2), states(STATE, 1, seed=5)["ann"]
    parent.side[0][1] = np.nan
    for state in held.values():
        state.side[0][1:3] = np.nan, np.inf
    group = ExchangeGroup(held, {"ann": 1, "bob": 1}, MEAN, parent=parent)
    group.run()
    assert {exchange.digest() for exchange in group.members.values()} == {group.members["ann"].result().digest()}
    held["ann"].side[0][2] = np.nan
    with pytest.raises(ExchangeError, match="ann offered finite weights and sent NaN or infinity"):
        ExchangeGroup(held, {"ann": 1, "bob": 1}, MEAN, parent=parent).run()


def test_a_singular_vector_fits_the_merged_weight_and_is_the_same_everywhere() -> None:
    tensors = (
        TensorSpec("w", (4, 2, 3), "float32"),
        TensorSpec("u", (2,), "float32", TensorKind.STATE),
        TensorSpec("v", (12,), "float32", TensorKind.STATE),
    )
    schema = Schema(tensors, (SpectralNorm(0, 1, 1, 2),))
    weights = {"ann": 1, "bob": 2, "cid": 1}
    group = ExchangeGroup(states(schema, 3), weights, MEAN)
    group.run()
    results = [exchange.result() for exchange in group.members.values()]
    assert {exchange.digest() for exchange in group.members.values()} == {result.digest() for result in results}
    assert len({result.digest() for result in results}) == 1
    merged, u, v = (array for _, array in results[0].arrays())
    matrix = np.moveaxis(merged, 1, 0).reshape(2, -1)
    np.testing.assert_allclose([np.linalg.norm(u), np.linalg.norm(v)], 1, rtol=1e-5)
    np.testing.assert_allclose(u @ matrix @ v, np.linalg.norm(matrix, 2), rtol=1e-3)


def test_singular_vectors_are_computed_without_a_change_to_frames_that_are_not_sent_yet() -> None:
    """Where the layer divides the weight in place, too."""
    tensors = (TensorSpec("w", (4, 3), "float32"), TensorSpec("u", (4,), "float32", TensorKind.STATE))
    held = states(Schema(tensors, (SpectralNorm(0, 0, 1, in_place=True),)), 2)
    ann, bob = (Exchange(peer, proposal({"ann": 1, "bob": 1}), MEAN, state) for peer, state in held.items())
    for source, to in ((bob, ann), (ann, bob)):
        for out in frames(source, "ann" if to is ann else "bob"):
            to.receive("bob" if source is bob else "ann", joined(out))
    late = list(frames(bob, "ann"))
    before = [joined(out) for out in late]
    assert bob.done
    assert before
    bob.result()
    assert [joined(out) for out in late] == before
    for out in late:
        ann.receive("bob", joined(out))
    assert ann.digest() == bob.digest() == bob.result().digest()


def test_the_digests_of_slices_are_of_what_their_owners_sent() -> None:
    """Not of weights that each member has divided by what it has computed of all slices."""
    tensors = TensorSpec("w", (4, 3), "float32"), TensorSpec("u", (4,), "float32", TensorKind.STATE)
    held = states(Schema(tensors, (SpectralNorm(0, 0, 1, in_place=True),)), 2)
    plain = {peer: ModelState(Schema(tensors), state.segments, state.side) for peer, state in held.items()}
    groups = [ExchangeGroup(each, dict.fromkeys(each, 1), MEAN) for each in (held, plain)]
    for group in groups:
        group.run()
    divided, merged = (group.members["ann"] for group in groups)
    assert divided.digest() != merged.digest()
    assert divided.slice_digests() == merged.slice_digests()


@pytest.mark.parametrize("start", ["a vector of another singular value", "nan"])
def test_a_singular_value_is_found_whatever_the_vector_was_before(start: str) -> None:
    """All singular values but the first are equal, as after an orthogonal initialisation."""
    rng = np.random.default_rng(3)
    left, right = (np.linalg.qr(rng.standard_normal((96, 96)))[0] for _ in range(2))
    schema = Schema(
        (TensorSpec("w", (96, 96), "float32"), TensorSpec("u", (96,), "float32", TensorKind.STATE)),
        (SpectralNorm(0, 0, 1),),
    )
    state = ModelState.empty(schema)
    weight, vector = (array for _, array in state.arrays())
    weight[...] = (left * np.where(np.arange(96) == 0, 1.1, 1.0)) @ right.T
    vector[...] = np.nan if start == "nan" else left[:, 7]
    spectral.refresh(state)
    assert np.linalg.norm(vector @ weight) == pytest.approx(1.1, rel=1e-3)


def test_a_singular_vector_is_the_same_where_denormal_numbers_are_rounded_to_zero() -> None:
    schema = Schema(
        (TensorSpec("w", (3, 4), "float32"), TensorSpec("u", (3,), "float32", TensorKind.STATE)),
        (SpectralNorm(0, 0, 1),),
    )
    results = []
    for smallest in (1e-39, 0):
        state = ModelState.empty(schema)
        weight, vector = (array for _, array in state.arrays())
        weight[...] = [[1, 2, 3, 4], [4, 3, 2, 1], [smallest] * 4]
        vector[...] = [1, 0, smallest]
        spectral.refresh(state)
        results.append(vector.tobytes())
    assert results[0] == results[1]


def test_vectors_of_a_weight_that_one_peer_hands_on_stay_as_they_are() -> None:
    tensors = (TensorSpec("w", (4, 3), "float32"), TensorSpec("u", (4,), "float32", TensorKind.STATE))
    held = states(Schema(tensors, (SpectralNorm(0, 0, 1, in_place=True),)), 2)
    group = ExchangeGroup(held, {"ann": 0, "bob": 1}, MEAN)
    group.run()
    assert {exchange.digest() for exchange in group.members.values()} == {held["bob"].digest()}
