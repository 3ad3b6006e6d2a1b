"""What a member has promised and accepted in the current round: the memory that makes two results impossible.

The rules are those of single-decree Paxos, one decree a round, with attempts as ballots
(L. Lamport, "Paxos Made Simple", 2001).
"""

from __future__ import annotations

from swarm.messages import Proposal
from swarm.records import Attempt


class Acceptor:
    """One member's promises in one round of one lineage."""

    def __init__(self, first: Attempt) -> None:
        self.promised = first
        """Nothing below this attempt is answered any more."""
        self.accepted: Proposal | None = None
        self.digest = ""
        """Digest accepted with ``accepted``."""

    def promise(self, attempt: Attempt) -> bool:
        """Bind to ``attempt`` unless a higher one was answered."""
        if attempt < self.promised:
            return False
        self.promised = attempt
        return True

    def accept(self, proposal: Proposal, digest: str) -> bool:
        """Accept unless a higher attempt was answered."""
        if not self.promise(proposal.attempt):
            return False
        self.accepted, self.digest = proposal, digest
        return True
