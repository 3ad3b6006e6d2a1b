"""Recognises the traceback of Python in what a peer writes to standard error, and where in the user's code it ends."""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass

from swarm.callers import is_library, place

_HEADERS = ("Traceback (most recent call last):", "  + Exception Group Traceback (most recent call last):")
_OF_GROUP = "  | "
"""Before each line of a group of exceptions."""
_BETWEEN = (
    "",
    "The above exception was the direct cause of the following exception:",
    "During handling of the above exception, another exception occurred:",
)
_FRAME = re.compile(r'\s*File "(?P<file>[^"]+)", line (?P<line>\d+)')
_ERROR = re.compile(r"(?P<kind>[A-Za-z_][\w.]*)(?:: (?P<text>.*))?$")
_NO_FILE = re.compile(r"\[Errno 2\] No such file or directory: (?P<file>.+)$")
_QUOTES = "'\""
_MOST_LINES = 2000
_ALONE = ("ModuleNotFoundError", "ImportError", "SystemExit")
"""Errors whose text says enough without their names; so do those of Swarm."""


@dataclass(frozen=True, slots=True)
class Cause:
    """Why a script ended, as its traceback says."""

    text: str
    """The error, in one line."""
    place: str = ""
    """``file:line`` in the user's code; empty if not known."""

    def __str__(self) -> str:
        """Both, as in ``ValueError: label 7 (train.py:22)``."""
        return f"{self.text} ({self.place})" if self.place else self.text


class _At(enum.Enum):
    """Where the last line was."""

    OUTSIDE = enum.auto()
    FRAMES = enum.auto()
    """In a traceback, before the error itself."""
    ERROR = enum.auto()
    """At the error, or between it and one that it has caused."""


class TracebackReader:
    """Reads what one peer writes. Of several tracebacks it keeps the last one, with those that it comes from."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        """The last traceback."""
        self.cause: Cause | None = None
        """What it says, once it is complete."""
        self._at = _At.OUTSIDE
        self._frames: list[tuple[str, str]] = []

    def feed(self, line: str) -> bool:
        """Take the next line; whether it belongs to a traceback."""
        bare = line.removeprefix(_OF_GROUP)
        starts = line in _HEADERS or (self._at is not _At.FRAMES and _FRAME.fullmatch(line) is not None)
        if starts and self._at is _At.OUTSIDE:
            self.lines.clear()
        if starts:
            self._at, self._frames, self.cause = _At.FRAMES, [], None
        elif self._at is _At.FRAMES and not bare.startswith(" "):
            self._at = _At.ERROR
            self.cause = Cause(_described(bare), _place(self._frames))
        elif self._at is _At.ERROR and not (line in _BETWEEN or line.startswith((" ", "\t"))):
            self._at = _At.OUTSIDE
        if self._at is _At.OUTSIDE:
            return False
        if self._at is _At.FRAMES and (found := _FRAME.match(bare)):
            self._frames.append((found["file"], found["line"]))
        if len(self.lines) < _MOST_LINES:
            self.lines.append(line)
        return True


def _described(line: str) -> str:
    """The last line of a traceback, as a reader wants it."""
    found = _ERROR.match(line)
    if found is None:
        return line
    kind, text = found["kind"], found["text"] or ""
    if missing := _NO_FILE.match(text):
        return f"{missing['file'].strip(_QUOTES)} missing"
    name = kind.rpartition(".")[2]
    alone = text and (name in _ALONE or kind.startswith("swarm.errors."))
    return text if alone else f"{name}: {text}" if text else name


def _place(frames: list[tuple[str, str]]) -> str:
    """The innermost of the user's own lines, else of all."""
    own = [frame for frame in frames if not is_library(frame[0])]
    if not (own or frames):
        return ""
    return place(*(own or frames)[-1])
