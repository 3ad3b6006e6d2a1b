"""Who leads, what is a majority, and what an acceptor is bound to."""

from __future__ import annotations

import pytest

from swarm.consensus.paxos import MOST_ATTEMPTS, Acceptor, first_attempt, leader_order, new_lineage, next_attempt
from swarm.messages import Proposal, Readiness
from swarm.quorums import is_quorum
from swarm.records import Attempt, Signature, SyncState

PEERS = ("ann", "bob", "cid", "dee")
READY = Readiness(Attempt(1, "ann"), (Signature("ann", "signed"),))


def test_the_order_depends_on_the_set_of_peers_alone() -> None:
    order = leader_order("s", 3, PEERS)
    assert sorted(order) == sorted(PEERS)
    assert leader_order("s", 3, reversed(PEERS)) == order


def test_the_order_differs_between_rounds_and_between_sessions() -> None:
    assert {leader_order("s", round_, PEERS)[0] for round_ in range(50)} == set(PEERS)
    assert any(leader_order("s", round_, PEERS) != leader_order("t", round_, PEERS) for round_ in range(5))


def test_the_first_attempt_is_below_every_later_one() -> None:
    first = first_attempt("s", 1, PEERS)
    assert first == Attempt(0, leader_order("s", 1, PEERS)[0])
    following = next_attempt("s", 1, PEERS, first, PEERS)
    assert following is not None
    assert first < following


def test_leaders_follow_the_order_and_those_not_able_are_skipped() -> None:
    order = leader_order("s", 1, PEERS)
    able = {order[0], order[3]}
    attempt = first_attempt("s", 1, PEERS)
    leaders = []
    for _ in range(3):
        following = next_attempt("s", 1, PEERS, attempt, able)
        assert following is not None
        assert following > attempt
        attempt = following
        leaders.append((attempt.counter, attempt.leader))
    assert leaders == [(3, order[3]), (4, order[0]), (7, order[3])]


def test_there_is_no_next_attempt_where_no_member_is_able() -> None:
    assert next_attempt("s", 1, PEERS, Attempt(0, "ann"), {"stranger"}) is None


@pytest.mark.parametrize(
    ("present", "expected"),
    [((), False), (("ann", "bob"), False), (("ann", "bob", "cid"), True), (("ann", "bob", "x", "y"), False)],
)
def test_a_majority_is_more_than_half_of_the_membership(present: tuple[str, ...], expected: bool) -> None:
    assert is_quorum(PEERS, present) is expected


def test_the_majority_of_one_is_one_and_of_two_both() -> None:
    assert is_quorum(("ann",), ("ann",))
    assert not is_quorum(("ann", "bob"), ("ann",))


def test_a_lineage_is_named_after_all_that_makes_it_unique() -> None:
    assert new_lineage("s", "ann", 0) == new_lineage("s", "ann", 0)
    assert len({new_lineage("s", "ann", 0), new_lineage("s", "ann", 1), new_lineage("sa", "nn", 0)}) == 3


def proposal(counter: int) -> Proposal:
    return Proposal(
        lineage="line",
        round=3,
        attempt=Attempt(counter, "ann"),
        parent="parent",
        voters=("ann", "bob"),
        members=("ann", "bob"),
        entries=(),
        sync=SyncState(8),
        closing=False,
    )


def test_a_promise_binds_against_lower_attempts_only() -> None:
    acceptor = Acceptor(Attempt(0, "ann"))
    assert acceptor.promise(Attempt(2, "bob"))
    assert acceptor.promise(Attempt(2, "bob"))
    assert not acceptor.promise(Attempt(2, "ann"))
    assert not acceptor.promise(Attempt(1, "zoe"))
    assert acceptor.promised == Attempt(2, "bob")


def test_what_was_asked_for_goes_with_the_promise() -> None:
    acceptor = Acceptor(Attempt(0, "ann"))
    for asked in ("first", "again"):
        acceptor.promise(Attempt(2, "bob"), asked)
        assert acceptor.asked == asked
    acceptor.promise(Attempt(2, "bob"))
    acceptor.promise(Attempt(1, "zoe"), "too low")
    assert acceptor.asked == "again"
    acceptor.accept(proposal(3), "digest", READY)
    assert acceptor.asked == "", "nobody has asked for this one"
    acceptor.promise(Attempt(3, "ann"), "later")
    assert acceptor.asked == "later"
    acceptor.new_round(Attempt(0, "ann"))
    assert acceptor.asked == ""


def test_nothing_below_a_promise_is_accepted() -> None:
    acceptor = Acceptor(Attempt(0, "ann"))
    acceptor.promise(Attempt(3, "bob"))
    assert not acceptor.accept(proposal(2), "digest", READY)
    assert acceptor.accepted is None


def test_accepting_binds_as_a_promise_does() -> None:
    acceptor = Acceptor(Attempt(0, "ann"))
    assert acceptor.accept(proposal(4), "digest", READY)
    assert not acceptor.promise(Attempt(3, "zoe"))


def test_a_higher_proposal_replaces_an_accepted_one() -> None:
    acceptor = Acceptor(Attempt(0, "ann"))
    assert acceptor.accept(proposal(1), "first", None)
    assert acceptor.accept(proposal(2), "second", READY)
    assert (acceptor.accepted, acceptor.digest, acceptor.ready) == (proposal(2), "second", READY)


def test_a_promise_does_not_follow_a_counter_that_jumps() -> None:
    """The largest counter would leave none for the leaders that come later."""
    acceptor = Acceptor(Attempt(3, "ann"))
    assert not acceptor.promise(Attempt(2**31 - 1, "bob"))
    assert not acceptor.promise(Attempt(3 + MOST_ATTEMPTS + 1, "bob"))
    assert not acceptor.accept(proposal(3 + MOST_ATTEMPTS + 1), "digest", READY)
    assert acceptor.promised == Attempt(3, "ann")
    assert acceptor.promise(Attempt(3 + MOST_ATTEMPTS, "bob"))
