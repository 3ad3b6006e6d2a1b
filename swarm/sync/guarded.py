"""Catches errors of a sync policy, so that they do not stop the rounds."""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING

from swarm.limits import MAX_FIGURE
from swarm.records import LONGEST_INTERVAL, SyncState
from swarm.sync.base import SyncPolicy

if TYPE_CHECKING:
    from collections.abc import Sequence


class GuardedPolicy(SyncPolicy):
    """Wraps another policy, possibly of a plugin. If it raises or returns an invalid state, the state does not change.

    The first error is logged. Peers stay in agreement: only the leader of a round calls its policy, and the state is
    part of the commit.
    """

    name = "guarded"

    def __init__(self, policy: SyncPolicy, logger: logging.Logger) -> None:
        """Wrap ``policy``."""
        super().__init__(policy.interval)
        self.signal = policy.signal
        self._policy = policy
        self._log = logger
        self._reported = False

    def start(self) -> SyncState:
        """The state of the wrapped policy before the first round."""
        return self._policy.start()

    def next(self, state: SyncState, signals: Sequence[tuple[int, float]]) -> SyncState:
        """The next state of the wrapped policy, or ``state`` if that is invalid."""
        error: Exception | None = None
        try:
            following = self._policy.next(state, signals)
            usable = _usable(following)
        except Exception as raised:  # noqa: BLE001 - a plugin's code may raise anything
            error, fault = raised, f"raised {type(raised).__name__}: {raised}"
        else:
            if usable:
                return following
            fault = f"gave {following!r}: allowed are an interval of at least 1 and a finite reference or none"
        if not self._reported:
            self._reported = True
            text = "the sync policy %s %s; the interval stays %d, and this is not reported again"
            self._log.error(text, type(self._policy).__name__, fault, state.interval, exc_info=error)
        return state


def _usable(state: object) -> bool:
    if not isinstance(state, SyncState):
        return False
    interval: object = state.interval
    finite = state.reference is None or (math.isfinite(state.reference) and abs(state.reference) <= MAX_FIGURE)
    return isinstance(interval, int) and 1 <= interval <= LONGEST_INTERVAL and finite
