"""Deliberate mistakes that only a member that lies can use: each leaves out one check of what others say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from swarm import quorums
from swarm.certification.chain import Verifier
from swarm.consensus import member, promises
from swarm.consensus.attempt import LedAttempt
from swarm.consensus.machine import RoundMachine
from swarm.consensus.member import Member
from swarm.consensus.state import RoundState
from swarm.consensus.strikes import Strikes
from tests.simulator.registered import Mutants
from tests.simulator.signer import CheapSigner

if TYPE_CHECKING:
    from collections.abc import Iterable

    from swarm.messages import Accept, Nack, Promise, Proposal, Readiness
    from swarm.records import Attempt, Commit, PeerId, Proof, SignedPromise

LIAR_MUTANTS = Mutants()
_mutant = LIAR_MUTANTS.register


@_mutant(Verifier, "doubt")
def certificates_are_not_checked(self: Verifier, record: Commit, before: Commit | None) -> str:
    """A record is true because somebody sends it."""
    return ""


@_mutant(Verifier, "_uncertified")
def signatures_of_records_are_not_checked(self: Verifier, record: Commit, before: Commit | None) -> str:
    """A record need only follow the one before it."""
    return ""


@_mutant(CheapSigner, "verify")
def any_signature_is_right(self: CheapSigner, key: str, statement: bytes, signature: str) -> bool:
    """Nothing that is signed is checked."""
    return True


@_mutant(member, "objection")
def proposals_are_not_checked(state: RoundState, proposal: Proposal, *, ready: bool = False) -> str:
    """A member takes part in whatever a leader proposes."""
    return ""


@_mutant(member, "promised_before")
def promises_of_proposals_are_not_checked(
    state: RoundState, proposal: Proposal, attempt: Attempt, promises: Iterable[SignedPromise]
) -> tuple[None, str]:
    """A leader may propose a new group whatever was accepted."""
    return None, ""


@_mutant(member, "is_free", of="promises_of_proposals_are_not_checked")
def _accepts_are_not_checked(state: RoundState, proposal: Proposal, record: str, ready: Readiness | None) -> bool:
    return True


@_mutant(member, "is_ready")
def readiness_is_not_checked(state: RoundState, proposal: Proposal, record: str, ready: Readiness | None) -> bool:
    """A leader may ask to accept what its group does not hold."""
    return True


@_mutant(Member, "_may_accept")
def whatever_is_held_is_accepted(self: Member, message: Accept) -> bool:
    """A voter looks only whether it holds the model."""
    return self._is_current(message.proposal) or self.begins_lineage(message.proposal)


@_mutant(RoundMachine, "_on_evidence")
def evidence_is_ignored(self: RoundMachine, proof: Proof) -> None:
    """Nobody is removed for having voted twice."""


@_mutant(Verifier, "proven")
def evidence_is_believed(self: Verifier, proof: Proof) -> bool:
    """Whoever is accused is removed."""
    return True


@_mutant(Strikes, "strike")
def nobody_is_left_out(self: Strikes, attempt: Attempt, peer: PeerId) -> None:
    """Who makes attempts fail is in the next one again."""


@_mutant(LedAttempt, "on_nack")
def one_nack_ends_an_attempt(self: LedAttempt, sender: PeerId, message: Nack, *, asked: bool) -> bool:
    """A leader resigns as soon as one peer says that it has promised more."""
    return True


@_mutant(quorums, "quorum_size")
def liars_are_not_counted(voters: int, liars: int = 0) -> int:
    """A majority decides, however many may lie."""
    return voters // 2 + 1


@_mutant(RoundState, "quorum")
def half_is_enough(self: RoundState, members: Any, present: Any) -> bool:
    """Half of the voters decide a round."""
    return 2 * len({*members} & {*present}) >= len({*members})


@_mutant(promises.Promises, "add")
def a_leader_believes_promises(self: promises.Promises, sender: PeerId, message: Promise) -> bool:
    """What a voter says that it has accepted is not checked."""
    self._promises[sender] = message
    return True
