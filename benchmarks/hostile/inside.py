"""Lets the bad member lie where it does not only send something else: as a leader, and as the owner of a slice."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import numpy as np

from benchmarks.hostile.liar import LIAR, Habit, Liar
from swarm.consensus import member
from swarm.consensus.attempt import LedAttempt, Stage
from swarm.consensus.checking import as_offered, objection
from swarm.consensus.promises import is_free, promised_before
from swarm.consensus.state import RoundState
from swarm.exchange.exchange import Exchange

if TYPE_CHECKING:
    from swarm.consensus.forming import Table
    from swarm.exchange.layout import Chunk
    from swarm.messages import Accepted, Offer, Proposal, Readiness
    from swarm.records import Attempt, Commit, PeerId, SignedPromise


@contextmanager
def inside(liar: Liar) -> Iterator[None]:
    """Within it, the bad member, which runs in this process too, proposes and merges what its habit says.

    It takes part in what it proposes, and in what others propose, whatever it has offered.
    """
    propose, merged = LedAttempt._propose, Exchange.merge  # noqa: SLF001 - what the bad member changes
    begun, accepted, tabled = LedAttempt.__init__, LedAttempt.on_accepted, RoundState.table

    def proposes(self: LedAttempt, proposal: Proposal) -> None:
        if self._state.me == LIAR and liar.lying.is_set() and proposal.parent:
            changed = liar.habit.proposes(proposal)
            liar.lies += changed != proposal
            proposal = changed
        propose(self, proposal)

    def begins(self: LedAttempt, state: RoundState, *given: Any, prepared: bool) -> None:
        asks = state.me != LIAR or not liar.lying.is_set() or liar.habit.asks
        begun(self, state, *given, prepared=prepared or not asks)

    def collects(self: LedAttempt, sender: PeerId, message: Accepted) -> None:
        accepted(self, sender, message)
        if self._state.me == LIAR and liar.lying.is_set() and self.decision and liar.habit.leads_on(self.decision):
            self.decision, self.stage = None, Stage.ABORTED

    def table(self: RoundState, commit: Commit) -> Table:
        found = tabled(self, commit)
        return liar.habit.sees(found) if self.me == LIAR and liar.lying.is_set() else found

    def promised(
        state: RoundState, proposal: Proposal, attempt: Attempt, promises: Iterable[SignedPromise]
    ) -> tuple[Attempt | None, str] | None:
        return (None, "") if state.me == LIAR else promised_before(state, proposal, attempt, promises)

    def free(state: RoundState, proposal: Proposal, record: str, ready: Readiness | None) -> bool:
        return state.me == LIAR or is_free(state, proposal, record, ready)

    def objects(state: RoundState, proposal: Proposal, *, ready: bool = False) -> str:
        return "" if state.me == LIAR else objection(state, proposal, ready=ready)

    def offered(proposal: Proposal, peer: PeerId, mine: Offer) -> bool:
        return peer == LIAR or as_offered(proposal, peer, mine)

    def merge(self: Exchange, chunk: Chunk) -> memoryview:
        if self._me != LIAR or not liar.lying.is_set() or type(liar.habit).merges is Habit.merges:
            return merged(self, chunk)
        payload = self._merger.merge(chunk)
        liar.habit.merges(np.frombuffer(payload, np.float32))
        liar.lies += 1
        self._merged.stands(chunk)
        return payload

    with (
        patch.object(Exchange, "merge", merge),
        patch.object(LedAttempt, "_propose", proposes),
        patch.object(LedAttempt, "__init__", begins),
        patch.object(LedAttempt, "on_accepted", collects),
        patch.object(RoundState, "table", table),
        patch.object(member, "promised_before", promised),
        patch.object(member, "is_free", free),
        patch.object(member, "objection", objects),
        patch.object(member, "as_offered", offered),
    ):
        yield
