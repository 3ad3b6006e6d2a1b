"""What a member is bound to."""

from __future__ import annotations

from swarm.consensus.acceptor import Acceptor
from swarm.messages import Proposal
from swarm.records import Attempt, SyncState


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
        weight=2,
    )


def test_a_promise_binds_against_lower_attempts_only() -> None:
    acceptor = Acceptor(Attempt(0, "ann"))
    assert acceptor.promise(Attempt(2, "bob"))
    assert acceptor.promise(Attempt(2, "bob"))
    assert not acceptor.promise(Attempt(2, "ann"))
    assert not acceptor.promise(Attempt(1, "zoe"))
    assert acceptor.promised == Attempt(2, "bob")


def test_nothing_below_a_promise_is_accepted() -> None:
    acceptor = Acceptor(Attempt(0, "ann"))
    acceptor.promise(Attempt(3, "bob"))
    assert not acceptor.accept(proposal(2), "digest")
    assert acceptor.accepted is None


def test_accepting_binds_as_a_promise_does() -> None:
    acceptor = Acceptor(Attempt(0, "ann"))
    assert acceptor.accept(proposal(4), "digest")
    assert not acceptor.promise(Attempt(3, "zoe"))


def test_a_higher_proposal_replaces_an_accepted_one() -> None:
    acceptor = Acceptor(Attempt(0, "ann"))
    assert acceptor.accept(proposal(1), "first")
    assert acceptor.accept(proposal(2), "second")
    assert (acceptor.accepted, acceptor.digest) == (proposal(2), "second")
