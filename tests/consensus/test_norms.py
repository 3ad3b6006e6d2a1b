"""Contributions with absurd norms, or other norms than were offered: which are left out, and that no others are."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from swarm.codec import BUILTIN_CODECS
from swarm.codec.base import Codec
from swarm.consensus.norms import ABSURD, absurd, contradicted, unmeasured
from swarm.messages import Entry, PartialNorm, Proposal, Propose, Ready
from swarm.records import Attempt, ContributionStats, PeerStatus, SyncState

TRAINING, EXTENDED, INACTIVE, SNAPSHOT, ACTIVE = PeerStatus
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
