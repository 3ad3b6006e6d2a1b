"""Single-decree Paxos, one decree per round: attempts are its ballots, the membership of the last commit its acceptors.

Source: L. Lamport, "Paxos Made Simple", 2001. The order of leaders is computed by every peer alone, so no election is
needed; two peers may still lead at once, and the votes decide between them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from swarm.messages import Proposal
from swarm.records import Attempt, PeerId


def leader_order(session: str, round_: int, members: Iterable[PeerId]) -> tuple[PeerId, ...]:
    """``members`` sorted by a hash of session, round and name: member ``n % len(members)`` leads attempt ``n``."""

    def rank(peer: PeerId) -> tuple[bytes, PeerId]:
        return hashlib.sha256(f"{session}\0{round_}\0{peer}".encode()).digest(), peer

    return tuple(sorted(members, key=rank))


def first_attempt(session: str, round_: int, members: Iterable[PeerId]) -> Attempt:
    """The lowest attempt of a round. Its leader sends no :class:`~swarm.messages.Prepare`: nothing was accepted yet."""
    return Attempt(0, leader_order(session, round_, members)[0])


def next_attempt(
    session: str, round_: int, members: Iterable[PeerId], above: Attempt, able: Iterable[PeerId]
) -> Attempt | None:
    """The lowest attempt above ``above`` whose leader is one of ``able``; None where no member is."""
    order = leader_order(session, round_, members)
    candidates = set(able)
    for counter in range(above.counter + 1, above.counter + 1 + len(order)):
        leader = order[counter % len(order)]
        if leader in candidates:
            return Attempt(counter, leader)
    return None


def new_lineage(*parts: object) -> str:
    """The id of a lineage: a hash over what makes it unique."""
    return hashlib.sha256("\0".join(map(str, parts)).encode()).hexdigest()[:16]


def majority(members: Iterable[PeerId], present: Iterable[PeerId]) -> bool:
    """Whether more than half of ``members`` are ``present``."""
    all_members = set(members)
    return 2 * len(all_members & set(present)) > len(all_members)


class Acceptor:
    """What this peer has promised and accepted in the current round; because of it no round has two results."""

    def __init__(self, first: Attempt) -> None:
        self.promised = first
        """The highest attempt answered; lower ones are not answered any more."""
        self.accepted: Proposal | None = None
        """The proposal accepted last."""
        self.digest = ""
        """Digest accepted with ``accepted``."""
        self.votes = False
        """Whether this process may vote. A process that replaced another one of its name may not before it has taken
        part in a round: the earlier process may have promised and accepted in the current one."""

    def new_round(self, first: Attempt) -> None:
        """A round begins with the attempt ``first``: nothing is promised above it."""
        self.promised, self.accepted, self.digest = first, None, ""

    def promise(self, attempt: Attempt) -> bool:
        """Promise to answer no attempt below ``attempt``; False if a higher one was answered already."""
        if attempt < self.promised:
            return False
        self.promised = attempt
        return True

    def accept(self, proposal: Proposal, digest: str) -> bool:
        """Accept the proposal; False if a higher attempt was answered already."""
        if not self.promise(proposal.attempt):
            return False
        self.accepted, self.digest = proposal, digest
        return True

    def may_vote(self) -> None:
        """This process has taken part in the last round."""
        self.votes = True

    def may_not_vote(self) -> None:
        """An earlier process of this name may have voted in the current round."""
        self.votes = False
