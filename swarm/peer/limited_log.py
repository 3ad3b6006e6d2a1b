"""Log lines about what other peers send: few, and short."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from swarm.logs import event
from swarm.text import MAX_LINE, printable

if TYPE_CHECKING:
    from swarm.clock import Clock

PAUSE = 60.0
"""Seconds between two lines of one kind about one peer."""
MOST = 1024
"""Pairs of a peer and a kind that are remembered, and so lines in ``PAUSE`` seconds: names may be invented."""


@dataclass(slots=True)
class _Last:
    """The lines of one kind about one peer in a minute."""

    text: str
    at: float
    """When the minute began."""
    written: int = 1
    """Lines since then."""
    dropped: int = 0
    """Lines left out since the last one."""


class LimitedLog:
    """Writes at most one line a minute for each peer and kind, and says how many it left out."""

    def __init__(self, logger: logging.Logger, clock: Clock) -> None:
        self._log = logger
        self._clock = clock
        self._last: dict[tuple[str, str], _Last] = {}

    def log(
        self,
        level: int,
        peer: str,
        kind: str,
        text: str,
        *,
        again: float = PAUSE,
        most: int = 1,
        exc_info: BaseException | None = None,
        told: object = None,
    ) -> None:
        """Write ``text`` about ``peer``, on one line of at most ``MAX_LINE`` characters, if a line is due.

        Args:
            level: as for ``logging``.
            peer: whose message led to the line.
            kind: of line; others do not count.
            text: the line.
            again: seconds after which the same text may be repeated.
            most: lines of this kind in a minute.
            exc_info: an error whose traceback follows.
            told: the event that the line is about, if it is about one.
        """
        if not self._log.isEnabledFor(level):
            return
        now, line = self._clock.now(), printable(text, MAX_LINE)
        last = self._last.get((peer, kind))
        dropped = 0
        if last is None:
            if not self._room(now):
                return
            self._last[peer, kind] = _Last(line, now)
        elif now < last.at + (again if line == last.text else PAUSE) and last.written >= most:
            last.dropped += 1
            return
        else:
            dropped, last.dropped = last.dropped, 0
            over = now >= last.at + PAUSE
            last.text, last.at, last.written = line, now if over else last.at, 1 if over else last.written + 1
        more = f" ({dropped} more such lines were left out)" if dropped else ""
        extra = event(told) if told is not None else None
        self._log.log(level, "%s%s", line, more, exc_info=exc_info, extra=extra)

    def _room(self, now: float) -> bool:
        """Whether one more pair can be remembered. Those that are over are forgotten first."""
        if len(self._last) >= MOST:
            self._last = {key: last for key, last in self._last.items() if now < last.at + PAUSE}
        return len(self._last) < MOST
