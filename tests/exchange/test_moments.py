"""The moments of optimizers in an exchange: merged among those who have some, and kept where nobody has."""

from __future__ import annotations

from dataclasses import replace

import ml_dtypes
import numpy as np
import pytest

from swarm.codec import BUILTIN_CODECS
from swarm.errors import ExchangeError
from swarm.exchange.coding import ChunkCoder
from swarm.exchange.exchange import Exchange
from swarm.exchange.layout import HEADER, FrameKind
from swarm.merge import BUILTIN_RULES, MergeRule
from swarm.messages import Proposal
from swarm.records import PeerStatus
from swarm.tensors.state import MOMENTS, ModelState, Schema, TensorKind, TensorSpec
from tests.exchange.groups import ExchangeGroup, frames, joined, proposal, states

pytestmark = pytest.mark.usefixtures("small_chunks")

SCHEMA = Schema(
    (
        TensorSpec("w", (7, 3), "float32"),
        TensorSpec("half", (9,), "bfloat16"),
        TensorSpec("seen", (), "int64", TensorKind.COUNTER),
        TensorSpec("queue", (2,), "float32", TensorKind.STATE),
        TensorSpec("optimizer.exp_avg of w", (7, 3), "bfloat16", TensorKind.MOMENT),
        TensorSpec("optimizer.exp_avg_sq of w", (7, 3), "bfloat16", TensorKind.ROOT_MOMENT),
        TensorSpec("optimizer.step", (2,), "int64", TensorKind.STEPS),
    )
)
RULES = tuple(BUILTIN_RULES.values())
MEAN = BUILTIN_RULES["mean"]


def with_moments(under: Proposal, *peers: str, status: PeerStatus = PeerStatus.TRAINING) -> Proposal:
    """The proposal with the state of these peers' optimizers."""
    entries = (replace(each, moments=each.peer in peers, status=status) for each in under.entries)
    return replace(under, entries=tuple(entries))


def run(
    rule: MergeRule, weights: dict[str, int], *peers: str, parent: ModelState | None = None
) -> tuple[dict[str, ModelState], ModelState, ExchangeGroup]:
    """What each member held, what all of them have after a round, and the group."""
    held = states(SCHEMA, len(weights))
    group = ExchangeGroup(held, weights, rule, under=with_moments(proposal(weights), *peers), parent=parent)
    group.run()
    results = [exchange.result() for exchange in group.members.values()]
    assert len({result.digest() for result in results} | {each.digest() for each in group.members.values()}) == 1
    return held, results[0], group


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
@pytest.mark.parametrize("relative", [True, False], ids=["parent", "no parent"])
@pytest.mark.parametrize("having", [("ann", "bob", "cid"), ("ann", "cid"), ("cid",)], ids="-".join)
def test_those_of_the_peers_that_have_some_are_merged(
    rule: MergeRule, having: tuple[str, ...], *, relative: bool
) -> None:
    weights = {"ann": 1, "bob": 3, "cid": 2, "dee": 0}
    parent = states(SCHEMA, 1, seed=7)["ann"] if relative else None
    held, result, _ = run(rule, weights, *having, parent=parent)
    columns = [held[peer].segments[MOMENTS] for peer in having]
    how = BUILTIN_RULES["coordmedian" if rule.robust else "mean"]
    expected = how.merge(columns, [weights[peer] for peer in having])
    assert result.segments[MOMENTS].tobytes() == expected.tobytes()
    assert result.side[2].tolist() == np.maximum.reduce([held[peer].side[2] for peer in having]).tolist()


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_weights_are_merged_as_without_moments(rule: MergeRule) -> None:
    weights = {"ann": 1, "bob": 3, "cid": 2}
    parent = states(SCHEMA, 1, seed=7)["ann"]
    held, result, group = run(rule, weights, "bob", parent=parent)
    alone = ExchangeGroup(
        {peer: state.of_model() for peer, state in held.items()}, weights, rule, parent=parent.of_model()
    )
    alone.run()
    assert result.of_model().digest() == alone.members["ann"].result().digest()
    norms = {peer: exchange.partial_norms() for peer, exchange in group.members.items()}
    assert norms == {peer: exchange.partial_norms() for peer, exchange in alone.members.items()}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_without_any_those_of_the_model_before_stay_and_nothing_travels(rule: MergeRule) -> None:
    weights = {"ann": 1, "bob": 1}
    parent = states(SCHEMA, 1, seed=7)["ann"]
    held, result, group = run(rule, weights, parent=parent)
    assert result.segments[MOMENTS].tobytes() == parent.segments[MOMENTS].tobytes()
    assert result.side[2].tolist() == parent.side[2].tolist()
    both = ExchangeGroup(held, weights, rule, under=with_moments(proposal(weights), "ann", "bob"), parent=parent)
    both.run()
    more = sum(both.sent.values()) - sum(group.sent.values())
    assert more == 2 * 2 * SCHEMA.segments[MOMENTS]  # a contribution and a result of each half, 2 bytes a value


