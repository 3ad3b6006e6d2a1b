"""Single-decree Paxos, one decree per round: attempts are its ballots, the membership of the last commit its acceptors.

Source: L. Lamport, "Paxos Made Simple", 2001. The order of leaders is computed by every peer alone, so no election is
needed; two peers may still lead at once, and the votes decide between them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from swarm.messages import Proposal, Readiness
from swarm.records import Attempt, PeerId

MOST_ATTEMPTS = 1024
"""How far a peer follows an attempt above the highest one that it has answered: a counter that jumped to the largest
number would leave none for later leaders."""


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


class Acceptor:
    """What this peer has promised and accepted in the current round; because of it no round has two results."""

    def __init__(self, first: Attempt) -> None:
        self.promised = first
        """The highest attempt answered; lower ones are not answered any more."""
        self.asked = ""
        """The signature with which its leader has asked for that; empty where it was not asked for."""
        self.accepted: Proposal | None = None
        """The proposal accepted last."""
        self.digest = ""
        """Digest accepted with ``accepted``."""
        self.ready: Readiness | None = None
        """The readiness of its group."""

    def new_round(self, first: Attempt) -> None:
        """A round begins with the attempt ``first``: nothing is promised above it."""
        self.promised, self.asked = first, ""
        self.accepted, self.digest, self.ready = None, "", None

    def promise(self, attempt: Attempt, asked: str = "") -> bool:
        """Promise to answer no attempt below ``attempt``, whose leader has ``asked`` with this signature.

        False if a higher one was answered already, or if it is too far above that one.
        """
        if attempt < self.promised or attempt.counter > self.promised.counter + MOST_ATTEMPTS:
            return False
        if attempt > self.promised or asked:
            self.promised, self.asked = attempt, asked
        return True

    def accept(self, proposal: Proposal, digest: str, ready: Readiness | None) -> bool:
        """Accept the proposal; False if a higher attempt was answered already."""
        if not self.promise(proposal.attempt):
            return False
        self.accepted, self.digest, self.ready = proposal, digest, ready
        return True
