"""Bounds how often each source causes work here that costs far more than its message."""

from __future__ import annotations

MOST = 1024
"""Sources that are remembered; the oldest makes room."""


class Allowance:
    """Some times at once, and then once in a while, for each source.

    Args:
        at_once: times that a source may use in a row after a pause.
        every: seconds in which it gets one more.
    """

    def __init__(self, at_once: int, every: float) -> None:
        self._at_once = at_once
        self._every = every
        self._used_until: dict[str, float] = {}
        """When each source will have all its times again."""

    def take(self, source: str, now: float) -> bool:
        """Use up one of the times of ``source``; False if it has none left."""
        until = max(self._used_until.pop(source, now), now) + self._every
        allowed = until <= now + self._at_once * self._every
        if len(self._used_until) >= MOST:
            self._used_until = {each: due for each, due in self._used_until.items() if due > now}
        if len(self._used_until) >= MOST:
            del self._used_until[next(iter(self._used_until))]
        self._used_until[source] = until if allowed else until - self._every
        return allowed
