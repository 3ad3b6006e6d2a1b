"""How many calls one caller may have open here at a time, so that it cannot use up what all callers share.

A caller is the peer that a certificate names, or an address (of IPv6 a /64) where there are no certificates: the peers
of one machine or behind one router then share a limit, which is therefore larger.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from swarm.errors import LimitError

if TYPE_CHECKING:
    from swarm.clock import Clock

OF_A_PEER = {
    "Deliver": 8,
    "Upload": 32,
    "Fetch": 16,
    "DataChannel": 16,
    "DialBack": 16,
    "Status": 8,
    "Consortium": 8,
    "Reach": 8,
    "Probe": 8,
    "Reverse": 8,
    "Answer": 64,
    "ReachData": 8,
    "Measure": 2,
}
"""A peer needs one stream of messages, and in each session two uploads and one fetch to every other peer.

One that cannot be reached needs a call of ``Answer`` for each call that it is to answer.
"""
OF_AN_ADDRESS = {
    "Deliver": 256,
    "Upload": 256,
    "Fetch": 128,
    "DataChannel": 256,
    "DialBack": 32,
    "Status": 32,
    "Consortium": 32,
    "Reach": 64,
    "Probe": 64,
    "Reverse": 64,
    "Answer": 256,
    "ReachData": 64,
    "Measure": 2,
}
"""64 peers with one address fit in; together less than all calls that are served at once."""
QUIET_SECONDS = 60.0
"""A stream that has sent nothing for so long gives way to a new one where its caller has reached a limit."""


class OpenCall:
    """One call that is being served."""

    def __init__(self, clock: Clock, end: Callable[[], object]) -> None:
        self._clock = clock
        self.end = end
        self.heard = clock.now()
        """When it last sent something."""

    def sends(self) -> None:
        """Something of it has come."""
        self.heard = self._clock.now()


class CallLimits:
    """The calls that are open.

    Args:
        limits: by method, how many calls one caller may have.
        clock: for how long a stream has sent nothing.
    """

    def __init__(self, limits: Mapping[str, int], clock: Clock) -> None:
        self._limits = limits
        self._clock = clock
        self._lock = threading.Lock()
        self._open: dict[tuple[str, str], list[OpenCall]] = {}

    @contextmanager
    def admitted(self, caller: str, method: str, end: Callable[[], object]) -> Iterator[OpenCall]:
        """Count a call of ``caller`` while it is served; ``end`` ends it from any thread.

        Raises:
            LimitError: the caller has as many as it may, and none of them has been quiet for long.
        """
        call, key = OpenCall(self._clock, end), (caller, method)
        self._enter(key, call)
        try:
            yield call
        finally:
            with self._lock:
                calls = self._open.get(key, [])
                if call in calls:
                    calls.remove(call)
                if not calls:
                    self._open.pop(key, None)

    def _enter(self, key: tuple[str, str], call: OpenCall) -> None:
        caller, method = key
        limit = self._limits[method]
        with self._lock:
            calls = self._open.setdefault(key, [])
            quietest = min(calls, key=lambda each: each.heard, default=None)
            if len(calls) < limit:
                quietest = None
            elif quietest is None or quietest.heard > self._clock.now() - QUIET_SECONDS:
                raise LimitError(f"{caller} has {limit} {method} calls open already, which is as many as it may")
            else:
                calls.remove(quietest)
            calls.append(call)
        if quietest is not None:
            quietest.end()