def test_without_any_model_before_they_are_zero() -> None:
    _, result, _ = run(MEAN, {"ann": 0, "bob": 1})
    assert not result.segments[MOMENTS].any()
    assert not result.side[2].any()


def test_who_gives_the_first_weights_gives_its_moments_too() -> None:
    held, weights = states(SCHEMA, 2), {"ann": 0, "bob": 1}
    under = replace(with_moments(proposal(weights), "bob"), parent="")
    group = ExchangeGroup(held, weights, MEAN, under=under)
    group.run()
    assert group.members["ann"].result().digest() == held["bob"].digest()


@pytest.mark.parametrize("status", [status for status in PeerStatus if status.finished])
def test_those_of_finished_peers_do_not_count(status: PeerStatus) -> None:
    assert with_moments(proposal({"ann": 1}), "ann", status=status).moments == ()


def test_those_without_weight_do_not_count() -> None:
    assert with_moments(proposal({"ann": 0, "bob": 1}), "ann").moments == ()


@pytest.mark.parametrize("codec", BUILTIN_CODECS.values(), ids=lambda codec: codec.name)
def test_they_travel_as_they_are_under_every_codec(codec) -> None:
    weights = {"ann": 1, "bob": 0}
    held, parent = states(SCHEMA, 2), states(SCHEMA, 1, seed=7)["ann"]
    under = with_moments(proposal(weights), "ann")
    members = {peer: Exchange(peer, under, MEAN, held[peer], ChunkCoder(codec, parent), parent=parent) for peer in held}
    for sender, to in (("ann", "bob"), ("bob", "ann"), ("ann", "bob")):
        for out in frames(members[sender], to):
            members[to].receive(sender, joined(out))
    for member in members.values():
        assert member.result().segments[MOMENTS].tobytes() == held["ann"].segments[MOMENTS].tobytes()


def test_an_unchanged_chunk_of_them_travels_empty() -> None:
    held = states(SCHEMA, 2)
    under = with_moments(proposal({"ann": 1, "bob": 1}), "ann", "bob")
    exchange = Exchange("ann", under, MEAN, held["ann"], ChunkCoder(reference=held["ann"]), parent=held["ann"])
    sizes = [len(payload) for head, payload in frames(exchange, "bob") if head[0] == FrameKind.CONTRIBUTION]
    assert set(sizes) == {0}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nan_or_infinity_in_them_is_refused(rule: MergeRule, value: float) -> None:
    held, parent = states(SCHEMA, 2), states(SCHEMA, 1, seed=7)["ann"]
    held["bob"].segments[MOMENTS][...] = ml_dtypes.bfloat16(value)
    under = with_moments(proposal({"ann": 1, "bob": 1}), "ann", "bob")
    ann, bob = (Exchange(peer, under, rule, held[peer], ChunkCoder(reference=parent), parent=parent) for peer in held)
    with pytest.raises(ExchangeError, match="bob sent a contribution that cannot be: NaN or infinity"):
        [ann.receive("bob", joined(out)) for out in frames(bob, "ann")]


