"""Whom a leader puts into a group, and with what weight."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from fractions import Fraction

import pytest

from swarm.consensus.forming import (
    Table,
    complete,
    form,
    may_fork,
    quorum,
    signals,
    stops,
    with_refusals,
    worth_merging,
)
from swarm.consensus.rules import RoundRules
from swarm.messages import Offer
from swarm.records import Commit, ContributionStats, PeerStatus, Refusal, SyncState
from swarm.sync import FixedInterval
from swarm.text import MAX_SHOWN, printable

TRAINING, EXTENDED, INACTIVE, SNAPSHOT, ACTIVE = PeerStatus


def rules(
    min_peers: int = 2, *, averaging: bool = True, refusal: Callable[[ContributionStats], str | None] | None = None
) -> RoundRules:
    policy = FixedInterval(8)
    own = {"refusal": refusal} if refusal else {}
    return RoundRules(
        session="s", min_peers=min_peers, policy=policy, first_sync=policy.start(), averaging=averaging, **own
    )


def table(
    *stats: ContributionStats,
    members: tuple[str, ...] = ("ann", "bob", "cid"),
    live: tuple[str, ...] = (),
    gone: Mapping[str, tuple[str, ...]] | None = None,
) -> Table:
    commit = Commit(
        lineage="line", round=4, digest="d", members=members, group=members, contributors=members, sync=SyncState(8)
    )
    offers = {
        each.peer: Offer("line", "d", votes=True, stats=each, gone=(gone or {}).get(each.peer, ()))
        for each in sorted(stats, key=lambda each: each.peer)
    }
    return Table(commit=commit, offers=offers, live=frozenset({*offers, *live}))


def stats(peer: str, status: PeerStatus = TRAINING, weight: int = 1, *, finite: bool = True) -> ContributionStats:
    return ContributionStats(peer=peer, round=5, weight=weight, status=status, finite=finite)


def weights(seen: Table, with_rules: RoundRules | None = None) -> dict[str, int]:
    return {entry.peer: entry.weight for entry in form(seen, with_rules or rules()).entries}


def test_quorum_takes_min_peers_and_a_majority_of_the_membership() -> None:
    two = table(stats("ann"), stats("bob"))
    assert quorum(two, rules(2))
    assert not quorum(two, rules(3))
    assert not quorum(table(stats("ann")), rules(1))
    assert not quorum(table(stats("ann"), stats("new"), stats("newer")), rules(2))


def test_a_minority_may_fork_only_where_min_peers_says_so() -> None:
    members = ("ann", "bob", "cid", "dee")
    assert may_fork(table(stats("ann"), stats("bob"), members=members), rules(2))
    assert not may_fork(table(stats("ann"), members=members), rules(2))
    assert not may_fork(table(stats("ann"), stats("bob"), members=members), rules(3))
    assert not may_fork(table(stats("ann"), members=members[:3]), rules(2))


def test_a_majority_of_restarted_members_may_begin_a_lineage() -> None:
    assert may_fork(table(stats("ann"), stats("bob")), rules(2))
    assert not may_fork(table(stats("ann"), stats("bob")), rules(3))


def test_a_table_is_complete_when_every_live_peer_has_offered() -> None:
    assert complete(table(stats("ann"), stats("bob")))
    assert not complete(table(stats("ann"), stats("bob"), live=("cid",)))


def test_finished_peers_alone_are_worth_a_round_only_when_it_is_time_to_close() -> None:
    finished = stats("ann", SNAPSHOT), stats("bob", INACTIVE)
    two = ("ann", "bob")
    assert not worth_merging(table(*finished, members=two, live=("cid",)))
    assert worth_merging(table(*finished, members=two))
    assert worth_merging(table(*finished, stats("cid"), members=two, live=("dee",)))


@pytest.mark.parametrize(
    ("status", "averaging", "expected"),
    [
        (TRAINING, True, 7),
        (SNAPSHOT, True, 7),
        (ACTIVE, True, 7),
        (INACTIVE, True, 0),
        (TRAINING, False, 7),
        (SNAPSHOT, False, 7),
        (ACTIVE, False, 0),
    ],
)
def test_the_weight_of_a_contribution_follows_its_status(status: PeerStatus, averaging: bool, expected: int) -> None:
    assert weights(table(stats("ann", status, 7), stats("bob")), rules(averaging=averaging))["ann"] == expected


def test_weights_that_are_not_finite_are_left_out_by_name() -> None:
    group = form(table(stats("ann"), stats("bob", finite=False)), rules())
    assert [(entry.peer, entry.weight) for entry in group.entries] == [("ann", 1), ("bob", 0)]
    assert group.refused == (Refusal("bob", "its tensors hold NaN or infinity"),)


def test_a_screened_contribution_is_left_out_with_the_reason() -> None:
    strict = rules(refusal=lambda each: "too far away" if each.peer == "bob" else None)
    group = form(with_refusals(table(stats("ann"), stats("bob")), strict), strict)
    assert [entry.weight for entry in group.entries] == [1, 0]
    assert group.refused == (Refusal("bob", "too far away"),)


def test_the_reason_of_a_plugin_is_in_the_record_as_it_travels() -> None:
    strict = rules(refusal=lambda each: "x" * 2000 if each.peer == "bob" else "two\nlines")
    group = form(with_refusals(table(stats("ann"), stats("bob"), stats("cid")), strict), strict)
    assert [(refusal.peer, refusal.reason) for refusal in group.refused] == [
        ("ann", "two\\nlines"),
        ("bob", "x" * MAX_SHOWN + "…"),
        ("cid", "two\\nlines"),
    ]
    assert all(printable(refusal.reason, MAX_SHOWN) == refusal.reason for refusal in group.refused)


def test_without_contributions_one_member_sends_the_committed_model() -> None:
    group = form(table(stats("bob", INACTIVE), stats("ann", INACTIVE)), rules())
    assert [(entry.peer, entry.weight, entry.status) for entry in group.entries] == [
        ("ann", 1, ACTIVE),
        ("bob", 0, INACTIVE),
    ]


@pytest.mark.parametrize(
    ("gone", "members"),
    [
        ({}, ("ann", "bob", "cid", "new")),
        ({"ann": ("cid",), "bob": ("cid",)}, ("ann", "bob", "new")),
        ({"ann": ("cid",)}, ("ann", "bob", "cid", "new")),
        ({"new": ("ann", "cid"), "bob": ("ann", "cid")}, ("ann", "bob", "new")),
    ],
    ids=["a straggler", "lost to most of the group", "lost to one", "in the group"],
)
def test_a_member_stays_unless_most_of_the_group_cannot_reach_it(
    gone: dict[str, tuple[str, ...]], members: tuple[str, ...]
) -> None:
    assert form(table(stats("ann"), stats("bob"), stats("new"), gone=gone), rules()).members == members


def test_of_a_group_of_two_both_must_have_lost_a_member() -> None:
    two = stats("ann"), stats("bob")
    assert form(table(*two, gone={"ann": ("cid",)}), rules()).members == ("ann", "bob", "cid")
    assert form(table(*two, gone={"ann": ("cid",), "bob": ("cid",)}), rules()).members == ("ann", "bob")


def test_a_member_that_is_removed_neither_votes_nor_stays() -> None:
    seen = replace(table(stats("ann"), stats("bob")), removed=frozenset({"cid"}))
    assert form(seen, rules()).members == ("ann", "bob")
    assert quorum(seen, rules())
    assert not quorum(replace(table(stats("ann"), stats("cid")), removed=frozenset({"cid"})), rules())


def test_the_group_closes_the_session_only_when_all_have_finished() -> None:
    finished = stats("ann", SNAPSHOT), stats("bob", ACTIVE)
    two = ("ann", "bob")
    assert table(*finished, members=two).all_finished
    assert not table(*finished, members=two, live=("cid",)).all_finished
    assert not table(*finished, stats("cid"), members=two).all_finished
    assert not table(*finished).all_finished, "one member is not there, and most of the group can reach it"
    assert table(*finished, gone=dict.fromkeys(two, ("cid",))).all_finished


def test_a_signal_counts_with_no_more_weight_than_its_peer_joined_with() -> None:
    ann, bob = replace(stats("ann", weight=100), signal=0.5), replace(stats("bob", weight=2), signal=0.25)
    seen = replace(table(ann, bob, stats("cid")), joined={"ann": 1, "bob": 3})
    assert signals(seen, rules()) == [(1, 0.5), (2, 0.25)]


def test_no_contribution_has_more_than_the_largest_share() -> None:
    seen = table(stats("ann", weight=4500), stats("bob", weight=1000), stats("cid", weight=500))
    half = replace(rules(), largest_share=lambda _: Fraction(1, 2))
    group = form(seen, half)
    assert [entry.weight for entry in group.entries] == [1500, 1000, 500]
    assert group.weight == 3000
    lost = replace(
        seen,
        offers={peer: replace(offer, stats=replace(offer.stats, signal=1.0)) for peer, offer in seen.offers.items()},
    )
    assert signals(lost, half) == [(1500, 1.0), (1000, 1.0), (500, 1.0)]


def test_a_peer_that_is_granted_nothing_contributes_nothing() -> None:
    seen = table(stats("ann", weight=4500), stats("bob", weight=1000))
    group = form(seen, replace(rules(), largest_share=lambda peer: Fraction(int(peer == "bob"))))
    assert [entry.weight for entry in group.entries] == [0, 1000]


@pytest.mark.parametrize("status", PeerStatus)
def test_the_optimizer_state_of_training_peers_with_weight_is_merged(status: PeerStatus) -> None:
    told = [
        ContributionStats(peer="ann", round=5, weight=1, moments=True),
        ContributionStats(peer="bob", round=5, weight=1, steps=3, status=status, moments=True),
        ContributionStats(peer="cid", round=5, weight=0, moments=True),
        ContributionStats(peer="dee", round=5, weight=1),
    ]
    group = form(table(*told), rules())
    having = [entry.peer for entry in group.entries if entry.moments]
    assert having == (["ann", "bob"] if not status.finished else ["ann"])


def test_a_peer_that_sends_the_committed_model_gives_no_optimizer_state() -> None:
    told = [ContributionStats(peer=peer, round=5, weight=0, moments=True) for peer in ("ann", "bob")]
    group = form(table(*told), rules())
    assert [entry.moments for entry in group.entries] == [False, False]


def test_one_step_that_goes_as_far_as_many_is_left_out_where_steps_are_normalised() -> None:
    each = [replace(stats(peer), delta_norm=1.0, steps=500) for peer in ("ann", "bob", "cid")]
    seen = table(*each, replace(stats("dee"), delta_norm=1.0, steps=1))
    assert weights(seen)["dee"] == 1
    assert weights(seen, replace(rules(), normalize_steps=True)) == {"ann": 1, "bob": 1, "cid": 1, "dee": 0}


def asking(*names, finished=(), members=("ann", "bob", "cid"), here=None, before=None):
    """A table of the members that are here, of whom some ask to end the training."""
    told = [
        replace(stats(peer, status=SNAPSHOT if peer in finished else TRAINING), stop=True if peer in names else None)
        for peer in here or members
    ]
    seen = table(*told, members=members)
    return replace(seen, commit=replace(seen.commit, stop=before))


def test_the_training_ends_once_more_than_half_of_the_members_ask() -> None:
    assert stops(asking(), rules()) is None
    assert stops(asking("ann"), rules()) is None
    assert stops(asking("ann", "bob"), rules()) is True


def test_finished_members_agree_to_what_another_asks_for_and_ask_for_nothing() -> None:
    assert stops(asking("ann", finished=("bob",)), rules()) is True
    assert stops(asking(finished=("ann", "bob")), rules()) is None


def test_members_that_are_away_have_not_asked() -> None:
    assert stops(asking("ann", "bob", here=("ann", "bob"), members=("ann", "bob", "cid", "dan")), rules()) is None


def test_those_that_may_lie_cannot_end_a_training() -> None:
    five = ("ann", "bob", "cid", "dan", "eve")
    assert stops(asking("ann", "bob", "cid", members=five), rules()) is True
    tolerant = replace(rules(), tolerated_liars=1)
    assert stops(asking("ann", "bob", "cid", members=five), tolerant) is None
    assert stops(asking("ann", "bob", "cid", "dan", members=five), tolerant) is True


def test_the_end_that_was_agreed_stays() -> None:
    assert stops(asking(before=True), rules()) is True
