"""Tells the log about callers that are not let in: at most once a minute for each, however often they come."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

from swarm.addresses import block_of

if TYPE_CHECKING:
    from swarm.clock import Clock

PAUSE_SECONDS = 60.0
"""Between two lines about one caller."""
MAX_CALLERS = 256
"""About which there are lines within ``PAUSE_SECONDS``; what others do is not told."""

_log = logging.getLogger("swarm.transport")


class Notices:
    """Warnings about callers, bounded in number. A caller is a peer, or an address; all of a /64 of IPv6 are one."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._told: dict[str, float] = {}
        """By caller, when it was told of last; the oldest first."""

    def warn(self, caller: str, text: str) -> None:
        """Log ``text``, which names ``caller``, unless there was a line about that caller a short while ago."""
        now, caller = self._clock.now(), block_of(caller)
        with self._lock:
            while self._told and next(iter(self._told.values())) <= now - PAUSE_SECONDS:
                del self._told[next(iter(self._told))]
            if caller in self._told or len(self._told) >= MAX_CALLERS:
                return
            self._told[caller] = now
        _log.warning("%s", text)