def test_those_of_a_peer_that_has_none_are_not_waited_for() -> None:
    held = states(SCHEMA, 2)
    under = with_moments(proposal({"ann": 1, "bob": 1}), "ann")
    ann, bob = (Exchange(peer, under, MEAN, held[peer]) for peer in held)
    both = Exchange("bob", with_moments(under, "ann", "bob"), MEAN, held["bob"])
    sent = {bytes(head) for head, _ in frames(bob, "ann")}
    more = [out for out in frames(both, "ann") if bytes(out[0]) not in sent and out[0][0] == FrameKind.CONTRIBUTION]
    assert {HEADER.unpack(out[0])[1] for out in more} == {SCHEMA.moments}
    with pytest.raises(ExchangeError, match="a contribution that nobody waits for"):
        ann.receive("bob", joined(more[0]))


def test_merged_roots_are_not_negative() -> None:
    weights = dict(zip(("ann", "bob", "cid", "dee", "eve"), (1, 100, 100, 100, 100), strict=True))
    held = states(SCHEMA, 5)
    for peer, state in held.items():
        state.segments[MOMENTS][...] = 3e-30 if peer == "bob" else 0
    group = ExchangeGroup(held, weights, MEAN, under=with_moments(proposal(weights), *weights))
    group.run()
    merged = group.members["ann"].result().segments[MOMENTS].astype(np.float64)
    assert (merged > 0).all()


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
@pytest.mark.parametrize("times", [50.0, 1e4, 1e30])
def test_moments_that_are_far_larger_than_those_of_the_others_are_left_out(rule: MergeRule, times: float) -> None:
    held = states(SCHEMA, 4)
    random = np.random.default_rng(0)
    moments = [random.uniform(1, 1.5, state.segments[MOMENTS].size) for state in held.values()]
    moments[2] *= times
    for state, values in zip(held.values(), moments, strict=True):
        state.segments[MOMENTS][...] = values.astype(ml_dtypes.bfloat16)
    weights = dict.fromkeys(held, 1)
    group = ExchangeGroup(held, weights, rule, under=with_moments(proposal(weights), *held))
    group.run()
    results = {name: exchange.result() for name, exchange in group.members.items()}
    assert len({result.digest() for result in results.values()}) == 1
    absurd = {peer for exchange in group.members.values() for peer in exchange.absurd_moments()}
    third = [*held][2]
    assert absurd == ({third} if times > 100 else set())
    if times > 100:
        honest = [state.segments[MOMENTS].astype(np.float64) for name, state in held.items() if name != third]
        expected = np.median(honest, axis=0) if rule.robust else np.mean(honest, axis=0)
        merged = next(iter(results.values())).segments[MOMENTS].astype(np.float64)
        np.testing.assert_allclose(merged, expected, rtol=2**-7)


def test_of_two_peers_neither_is_left_out() -> None:
    held = states(SCHEMA, 2)
    first, second = held.values()
    first.segments[MOMENTS][...] = 1
    second.segments[MOMENTS][...] = 1e6
    weights = dict.fromkeys(held, 1)
    group = ExchangeGroup(held, weights, MEAN, under=with_moments(proposal(weights), *held))
    group.run()
    exchange = next(iter(group.members.values()))
    assert not exchange.absurd_moments()
    np.testing.assert_allclose(exchange.result().segments[MOMENTS].astype(np.float64), 500_000.5, rtol=2**-7)


def test_where_most_have_none_all_are_merged() -> None:
    held = states(SCHEMA, 3)
    for value, state in zip((0, 0, 6), held.values(), strict=True):
        state.segments[MOMENTS][...] = value
    weights = dict.fromkeys(held, 1)
    group = ExchangeGroup(held, weights, MEAN, under=with_moments(proposal(weights), *held))
    group.run()
    exchange = next(iter(group.members.values()))
    assert not exchange.absurd_moments()
    np.testing.assert_allclose(exchange.result().segments[MOMENTS].astype(np.float64), 2, rtol=2**-7)
