"""Bounds the messages that wait for the worker, so that no sender fills the memory or keeps others waiting."""

from __future__ import annotations

import threading
from collections import Counter

from swarm.messages import Envelope, Hello

MOST_OF_ONE = 512
"""Upper bound on what waits of one sender, in small messages. The largest greeting takes about half of it."""
MOST = 16 * MOST_OF_ONE
"""The same of all senders together."""
TENSORS = 128
"""Tensors of a greeting that take as much memory as a small message."""


class Inbox:
    """Counts the waiting messages by the address of their sender. Called on any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: Counter[str] = Counter()
        self._total = 0
        self._dropped: Counter[str] = Counter()

    def enter(self, envelope: Envelope) -> bool:
        """A message has arrived; whether there is room for it. If not, it is lost, as on a network."""
        address, cost = envelope.address, _cost(envelope)
        with self._lock:
            if self._waiting[address] + cost > MOST_OF_ONE or self._total + cost > MOST:
                if self._waiting[address]:  # else it is not known whether a message of it will ever be taken
                    self._dropped[address] += 1
                return False
            self._waiting[address] += cost
            self._total += cost
            return True

    def leave(self, envelope: Envelope) -> int:
        """The worker takes a message. Returns how many of the same sender were lost since the last one."""
        address, cost = envelope.address, _cost(envelope)
        with self._lock:
            self._total -= cost
            self._waiting[address] -= cost
            if not self._waiting[address]:
                del self._waiting[address]
            return self._dropped.pop(address, 0)


def _cost(envelope: Envelope) -> int:
    message = envelope.message
    return 1 + len(message.schema) // TENSORS if isinstance(message, Hello) else 1
