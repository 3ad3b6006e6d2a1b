"""The promises that a leader has collected for its attempt, and the check of those that a proposal carries."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from swarm.certification.statements import promise_statement, ready_statement, record_hash
from swarm.consensus.checking import objection
from swarm.consensus.state import RoundState
from swarm.messages import MOST_CARRIED, Carried, Promise, Proposal, Readiness
from swarm.quorums import is_quorum
from swarm.records import Attempt, PeerId, RecordKind, SignedPromise


class Promises:
    """Of one attempt at the current round."""

    def __init__(self, state: RoundState, attempt: Attempt) -> None:
        self._state = state
        self._attempt = attempt
        self._promises: dict[PeerId, Promise] = {}

    @property
    def given(self) -> frozenset[PeerId]:
        """Who has promised."""
        return frozenset(self._promises)

    @property
    def highest(self) -> Promise | None:
        """The promise that tells of the highest attempt accepted; None if none tells of any."""
        accepted = [each for each in self._promises.values() if each.accepted]
        return max(accepted, key=lambda each: each.accepted.attempt if each.accepted else self._attempt, default=None)

    @property
    def free(self) -> frozenset[PeerId]:
        """Those of them who tell of no attempt accepted."""
        return frozenset(peer for peer, promise in self._promises.items() if promise.accepted is None)

    def keep_free(self) -> None:
        """Forget the promises that tell of an attempt accepted: where the rest is a quorum, none was decided."""
        self._promises = {peer: promise for peer, promise in self._promises.items() if promise.accepted is None}

    @property
    def signed(self) -> tuple[SignedPromise, ...]:
        """What others can check."""
        return tuple(signed_promise(peer, each) for peer, each in sorted(self._promises.items()))

    def add(self, sender: PeerId, message: Promise) -> bool:
        """Take a promise if it is signed, and if what it says was accepted could be."""
        state, commit = self._state, self._state.position.commit
        key = commit.key_of(sender) if commit else ""
        promise = signed_promise(sender, message)
        statement = promise_statement(
            state.rules.session, message.lineage, message.round, self._attempt, promise.accepted, promise.record
        )
        accepted, ready = message.accepted, message.ready
        possible = accepted is None or (
            (accepted.lineage, accepted.round) == (message.lineage, message.round)
            and accepted.attempt < self._attempt
            and not objection(state, as_made_ready(accepted, ready), ready=True)
            and is_ready(state, accepted, promise.record, ready)
            and is_free(state, accepted, promise.record, ready)
        )
        if not possible or not state.rules.signer.verify(key, statement, promise.value):
            text = f"{sender} sent a promise that it did not sign, or that cannot be; it is ignored"
            state.effects.notice(text, loud=True, sender=sender)
            return False
        self._promises[sender] = message
        return True


def signed_promise(peer: PeerId, message: Promise) -> SignedPromise:
    """The part of a promise that is signed."""
    accepted = message.accepted
    record = record_hash(accepted.commit(message.digest)) if accepted else ""
    return SignedPromise(peer, accepted.attempt if accepted else None, record, message.signature)


def enough_ready(state: RoundState, proposal: Proposal, ready: Iterable[PeerId]) -> bool:
    """Whether enough of the group of a proposal are ``ready`` for others to accept it: a quorum of the group."""
    liars = state.rules.tolerated_liars if proposal.kind is RecordKind.ROUND else 0
    return is_quorum(proposal.group, ready, liars)


def as_made_ready(proposal: Proposal, ready: Readiness | None) -> Proposal:
    """The proposal in the attempt for which its group was ready: what may be left out depends on who led that one."""
    return replace(proposal, attempt=ready.attempt) if ready else proposal


def is_ready(state: RoundState, proposal: Proposal, record: str, ready: Readiness | None) -> bool:
    """Whether enough of the group of a proposal have signed that they hold the model of this record.

    The leader waits for all of the group. What a false one could gain with fewer is that the others fetch the model.
    """
    if ready is None or ready.attempt > proposal.attempt:
        return False
    keys = {offer.stats.peer: offer.key for offer in proposal.offers}
    statement = ready_statement(state.rules.session, proposal.lineage, proposal.round, ready.attempt, record)
    signed: set[PeerId] = set()
    for each in ready.signatures:
        if each.peer in keys and state.rules.signer.verify(keys[each.peer], statement, each.value):
            signed.add(each.peer)
        if enough_ready(state, proposal, signed):
            return True
    return False


def carry(accepted: Proposal, ready: Readiness) -> Readiness | None:
    """The readiness of what was accepted, for a leader that carries it on; None if that is possible no more."""
    if accepted.attempt == ready.attempt:
        return ready
    carried = (*ready.carried, Carried(accepted.attempt, accepted.promises))
    return replace(ready, carried=carried) if len(carried) <= MOST_CARRIED else None


def is_free(state: RoundState, proposal: Proposal, record: str, ready: Readiness | None) -> bool:
    """Whether the attempt of a proposal may have this record: nobody can have decided another one before.

    Either its promises tell of no accept, and its group is ready in it. Or the highest accept that they tell of is that
    of this record in the attempt before, for which the same is shown, down to the attempt in which the group was ready:
    a voter could claim to have accepted anything in an attempt that never was.
    """
    if ready is None:
        return False
    if ready.attempt == proposal.attempt:
        return not ready.carried and promised_before(state, proposal, proposal.attempt, proposal.promises) == (None, "")
    before = ready.attempt
    for each in (*ready.carried, Carried(proposal.attempt, proposal.promises)):
        told = promised_before(state, proposal, each.attempt, each.promises)
        if each.attempt <= before or told != (before, record):
            return False
        before = each.attempt
    return True


def promised_before(
    state: RoundState, proposal: Proposal, attempt: Attempt, promises: Iterable[SignedPromise]
) -> tuple[Attempt | None, str] | None:
    """The highest attempt that promises to ``attempt`` tell to be accepted, with the hash of its record.

    Both are empty if they tell of none, and in the first attempt of a round, which needs no promises. Returns: None if
    these are not the promises of a quorum.
    """
    commit = state.position.commit
    if commit is None or attempt == state.first_attempt:
        return None, ""
    given: list[SignedPromise] = []
    for each in promises:
        statement = promise_statement(
            state.rules.session, proposal.lineage, proposal.round, attempt, each.accepted, each.record
        )
        if state.rules.signer.verify(commit.key_of(each.peer), statement, each.value):
            given.append(each)
    peers = {each.peer for each in given}
    # Who is removed by now was a voter when it promised. Of f liars that are tolerated, up to 2 f + 1 may be removed so
    # that these promises still have a voter in common with each quorum of the rest.
    liars = state.rules.tolerated_liars
    before = len(state.presence.proven) <= 2 * liars + 1 and is_quorum(commit.members, peers, liars)
    if not before and not state.quorum(commit.members, peers):
        return None
    return max(((each.accepted, each.record) for each in given if each.accepted is not None), default=(None, ""))
