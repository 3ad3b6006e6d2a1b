"""What a line is that a peer writes: of its script, of Swarm's log, or of a traceback."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from swarm.cli.tracebacks import Cause, TracebackReader
from swarm.logs import LogLine, read_line


class Kind(enum.Enum):
    """What a line is."""

    OWN = enum.auto()
    """What the script itself writes, or a library that it uses."""
    LOG = enum.auto()
    TRACEBACK = enum.auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A line that a peer has written."""

    name: str
    rank: int
    text: str
    is_error: bool
    """Whether to standard error."""
    kind: Kind = Kind.OWN
    log: LogLine | None = None
    """What the log says in it."""


class PeerOutput:
    """Reads the lines of one peer, and keeps why its script has ended, if they say so."""

    def __init__(self, name: str, rank: int) -> None:
        self._name = name
        self._rank = rank
        self._traceback = TracebackReader()
        self._error = ""

    def read(self, text: str, *, is_error: bool) -> Line:
        """Take the next line of one of its two outputs."""
        kind, log = Kind.OWN, None
        if is_error:
            log = read_line(text)
            if log:
                kind = Kind.LOG
                self._error = log.text if log.level in {"error", "critical"} else self._error
            elif self._traceback.feed(text):
                kind = Kind.TRACEBACK
        return Line(name=self._name, rank=self._rank, text=text, is_error=is_error, kind=kind, log=log)

    @property
    def cause(self) -> Cause | None:
        """Why the script has ended with an error: its last traceback, else the last error in the log; None if neither.

        A script that goes on after an error may have written one as well.
        """
        return self._traceback.cause or (Cause(self._error) if self._error else None)

    @property
    def traceback(self) -> tuple[str, ...]:
        """The lines of its last traceback."""
        return tuple(self._traceback.lines)
