"""Which way weights travel to each address, and telling the user when that is known or changes."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from swarm.clock import Clock

RETRY_SECONDS = 300.0
"""Until a data channel that could not be had is asked for again."""

_log = logging.getLogger("swarm.transport")


class Ways:
    """What was learned of each address."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._barred: dict[str, float] = {}
        self._told: dict[str, str] = {}

    def barred(self, address: str) -> bool:
        """Whether a data channel to ``address`` was refused or failed a short while ago."""
        with self._lock:
            return self._barred.get(address, float("-inf")) > self._clock.now()

    def opened(self, address: str) -> None:
        """There is a data channel."""
        with self._lock:
            self._barred.pop(address, None)
        self._tell(address, "the data channel")

    def bar(self, address: str, reason: str) -> None:
        """There is none, for a while."""
        with self._lock:
            self._barred[address] = self._clock.now() + RETRY_SECONDS
        self._tell(address, f"gRPC streams: {reason}")

    def forget(self, address: str) -> None:
        """Another peer may be there now, or the same one with other settings."""
        with self._lock:
            self._barred.pop(address, None)
            self._told.pop(address, None)

    def _tell(self, address: str, way: str) -> None:
        with self._lock:
            if self._told.get(address) == way:
                return
            self._told[address] = way
        _log.info("weights to %s travel over %s", address, way)
