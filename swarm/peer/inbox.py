"""Bounds the messages that wait for the worker, so that no sender fills the memory or keeps others waiting."""

from __future__ import annotations

import threading
from collections import Counter
from operator import attrgetter

from swarm.messages import Envelope, Hello

MOST_OF_ONE = 512
"""Upper bound on what waits of one sender, in small messages. The largest greeting takes about half of it."""
MOST = 16 * MOST_OF_ONE
"""The same of all senders together."""
TENSORS = 128
"""Tensors of a greeting that take as much memory as a small message."""


class Inbox:
    """Counts the waiting messages of each sender. Called on any thread.

    Args:
        identified: whether names of senders are verified; else a sender is an address.
    """

    def __init__(self, *, identified: bool = False) -> None:
        self._source = attrgetter("sender" if identified else "address")
        self._lock = threading.Lock()
        self._waiting: dict[str, int] = {}
        self._total = 0
        self._dropped: Counter[str] = Counter()

    def enter(self, envelope: Envelope) -> bool:
        """A message has arrived; whether there is room for it. If not, it is lost, as on a network."""
        source, cost = self._source(envelope), _cost(envelope)
        with self._lock:
            waiting = self._waiting.get(source, 0)
            if waiting + cost > MOST_OF_ONE or self._total + cost > MOST:
                if waiting:  # else it is not known whether a message of it will ever be taken
                    self._dropped[source] += 1
                return False
            self._waiting[source] = waiting + cost
            self._total += cost
            return True

    def leave(self, envelope: Envelope) -> int:
        """The worker takes a message. Returns how many of the same sender were lost since the last one."""
        source, cost = self._source(envelope), _cost(envelope)
        with self._lock:
            self._total -= cost
            left = self._waiting.pop(source) - cost
            if left:
                self._waiting[source] = left
            return self._dropped.pop(source, 0)


def _cost(envelope: Envelope) -> int:
    message = envelope.message
    return 1 + len(message.schema) // TENSORS if isinstance(message, Hello) else 1
