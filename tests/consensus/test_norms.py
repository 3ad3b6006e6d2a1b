"""Contributions with absurd norms, or other norms than were offered: which are left out, and that no others are."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from swarm.codec import BUILTIN_CODECS
from swarm.codec.base import Codec
from swarm.consensus.norms import ABSURD, absurd, contradicted, unmeasured
from swarm.errors import ExchangeError
from swarm.exchange import layout
from swarm.exchange.arrival import Arrival
from swarm.exchange.coding import ChunkCoder
from swarm.exchange.exchange import Exchange
from swarm.exchange.layout import HEADER, FrameKind, open_head, slice_chunks
from swarm.merge import WeightedMean
from swarm.messages import Entry, PartialNorm, Proposal, Propose, Ready
from swarm.records import Attempt, ContributionStats, PeerStatus, SyncState
from swarm.tensors.state import ModelState, Schema, TensorKind, TensorSpec

TRAINING, INACTIVE, SNAPSHOT, ACTIVE = PeerStatus
EXACT = BUILTIN_CODECS["exact"]


def claims(*norms: float, status: PeerStatus = TRAINING, residual: float = 0.0) -> list[ContributionStats]:
    return [
        ContributionStats(
            peer=f"p{number}",
            round=1,
            weight=1,
            status=status,
            delta_norm=norm,
            residual=residual if not number else 0,
        )
        for number, norm in enumerate(norms)
    ]


# The screen ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("norms", "left_out"),
    [
        ((), set()),
        ((1.0, 2.0, 2.0 * ABSURD), set()),
        ((1.0, 2.0, 2.1 * ABSURD), {"p2"}),
        ((1e6, 1.0, 1e6, 1.0, 1.0), {"p0", "p2"}),
        ((1.0, 1e9), set()),
        ((0.0, 0.0, 5.0), set()),
        ((0.0, 1.0, 2.1 * ABSURD), set()),
        ((0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 2.1 * ABSURD), {"p6"}),
        ((1.0, math.nan), {"p1"}),
        ((math.inf,), {"p0"}),
        ((1.0, -1.0, 3.0), {"p1"}),
    ],
)
def test_contributions_with_absurd_norms_are_left_out(norms: tuple[float, ...], left_out: set[str]) -> None:
    assert set(absurd(claims(*norms))) == left_out


def test_the_residual_counts_too() -> None:
    assert set(absurd(claims(1.0, 1.0, 1.0, residual=1.1 * ABSURD))) == {"p0"}
    assert set(absurd(claims(1.0, residual=math.nan))) == {"p0"}


def test_finished_peers_are_neither_checked_nor_in_the_median() -> None:
    training, finished = claims(1.0, 1.0, 2.0 * ABSURD), claims(*[9e9] * 5, status=SNAPSHOT)
    finished = [replace(each, peer=f"{each.peer} finished") for each in finished]
    assert set(absurd([*training, *finished])) == {"p2"}
    assert not absurd([*training[1:], *finished])


def test_the_reason_gives_the_norm_and_the_median() -> None:
    assert absurd(claims(1.0, 2.0, 12345.0)) == {
        "p2": "its weights have moved by 12345, the median of those who train is 2"
    }


def test_an_absurd_contribution_is_left_out_by_name_and_its_peer_receives(founded) -> None:
    peers = founded("a", "b", "c")
    peers.exchanging = False
    peers.offer("a", "b", delta_norm=2.0)
    peers.offer("c", delta_norm=1e4)
    (proposal,) = peers.running()
    peers.exchanging = True
    peers.exchange(proposal)
    peers.deliver()
    assert {name: peers.commits(name)[-1].contributors for name in "abc"} == dict.fromkeys("abc", ("a", "b"))
    reason = "contribution of c left out: its weights have moved by 10000, the median of those who train is 2"
    assert sum(peers.said(name).count(reason) for name in "abc") == 1


# What owners measure -------------------------------------------------------------------------------------------------


def attempt(
    norms: dict[str, float], status: PeerStatus = TRAINING, *, residual: float = 0.0, codec: str = "exact"
) -> Proposal:
    return Proposal(
        lineage="line",
        round=1,
        attempt=Attempt(0, "a"),
        parent="parent",
        voters=tuple(norms),
        members=tuple(norms),
        entries=tuple(Entry(peer, 1, status, norm, residual) for peer, norm in norms.items()),
        sync=SyncState(8),
        closing=False,
        weight=2,
        codec=codec,
    )


def told(proposal: Proposal, norms: dict[str, float]) -> dict[str, Ready]:
    share = len(proposal.group)
    parts = tuple(PartialNorm(peer, norm**2 / share) for peer, norm in norms.items())
    return {peer: Ready(*proposal.key, "digest", parts) for peer in proposal.group}


@pytest.mark.parametrize("codec", BUILTIN_CODECS.values(), ids=BUILTIN_CODECS)
def test_the_error_of_a_codec_is_no_contradiction_and_more_is(codec: Codec) -> None:
    proposal = attempt({"a": 3.0, "b": 0.0})
    for off in (-0.99, 0.0, 0.99):
        assert not contradicted(
            proposal, told(proposal, {"a": 3.0 * (1 + off * codec.norm_tolerance), "b": 0.0}), codec
        )
    for off in (-1.01, 1.01, 1e9, math.inf):
        norms = {"a": 3.0 * (1 + off * codec.norm_tolerance), "b": 0.0}
        wrong = contradicted(proposal, told(proposal, {**norms, "a": min(norms["a"], 1e150)}), codec)
        assert set(wrong) == {"a"}
    assert set(contradicted(proposal, told(proposal, {"a": 3.0, "b": 1e-3}), codec)) == {"b"}


def test_the_residual_is_allowed_on_top_where_the_codec_has_error_feedback() -> None:
    proposal = attempt({"a": 1.0, "b": 1.0}, residual=5.0)
    ready = told(proposal, {"a": 6.0, "b": 0.0})
    assert not contradicted(proposal, ready, BUILTIN_CODECS["int8"])
    assert set(contradicted(proposal, ready, EXACT)) == {"a", "b"}
    assert set(contradicted(proposal, told(proposal, {"a": 9.0, "b": 1.0}), BUILTIN_CODECS["int8"])) == {"a"}


def test_the_reason_gives_both_figures() -> None:
    proposal = attempt({"a": 1.0, "b": 0.5})
    assert contradicted(proposal, told(proposal, {"a": 1.0, "b": 2000.0}), EXACT) == {
        "b": "b offered weights that have moved by 0.5 and sent some that did by 2000"
    }


def test_nothing_is_compared_in_the_founding_round() -> None:
    proposal = replace(attempt({"a": 1.0, "b": 0.0}), parent="")
    ready = {peer: Ready(*proposal.key, "digest", ()) for peer in "ab"}
    assert not unmeasured(proposal, ready)
    assert not contradicted(proposal, ready, EXACT)


@pytest.mark.parametrize(
    "parts",
    [
        (),
        (PartialNorm("a", 0.5),),
        (PartialNorm("a", 0.5), PartialNorm("a", 0.5)),
        (PartialNorm("a", 0.5), PartialNorm("b", 0.5), PartialNorm("c", 0.5)),
        (PartialNorm("a", 0.5), PartialNorm("b", math.nan)),
        (PartialNorm("a", math.inf), PartialNorm("b", 0.5)),
        (PartialNorm("a", -0.5), PartialNorm("b", 0.5)),
    ],
)
def test_only_the_member_that_did_not_measure_is_blamed(parts: tuple[PartialNorm, ...]) -> None:
    proposal = attempt({"a": 1.0, "b": 1.0})
    ready = told(proposal, {"a": 1.0, "b": 900.0})
    ready["a"] = replace(ready["a"], norms=parts)
    assert unmeasured(proposal, ready) == {"a"}


def test_a_peer_that_sends_other_weights_is_named_with_both_figures_and_left_out(founded) -> None:
    peers = founded("a", "b", "c")
    liar = next(name for name in "abc" if name != peers.leader())
    honest = sorted({*"abc"} - {liar})
    peers.moved[liar] = 700.0
    peers.offer("a", "b", "c", delta_norm=2.0)
    assert {name: peers.commits(name)[-1].contributors for name in "abc"} == dict.fromkeys("abc", tuple(honest))
    assert {name: len(peers.commits(name)) for name in "abc"} == dict.fromkeys("abc", 2)
    reason = f"{liar} offered weights that have moved by 2 and sent some that did by 700"
    assert all(f"aborted: {reason}" in peers.said(name) for name in "abc")
    assert sum(peers.said(name).count(f"contribution of {liar} left out: {reason}") for name in "abc") == 1


def test_a_peer_that_sends_other_weights_and_is_needed_for_a_quorum_receives_without_contributing(founded) -> None:
    """Also in the closing round, which needs all peers: the others do not wait for ever."""
    peers = founded("a", "b")
    peers.moved["b"] = 700.0
    peers.offer("a", "b", status=SNAPSHOT, steps=3, delta_norm=2.0)
    for name in "ab":
        assert peers.commits(name)[-1].closing
        assert peers.commits(name)[-1].group == ("a", "b")
        assert peers.commits(name)[-1].contributors == ("a",)
    said = peers.said("a") + peers.said("b")
    assert said.count("contribution of b left out: b offered weights that have moved by 2 and sent") == 1


def test_a_peer_that_sent_other_weights_contributes_again_in_the_next_round(founded) -> None:
    peers = founded("a", "b")
    peers.moved["b"] = 700.0
    peers.offer("a", "b", delta_norm=2.0)
    assert peers.commits("a")[-1].contributors == ("a",)
    peers.moved.clear()
    peers.offer("a", "b", delta_norm=2.0)
    assert peers.commits("a")[-1].contributors == ("a", "b")


def test_a_member_that_measures_nothing_is_left_out(founded) -> None:
    peers = founded("a", "b", "c")
    odd = next(name for name in "abc" if name != peers.leader())
    peers.tell_norms = lambda member, norms: () if member == odd else norms
    peers.offer("a", "b", "c", delta_norm=2.0)
    peers.wait(0.5)
    assert odd not in peers.commits(next(name for name in "abc" if name != odd))[-1].group
    assert f"{odd} did not measure what was merged" in peers.said(odd)


def test_the_norm_of_a_peer_that_sends_the_committed_model_is_not_compared_with_its_offer(founded) -> None:
    peers = founded("a", "b")
    peers.offer("a", "b", status=ACTIVE, delta_norm=2.0)
    peers.moved.update(a=0.0, b=0.0)
    peers.wait(1.0)
    assert peers.commits("a")[-1].closing
    assert "ignore" not in peers.said("a") + peers.said("b")


def test_a_repeated_proposal_is_answered_with_the_measured_norms_again(founded) -> None:
    peers = founded("a", "b", "c")
    lost: list[object] = []
    peers.drop = lambda sender, to, message: isinstance(message, Ready) and not lost and not lost.append(message)
    peers.offer("a", "b", "c", delta_norm=2.0)
    peers.wait(3.0)
    assert lost
    assert {name: len(peers.commits(name)) for name in "abc"} == dict.fromkeys("abc", 2)
    assert "ignore" not in "".join(peers.said(name) for name in "abc")


def test_a_peer_with_a_newer_offer_does_not_join_under_its_old_one(founded) -> None:
    """Its proposal was lost and it trained on. If it joined, its norm would contradict its offer."""
    peers = founded("a", "b", "c")
    leader = peers.leader()
    other = next(name for name in "abc" if name != leader)
    peers.exchanging = False
    peers.drop = lambda sender, to, message: to == other and isinstance(message, Propose)
    peers.offer("a", "b", "c", delta_norm=2.0)
    (proposal,) = peers.running()
    peers.offer(other, delta_norm=9.0)
    peers.drop = lambda sender, to, message: False
    peers.exchanging = True
    peers.tell(leader, other, Propose(proposal))
    assert f"aborted: {other} has offered other weights since" in peers.said(leader)
    peers.wait(3.0)
    assert "sent some" not in "".join(peers.said(name) for name in "abc")


# In the exchange -----------------------------------------------------------------------------------------------------

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
    held: dict[str, ModelState], reference: ModelState | None, codec: str, weights: dict[str, int], *, in_place: bool
) -> dict[str, Exchange]:
    """All members of a group, after everything was carried from each to all others."""
    proposal = attempt(dict.fromkeys(held, 0.0))
    proposal = replace(proposal, entries=tuple(Entry(peer, weights[peer], TRAINING) for peer in held))
    members = {
        peer: Exchange(peer, proposal, WeightedMean(), own, ChunkCoder(BUILTIN_CODECS[codec], reference))
        for peer, own in held.items()
    }
    moving = True
    while moving:
        moving = False
        for source, to in [(source, to) for source in members for to in members if source != to]:
            out = members[source].next_frame(to)
            if out is None:
                continue
            moving = True
            head = open_head(memoryview(out[0]))
            arrival = members[to].expect_verbatim(source, head, len(out[1])) if in_place else None
            if arrival is None:
                members[to].receive(source, memoryview(out[0] + bytes(out[1])))
            else:
                arrival.values[...] = np.frombuffer(out[1], arrival.values.dtype)
                members[to].check(arrival)
                complete = members[to].arrived(arrival)
                if complete:
                    members[to].publish(complete, members[to].merge(complete))
    return members


@pytest.mark.parametrize("in_place", [True, False])
@pytest.mark.parametrize("codec", BUILTIN_CODECS)
def test_the_owners_of_the_slices_measure_whole_contributions(
    codec: str, in_place: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layout, "LEAST_BYTES", 400)
    reference = model(0)
    held = {"a": model(1, 0.1), "b": model(2, 3.0), "c": model(0)}
    members = exchanges(held, reference, codec, dict.fromkeys(held, 1), in_place=in_place)
    for peer, state in held.items():
        parts = [part for exchange in members.values() for part in exchange.partial_norms() if part.peer == peer]
        assert len(parts) == 3
        norm = math.sqrt(sum(part.squared for part in parts))
        assert norm == pytest.approx(moved(state, reference), rel=BUILTIN_CODECS[codec].norm_tolerance)
        assert (norm == 0) == (peer == "c")


def test_only_contributions_to_a_parent_model_are_measured() -> None:
    held = {"a": model(1, 0.1), "b": model(2, 0.1)}
    members = exchanges(held, model(0), "exact", {"a": 1, "b": 0}, in_place=True)
    assert [[part.peer for part in exchange.partial_norms()] for exchange in members.values()] == [["a"], ["a"]]
    members = exchanges(held, None, "exact", {"a": 1, "b": 1}, in_place=True)
    assert [exchange.partial_norms() for exchange in members.values()] == [(), ()]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_values_whose_squares_overflow_are_not_taken_for_infinity(dtype: str) -> None:
    schema = Schema((TensorSpec("w", (4,), dtype),))
    origin, far = ModelState.empty(schema), ModelState.empty(schema)
    origin.segments[dtype][...] = 0
    far.segments[dtype][...] = 3e38 if dtype == "float32" else 1e300
    members = exchanges({"a": origin, "b": far}, origin, "exact", {"a": 1, "b": 1}, in_place=True)
    for exchange in members.values():
        parts = {part.peer: part.squared for part in exchange.partial_norms()}
        assert parts["a"] == 0
        assert 1e76 < parts["b"] < math.inf


def take_alone(exchange: Exchange, arrival: Arrival) -> None:
    """Take a chunk that nobody else has to contribute to."""
    exchange.check(arrival)
    complete = exchange.arrived(arrival)
    assert complete is not None
    exchange.merge(complete)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("reference", [model(0), None], ids=["measured", "founding"])
def test_nan_that_comes_in_place_is_refused(bad: float, reference: ModelState | None) -> None:
    proposal = attempt({"a": 0.0, "b": 0.0})
    exchange = Exchange("a", proposal, WeightedMean(), model(1), ChunkCoder(None, reference))
    chunk = slice_chunks(SCHEMA, 0, 2)[0]
    head = HEADER.pack(FrameKind.CONTRIBUTION, chunk.segment, chunk.size * 4, chunk.start)
    arrival = exchange.expect_verbatim("b", open_head(memoryview(head)), chunk.size * 4)
    assert arrival is not None
    arrival.values[...] = 1.0
    arrival.values[chunk.size // 2] = bad
    with pytest.raises(ExchangeError, match="b sent a contribution that cannot be: NaN or infinity"):
        take_alone(exchange, arrival)
