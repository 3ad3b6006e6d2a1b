"""What the members of a group exchange, and what it comes to."""

from __future__ import annotations

from dataclasses import replace

import blake3
import numpy as np
import pytest

from swarm.errors import ExchangeError
from swarm.exchange.exchange import Exchange
from swarm.exchange.layout import HEADER, FrameKind, byte_ranges, open_head, slice_chunks
from swarm.exchange.owed import Owed
from swarm.merge import BUILTIN_RULES, MergeRule, Scope, WeightedMean
from swarm.merge.gram import combine, partial_gram
from swarm.merge.screen import screened
from swarm.merge.side import merge_statistics
from swarm.tensors import digest
from swarm.tensors.state import ModelState, Schema, TensorKind, TensorSpec
from tests.exchange.groups import SCHEMA, TINY, ExchangeGroup, before, frames, joined, proposal, states

pytestmark = pytest.mark.usefixtures("small_chunks")

MEAN, RULES = WeightedMean(), tuple(BUILTIN_RULES.values())
GRAM = BUILTIN_RULES["geomedian"]
ONLY_SIDE = Schema((TensorSpec("seen", (), "int64", TensorKind.COUNTER),))


def whole(held: dict[str, ModelState], weights: dict[str, int], rule: MergeRule) -> ModelState:
    """The merge of whole models in one process."""
    contributors = [held[peer] for peer in sorted(weights) if weights[peer]]
    factors = [weights[peer] for peer in sorted(weights) if weights[peer]]
    schema = contributors[0].schema
    parent = before(rule, schema)
    rows = contributors if parent is None else [*contributors, parent]
    gram = rule.scope is Scope.GRAM  # over all segments
    parts = [[state.segments[dtype] for state in rows] for dtype in schema.segments]
    factors_of = rule.coefficients(sum(map(partial_gram, parts), np.zeros((len(rows),) * 2)), factors) if gram else None
    merged_parts = [rule.merge(part, factors) if factors_of is None else combine(part, factors_of) for part in parts]
    segments = dict(zip(schema.segments, merged_parts, strict=True))
    statistics = [spec for spec in schema.side if spec.kind is not TensorKind.STATE]
    places = [schema.side.index(spec) for spec in statistics]
    parts = [[state.side[place] for place in places] for state in contributors]
    merged = dict(zip(places, merge_statistics(statistics, parts, factors, robust=rule.robust), strict=True))
    source = max(contributors, key=lambda state: factors[contributors.index(state)])
    return ModelState(schema, segments, [merged.get(place, array) for place, array in enumerate(source.side)])


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
@pytest.mark.parametrize("schema", [SCHEMA, TINY, ONLY_SIDE], ids=["model", "tiny", "side"])
@pytest.mark.parametrize(
    "weights",
    [
        {"ann": 1},
        {"ann": 3, "bob": 1},
        {"ann": 0, "bob": 1},
        {"ann": 0, "bob": 0, "cid": 7},
        {"ann": 2, "bob": 0, "cid": 1},
        {"ann": 1, "bob": 2, "cid": 3, "dee": 0, "eve": 100},
    ],
    ids=lambda weights: "-".join(map(str, weights.values())),
)
def test_every_member_assembles_the_merge_of_the_whole_models(
    rule: MergeRule, schema: Schema, weights: dict[str, int]
) -> None:
    held = states(schema, len(weights))
    group = ExchangeGroup(held, weights, rule)
    group.run()
    results = [exchange.result() for exchange in group.members.values()]
    assert {exchange.digest() for exchange in group.members.values()} == {result.digest() for result in results}
    assert len({result.digest() for result in results}) == 1
    expected = whole(held, weights, rule)
    if rule.scope is Scope.GRAM:  # inner products add up in another order, slice by slice
        for (_, ours), (spec, theirs) in zip(results[0].arrays(), expected.arrays(), strict=True):
            tolerance = 2.0**-7 if spec.dtype == "bfloat16" else 1e-5
            np.testing.assert_allclose(ours.astype(np.float64), theirs.astype(np.float64), rtol=tolerance)
    else:
        assert results[0].digest() == expected.digest()


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
@pytest.mark.parametrize("schema", [SCHEMA, TINY, ONLY_SIDE], ids=["model", "tiny", "side"])
def test_the_digest_of_each_slice_is_that_of_its_bytes_in_the_result(rule: MergeRule, schema: Schema) -> None:
    weights = {"ann": 2, "bob": 0, "cid": 1}
    group = ExchangeGroup(states(schema, 3), weights, rule)
    group.run()
    (told,) = {exchange.slice_digests() for exchange in group.members.values()}
    result = group.members["ann"].result()
    sizes = [segment.itemsize for segment in result.segments.values()]
    slices = [byte_ranges(sizes, slice_chunks(schema, place, 3)) for place in range(3)]
    assert told == tuple(result.block_digest().of_ranges(each) for each in slices)
    assert sum(stop - start for each in slices for _, start, stop in each) == schema.nbytes - schema.side_nbytes


