"""Lets a lying member propose what the offers do not give, and take part in it itself."""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from swarm.consensus import member
from swarm.consensus.attempt import LedAttempt
from swarm.consensus.checking import objection

if TYPE_CHECKING:
    from swarm.consensus.state import RoundState
    from swarm.messages import Proposal
    from tests.simulator.liar import Liar

led_by_liars: WeakKeyDictionary[RoundState, Liar] = WeakKeyDictionary()
"""The state machines of lying members."""

_propose = LedAttempt._propose


def _proposes(self: LedAttempt, proposal: Proposal) -> None:
    liar = led_by_liars.get(self._state)
    _propose(self, liar.proposes(proposal) if liar else proposal)


def _objects(state: RoundState, proposal: Proposal, *, ready: bool = False) -> str:
    return "" if state in led_by_liars else objection(state, proposal, ready=ready)


LedAttempt._propose = _proposes  # type: ignore[method-assign]
setattr(member, "objection", _objects)  # noqa: B010 - the module does not export it
