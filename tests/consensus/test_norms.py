"""Contributions with absurd norms, or other norms than were offered: which are left out, and that no others are."""

from __future__ import annotations

import math
import re
from dataclasses import replace

import numpy as np
import pytest

from swarm.codec import BUILTIN_CODECS
from swarm.codec.base import Codec
from swarm.consensus.norms import ABSURD, FROZEN, FrozenNorms, absurd, contradicted, unmeasured
from swarm.merge import BUILTIN_RULES
from swarm.merge.distance import squared_distance
from swarm.messages import Accept, Accepted, Entry, PartialNorm, Proposal, Propose, Ready
from swarm.records import Attempt, ContributionStats, PeerStatus, SyncState
from swarm.tensors.state import Array

TRAINING, EXTENDED, INACTIVE, SNAPSHOT, ACTIVE = PeerStatus
EXACT = BUILTIN_CODECS["exact"]


def claims(
    *norms: float, status: PeerStatus = TRAINING, residual: float = 0.0, steps: int = 9
) -> list[ContributionStats]:
    return [
        ContributionStats(
            peer=f"p{number}",
            round=1,
            weight=1,
            status=status,
            steps=steps,
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


def test_those_without_steps_are_not_in_the_median_and_are_checked() -> None:
    """Rounding moves them by very little; and a false number of steps does not hide a distance."""
    idle = [replace(each, peer=f"{each.peer} idle") for each in claims(5.8e-7, 6.1e-7, steps=0)]
    assert not absurd([*claims(24.5), *idle])
    assert not absurd([*claims(24.5, 30.0), *idle])
    assert set(absurd([*claims(24.5, 30.0, 1e5), *idle])) == {"p2"}
    (liar,) = (replace(each, peer="liar") for each in claims(1e5, steps=0))
    reason = "its weights have moved by 100000, the median of those who train is 30"
    assert absurd([*claims(24.5, 30.0), *idle, liar]) == {"liar": reason}


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
    peers.offer("a", "b", steps=9, delta_norm=2.0)
    peers.offer("c", steps=9, delta_norm=1e4)
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


@pytest.mark.parametrize("first", ["absurd", "liar"])
def test_a_peer_that_sends_other_weights_changes_the_median_that_another_is_left_out_by(founded, first: str) -> None:
    peers = founded("a", "b", "c", "d", "e")
    one, other, *rest = sorted({*"abcde"} - {peers.leader()})
    absurd, liar = (one, other) if first == "absurd" else (other, one)
    honest = sorted([*rest, peers.leader()])
    peers.moved[liar] = 20.0
    peers.exchanging = False
    for number, name in enumerate(honest):
        peers.offer(name, steps=9, delta_norm=22.0 + number)
    peers.offer(liar, steps=9, delta_norm=0.2)
    peers.offer(absurd, steps=9, delta_norm=1e6)
    peers.exchanging = True
    peers.exchange(peers.running()[0])
    peers.deliver()
    assert {peers.commits(name)[-1].contributors for name in "abcde"} == {tuple(honest)}
    medians = [f"contribution of {absurd} left out: .* is {median}" for median in (23, 23.5)]
    assert all(any(re.search(each, peers.said(name)) for name in "abcde") for each in medians)


def test_a_peer_that_sends_other_weights_and_is_needed_for_a_quorum_receives_without_contributing(founded) -> None:
    """Also in the closing round, which needs all peers: the others do not wait for ever."""
    peers = founded("a", "b", "c", "d")
    peers.crash("d")
    peers.moved["b"] = 700.0
    peers.offer("a", "b", "c", status=SNAPSHOT, steps=3, delta_norm=2.0)
    peers.wait(3.0)
    for name in "abc":
        assert peers.commits(name)[-1].closing
        assert peers.commits(name)[-1].group == ("a", "b", "c")
        assert peers.commits(name)[-1].contributors == ("a", "c")
    said = "".join(peers.said(name) for name in "abc")
    assert said.count("contribution of b left out: b offered weights that have moved by 2 and sent") == 1


@pytest.mark.parametrize("leads", [True, False])
def test_of_two_peers_a_leader_leaves_itself_out_and_not_the_other_one(founded, leads: bool) -> None:
    """The other one cannot know which of the two is right: half of what is contributed would be left out."""
    peers = founded("a", "b")
    leader = peers.leader()
    (other,) = {*"ab"} - {leader}
    odd, right = (leader, other) if leads else (other, leader)
    peers.moved[odd] = 700.0
    peers.offer("a", "b", steps=9, delta_norm=2.0)
    peers.wait(30.0)
    assert {name: peers.commits(name)[-1].contributors for name in "ab"} == dict.fromkeys("ab", (right,))
    disputed = f"round 1: {odd} cannot take part: that is half of the contributions or more" in peers.said(leader)
    assert disputed is not leads, "then the other one led"


def test_who_can_neither_be_merged_nor_left_out_is_not_in_the_group(founded) -> None:
    """Two contribute, and a third one leads: members would not accept that it chooses between them."""
    peers = founded("a", "b", "c")
    leader = peers.leader()
    odd, right = sorted({*"abc"} - {leader})
    peers.moved[odd] = 700.0
    peers.offer(leader, weight=0, delta_norm=2.0)
    peers.offer(odd, right, delta_norm=2.0)
    peers.wait(5.0)
    assert peers.commits(right)[1].group == tuple(sorted((leader, right)))
    assert peers.commits(right)[1].contributors == (right,)
    assert peers.said(leader).count(f"{odd} cannot take part: that is half of the contributions or more") == 1
    assert "does not accept" not in "".join(peers.said(name) for name in "abc")


def test_where_it_is_needed_and_does_not_lead_the_others_wait_until_it_comes_again(founded) -> None:
    """A member that leads leaves itself out; a newcomer does not lead."""
    peers = founded("a", "b", "c", min_peers=3)
    leader = peers.leader()
    gone, right = sorted({*"abc"} - {leader})
    peers.crash(gone)
    peers.add("d")
    peers.moved["d"] = 700.0
    peers.offer(leader, weight=0, delta_norm=2.0)
    peers.offer(right, "d", delta_norm=2.0)
    peers.wait(60.0)
    assert [len(peers.commits(name)) for name in (leader, right)] == [1, 1]
    assert peers.said(leader).count("d cannot take part") == 1
    assert "does not accept" not in "".join(peers.said(name) for name in peers.machines)
    peers.moved.clear()
    peers.crash("d")
    peers.add("d", "2")
    for _ in range(2):  # they have waited for one another in vain: the first time they do not wait
        peers.offer(leader, weight=0, delta_norm=2.0)
        peers.offer(right, "d", delta_norm=2.0)
    peers.wait(30.0)
    assert peers.commits(right)[1].contributors == tuple(sorted((right, "d")))


def test_a_leader_that_has_left_itself_out_is_followed_by_one_that_finishes_its_attempt(founded) -> None:
    """The next leader proposes what was accepted, and must not be refused because it would leave out another peer."""
    peers = founded("a", "b", "c")
    leader = peers.leader()
    right, idle = sorted({*"abc"} - {leader})
    peers.moved[leader] = 700.0
    peers.part(leader, idle)
    peers.drop = lambda sender, to, message: isinstance(message, Accepted) and to == leader
    peers.offer(idle, weight=0, delta_norm=2.0)
    peers.offer(leader, right, delta_norm=2.0)
    peers.wait(1.0)
    assert len(peers.commits(right)) == 1
    *_, asked = (message for _, to, message in peers.sent if isinstance(message, Accept) and to == right)
    peers.bytes[right].add(asked.digest)  # the model that it has accepted
    peers.crash(leader)
    peers.wait(30.0)
    assert peers.commits(right)[1].group == tuple(sorted((leader, right)))
    assert peers.commits(right)[1].contributors == (right,)
    assert "does not accept" not in peers.said(right) + peers.said(idle)


def test_what_a_second_leader_has_taken_over_is_finished_by_a_third_one(founded) -> None:
    peers = founded("a", "b", "c", "d", "e")
    leader = peers.leader()
    right, *idle = sorted({*"abcde"} - {leader})
    peers.moved[leader] = 700.0
    peers.drop = lambda sender, to, message: isinstance(message, Accepted)
    peers.offer(*idle, weight=0, delta_norm=2.0)
    peers.offer(leader, right, delta_norm=2.0)
    peers.wait(1.0)
    *_, asked = (message for _, to, message in peers.sent if isinstance(message, Accept) and to == right)
    for name in peers.machines:
        peers.bytes[name].add(asked.digest)
    peers.crash(leader)
    peers.wait(12.0)
    asking = {sender for sender, _, message in peers.sent if isinstance(message, Accept)} - {leader}
    second = next(name for name in asking if peers.commits(name)[-1].round == 0)
    peers.crash(second)
    peers.drop = lambda sender, to, message: False
    peers.wait(30.0)
    last = next(iter(peers.machines))
    assert peers.commits(last)[1].contributors == (right,)
    assert "cannot be; it is ignored" not in "".join(peers.said(name) for name in peers.machines)


def test_a_peer_that_sent_other_weights_contributes_again_in_the_next_round(founded) -> None:
    peers = founded("a", "b", "c")
    peers.moved["b"] = 700.0
    peers.offer("a", "b", "c", delta_norm=2.0)
    assert peers.commits("a")[-1].contributors == ("a", "c")
    peers.moved.clear()
    peers.offer("a", "b", "c", delta_norm=2.0)
    assert peers.commits("a")[-1].contributors == ("a", "b", "c")


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


# Finished peers -------------------------------------------------------------------------------------------------------


class Session:
    """Peers that train small vectors, some of which have finished, and what one of them knows of their distances."""

    def __init__(
        self, rule: str, *, seed: int = 0, dtype: str = "float32", weights: tuple[int, ...] = (1, 1, 1)
    ) -> None:
        self._rule = BUILTIN_RULES[rule]
        self._rng = np.random.default_rng(seed)
        self._dtype = dtype
        self.weights = {f"p{number}": weight for number, weight in enumerate(weights)}
        self.model = self._rng.normal(size=400).astype(dtype)
        self.frozen: dict[str, Array] = {}
        self.known = FrozenNorms(averaging=rule == "mean")
        self.known.founded()

    def distance(self, values: Array) -> float:
        return math.sqrt(squared_distance(values, self.model))

    def stats(self, peer: str, values: Array, status: PeerStatus = SNAPSHOT) -> ContributionStats:
        return ContributionStats(
            peer=peer, round=1, weight=self.weights[peer], status=status, delta_norm=self.distance(values)
        )

    def refusal(self, peer: str, values: Array | None = None) -> str | None:
        return self.known.refusal(self.stats(peer, self.frozen[peer] if values is None else values))

    def round(self, amount: float = 0.01, *, away: tuple[str, ...] = (), ends: tuple[str, ...] = ()) -> None:
        """Everybody who is not away contributes; those that train have moved by about ``amount`` in each coordinate."""
        values, entries = {}, []
        for peer in (peer for peer in self.weights if peer not in away):
            frozen = self.frozen.get(peer)
            moved = self.model + amount * (1 + self._rng.normal(size=400))
            values[peer] = moved.astype(self._dtype) if frozen is None else frozen
            status = TRAINING if frozen is None else SNAPSHOT
            entries.append(Entry(peer, self.weights[peer], status, self.distance(values[peer]), steps=9))
        self.frozen |= {peer: values[peer] for peer in ends}
        reference = [self.model] if self._rule.needs_reference else []
        self.model = self._rule.merge([*values.values(), *reference], [self.weights[peer] for peer in values])
        assert self.known.merged(entries)


@pytest.mark.parametrize("rule", BUILTIN_RULES)
@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("weights", [(1, 1), (1, 1, 1), (1, 100, 1, 1), (99, 1, 1), (1, 1, 1, 1, 50, 3)])
@pytest.mark.parametrize("seed", range(3))
def test_honest_frozen_weights_are_never_left_out(rule: str, dtype: str, weights: tuple[int, ...], seed: int) -> None:
    """Steps that get far smaller, below the rounding of the weights too, and a peer that is away for some rounds."""
    session = Session(rule, seed=seed, dtype=dtype, weights=weights)
    session.round(ends=("p0",))
    for number in range(60):
        away = ("p0",) if number % 20 in range(10, 15) else ()
        if number == 20 and len(weights) > 2:
            session.round(1e-2, ends=("p1",))
        session.round((1e-2, 1e-3, 1e-5, 1e-8)[number // 15], away=away)
        for peer in session.frozen:
            assert session.refusal(peer) is None, number


@pytest.mark.parametrize("rule", BUILTIN_RULES)
@pytest.mark.parametrize("weights", [(1, 1), (1, 1, 1), (5, 1, 1, 1)])
def test_frozen_weights_that_are_far_larger_are_left_out(rule: str, weights: tuple[int, ...]) -> None:
    session = Session(rule, weights=weights)
    for _ in range(3):
        session.round()
    session.round(ends=("p0",))
    for number in range(10):
        reason = session.refusal("p0", 1000 * session.frozen["p0"])
        assert reason is not None
        assert reason.startswith("its weights have moved by")
        if number > 0:  # it is known since its first contribution
            assert session.refusal("p0", 100 * session.frozen["p0"]) is not None
        session.round()


def test_frozen_weights_that_are_replaced_later_are_left_out() -> None:
    session = Session("mean")
    session.round(ends=("p0",))
    for _ in range(5):
        session.round()
    assert session.refusal("p0") is None
    assert session.refusal("p0", session.frozen["p0"] + 1) is not None


def test_frozen_peers_that_exceed_their_bounds_do_not_raise_those_of_one_another() -> None:
    session = Session("mean", weights=(1, 1, 1, 1))
    session.round(ends=("p0", "p1"))
    session.round()
    first, rounds = session.distance(session.frozen["p0"]), 40
    for _ in range(rounds):
        for peer, sign in (("p0", 1), ("p1", -1)):  # as far as they may go
            reach = session.distance(session.frozen[peer]) / 20
            while session.refusal(peer, session.model + np.float32(1.2 * sign * reach)) is None:
                reach *= 1.2
            session.frozen[peer] = session.model + np.float32(sign * reach)
        session.round(0.01)
    drift = rounds * 0.01 * 20 * math.sqrt(2)  # of 400 values; each of those that train moves so far
    assert session.distance(session.frozen["p0"]) < FROZEN * (first + drift)


def test_a_newcomer_that_says_at_once_that_it_has_finished_is_compared_with_those_that_train() -> None:
    session = Session("mean", weights=(1, 1, 1, 1))
    session.round(away=("p3",))
    assert session.refusal("p3", session.model) is None
    assert session.refusal("p3", session.model + np.float32(0.5)) is None
    assert session.refusal("p3", session.model + np.float32(5)) is not None


def test_of_two_that_train_a_newcomer_is_not_judged() -> None:
    session = Session("mean", weights=(1, 1, 1))
    session.round(away=("p2",))
    assert session.refusal("p2", 1000 * session.model) is None


def test_a_peer_that_has_not_seen_the_session_from_the_start_takes_what_it_sees_first() -> None:
    session = Session("mean")
    session.known = FrozenNorms(averaging=True)
    far = session.model + np.float32(1000)
    assert session.refusal("p0", far) is None
    session.frozen["p0"] = far
    session.round()
    session.round()
    assert session.refusal("p0") is None
    assert session.refusal("p0", 1000 * far) is not None
    assert session.refusal("p1", 1000 * far) is not None  # it has seen that one train


def test_what_a_peer_missed_counts_by_how_far_the_model_has_moved() -> None:
    session = Session("mean")
    session.round(ends=("p0",))
    session.round()
    before, known = session.model, session.known
    session.known = FrozenNorms(averaging=True)
    for _ in range(30):
        session.round(0.1, away=("p0",))
    session.known = known
    assert session.refusal("p0") is not None
    known.jumped(session.distance(before))
    assert session.refusal("p0") is None
    assert session.refusal("p0", 1000 * session.frozen["p0"]) is not None


@pytest.mark.parametrize("norm", [math.nan, math.inf, -1.0])
def test_a_round_whose_norms_are_impossible_tells_nothing(norm: float) -> None:
    known = FrozenNorms(averaging=True)
    assert not known.merged([Entry("a", 1, TRAINING, norm), Entry("b", 1, TRAINING, 1.0)])
    assert not known.merged([])


def test_a_round_in_which_the_last_model_stands_moves_nobody() -> None:
    session = Session("mean")
    session.round(ends=("p0",))
    session.round()
    before = session.refusal("p0", 1000 * session.frozen["p0"])
    assert session.known.merged([Entry("p0", 1, ACTIVE), Entry("p1", 0, TRAINING), Entry("p2", 0, TRAINING)])
    assert session.refusal("p0", 1000 * session.frozen["p0"]) == before


def test_only_frozen_weights_are_bounded() -> None:
    session = Session("mean")
    session.round(ends=("p0",))
    far = 1000 * session.frozen["p0"]
    for status in (TRAINING, EXTENDED, INACTIVE, ACTIVE):
        assert session.known.refusal(session.stats("p0", far, status)) is None
    assert session.known.refusal(session.stats("p0", far)) is not None


def test_those_without_steps_do_not_bound_how_far_others_have_moved() -> None:
    """Else the first frozen weights of an honest peer, which had trained in that round, would be left out."""
    known = FrozenNorms(averaging=True)
    known.founded()
    idle = [Entry(peer, 1, TRAINING, 6e-7) for peer in "bc"]
    assert known.merged([Entry("a", 1, TRAINING, 24.5, steps=9), *idle])
    stats = ContributionStats(peer="a", round=2, weight=1, status=SNAPSHOT, delta_norm=16.3)
    assert known.refusal(stats) is None


def test_with_an_outer_optimizer_the_way_of_the_model_counts() -> None:
    """It may go much further than the contributions to a round."""
    known = FrozenNorms(averaging=True, leaves_range=True)
    known.founded()
    assert known.needs_way
    assert not FrozenNorms(averaging=True).needs_way
    frozen, training = Entry("a", 1, SNAPSHOT, 1.0), [Entry(peer, 1, TRAINING, 1.0, steps=9) for peer in "bcd"]
    assert known.merged([frozen, *training], 500.0)
    for away, reason in ((501.0, False), (6000.0, True)):
        stats = ContributionStats(peer="a", round=2, weight=1, status=SNAPSHOT, delta_norm=away)
        assert (known.refusal(stats) is not None) is reason


def test_with_normalised_steps_the_distance_counts_by_which_a_contribution_is_merged() -> None:
    """A single step that goes as far as a hundred and one of the others is merged as if it had made as many."""
    few = claims(*[1.0] * 5)
    factors = dict.fromkeys(("p0", "p1", "p2", "p3"), 0.5) | {"p4": 51.0}
    assert not absurd(few)
    assert absurd(few, factors) == {"p4": "its weights count as moved by 51, the median of those who train is 0.5"}