def test_the_digests_of_slices_tell_whose_results_differ() -> None:
    held = states(SCHEMA, 4)
    group = ExchangeGroup(held, dict.fromkeys(held, 1), MEAN)
    told = False

    def received(sender: str, data: memoryview, taken=group.members["ann"].receive) -> None:
        nonlocal told
        if sender == "cid" and open_head(data).kind is FrameKind.RESULT and not told:
            data[HEADER.size], told = data[HEADER.size] ^ 1, True
        taken(sender, data)

    group.members["ann"].receive = received  # type: ignore[method-assign]
    group.run()
    ann, bob = (group.members[peer] for peer in ("ann", "bob"))
    assert ann.digest() != bob.digest()
    one, other = ann.slice_digests(), bob.slice_digests()
    assert [peer for peer, mine, theirs in zip(held, one, other, strict=True) if mine != theirs] == ["cid"]


def test_no_part_of_a_result_is_hashed_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """But for the blocks in which two slices meet."""
    held, hashed = states(SCHEMA, 4), 0
    group = ExchangeGroup(held, dict.fromkeys(held, 1), MEAN)
    made = blake3.blake3

    def counted(data: memoryview | None = None) -> blake3.blake3:
        nonlocal hashed
        hashed += len(data or b"")
        return made(data) if data is not None else made()

    monkeypatch.setattr(digest, "blake3", counted)
    group.run()
    for exchange in group.members.values():
        exchange.digest()
    assert hashed == len(held) * SCHEMA.nbytes
    for exchange in group.members.values():
        exchange.slice_digests()
    edges = 2 * len(held) * len(SCHEMA.segments) * digest.BLOCK_BYTES
    assert hashed <= len(held) * (SCHEMA.nbytes + edges)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_the_order_of_arrival_changes_no_byte(rule: MergeRule) -> None:
    held, weights = states(SCHEMA, 4), {"ann": 1, "bob": 5, "cid": 0, "dee": 2}
    digests = set()
    for seed in range(8):
        group = ExchangeGroup(held, weights, rule, seed)
        group.run()
        digests |= {exchange.result().digest() for exchange in group.members.values()}
    assert len(digests) == 1


def test_the_mean_is_the_weighted_mean() -> None:
    held, weights = states(SCHEMA, 3), {"ann": 1, "bob": 2, "cid": 5}
    group = ExchangeGroup(held, weights, MEAN)
    group.run()
    expected = sum(weights[peer] * held[peer].segments["float32"].astype(np.float64) for peer in weights) / 8
    merged = group.members["cid"].result().segments["float32"]
    np.testing.assert_allclose(merged, expected, rtol=1e-6)


def test_a_single_contributor_is_handed_round_to_the_bit() -> None:
    held = states(SCHEMA, 3)
    for rule in RULES:
        group = ExchangeGroup(held, {"ann": 0, "bob": 9, "cid": 0}, rule)
        group.run()
        assert {exchange.result().digest() for exchange in group.members.values()} == {held["bob"].digest()}


def test_what_members_hold_is_left_alone() -> None:
    held = states(SCHEMA, 3)
    before = {peer: state.digest() for peer, state in held.items()}
    ExchangeGroup(held, {"ann": 1, "bob": 1, "cid": 1}, MEAN).run()
    assert {peer: state.digest() for peer, state in held.items()} == before


@pytest.mark.parametrize("count", [2, 3, 5])
def test_each_member_sends_twice_its_share_of_the_model(count: int) -> None:
    schema = Schema((TensorSpec("w", (60,), "float32"),))
    group = ExchangeGroup(states(schema, count), dict.fromkeys(("ann", "bob", "cid", "dee", "eve")[:count], 1), MEAN)
    group.run()
    assert set(group.sent.values()) == {2 * (count - 1) * schema.nbytes // count}


def test_the_digest_is_taken_as_chunks_pass() -> None:
    schema = Schema((TensorSpec("w", (60,), "float32"),))
    group = ExchangeGroup(states(schema, 3), {"ann": 1, "bob": 1, "cid": 1}, MEAN)
    group.run()
    ann = group.members["ann"]
    expected = ann.result().digest()
    ann.result().segments["float32"][:] = 0
    assert ann.digest() == expected != ann.result().digest()


def test_contributions_go_before_results() -> None:
    ann, bob = (Exchange(peer, proposal({"ann": 1, "bob": 1}), MEAN, state) for peer, state in states(TINY, 2).items())
    ann.receive("bob", joined(next(frames(bob, "ann"))))
    kinds = [FrameKind(head[0]) for head, _ in frames(ann, "bob")]
    assert kinds == [FrameKind.CONTRIBUTION, FrameKind.RESULT]


def test_a_member_is_done_with_another_once_all_is_sent() -> None:
    group = ExchangeGroup(states(SCHEMA, 3), {"ann": 1, "bob": 1, "cid": 1}, GRAM)
    assert not group.members["ann"].sent("bob")
    group.run()
    assert all(group.members[one].sent(two) for one in group.members for two in group.members if one != two)


def test_there_is_no_result_before_all_is_there() -> None:
    exchange = Exchange("ann", proposal({"ann": 1, "bob": 1}), MEAN, states(TINY, 2)["ann"])
    assert not exchange.done
    with pytest.raises(ExchangeError, match="not complete"):
        exchange.result()


def test_it_is_known_who_owes_what() -> None:
    held, under = states(SCHEMA, 3), proposal({"ann": 1, "bob": 1, "cid": 0})
    ann, bob = (Exchange(peer, under, MEAN, held[peer]) for peer in ("ann", "bob"))
    names = ("ann", "bob", "cid")
    slices = {
        peer: sum(chunk.nbytes(SCHEMA) for chunk in slice_chunks(SCHEMA, place, 3)) for place, peer in enumerate(names)
    }
    missing = {"bob": slices["ann"] + SCHEMA.statistics.side_nbytes}  # module state comes from ann
    assert ann.owed() == Owed("its contribution", 1, missing)
    for out in frames(bob, "ann"):
        ann.receive("bob", joined(out))
    results = {peer: slices[peer] for peer in ("bob", "cid")}
    assert ann.owed() == Owed("its merged chunks", 2, results)
    assert str(ann.owed()) == "bob (56 B of its merged chunks), cid (60 B of its merged chunks)"


def test_what_a_rule_waits_for_before_it_merges_is_owed_first() -> None:
    held, under = states(TINY, 2), proposal({"ann": 1, "bob": 1}, leader="ann")
    ann, bob = (Exchange(peer, under, BUILTIN_RULES["geomedian"], held[peer]) for peer in ("ann", "bob"))
    for sender, to, name in ((ann, bob, "ann"), (bob, ann, "bob")):
        contribution = sender.next_frame("bob" if name == "ann" else "ann")
        assert contribution is not None
        to.receive(name, joined(contribution))
    assert ann.owed() == Owed("its part of the Gram matrix", 2, {"bob": 32})
    assert bob.owed() == Owed("the coefficients", 3, {"ann": 16})
    for out in frames(bob, "ann"):
        ann.receive("bob", joined(out))
    assert ann.owed() == Owed("its merged chunks", 4, {"bob": 4})


@pytest.mark.parametrize(("others", "left_out"), [(0, set()), (9, {"eve"})])
def test_a_check_of_distances_knows_who_has_made_steps(others: int, left_out: set[str]) -> None:
    """Four members differ by rounding: next to it the one that has trained is far only if they have trained too."""
    held = states(SCHEMA, 1)
    held |= {name: held["ann"].copy() for name in ("bob", "cid", "dee", "eve")}
    for number, state in enumerate(held.values()):
        state.segments["float32"][number] += 1e-4
    held["eve"].segments["float32"] += 5
    weights = dict.fromkeys(held, 1)
    under = proposal(weights, leader="eve")
    entries = tuple(replace(entry, steps=9 if entry.peer == "eve" else others) for entry in under.entries)
    group = ExchangeGroup(held, weights, screened(WeightedMean()), under=replace(under, entries=entries))
    group.run()
    assert set(group.members["eve"].far()) == left_out
