"""One line of the result."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Level(enum.StrEnum):
    """How bad it is."""

    OK = "ok"
    WARNING = "warning"
    """A run starts, and something may be missing or go wrong later."""
    FAILURE = "failure"
    """A run would not start, or this peer would not take part."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found, and what to do about it."""

    where: str
    """``here``, or a peer."""
    what: str
    """What was looked at."""
    level: Level
    found: str
    action: str = ""
    """What to do, where it is not all right."""


def ok(where: str, what: str, found: str) -> Finding:
    """It is all right."""
    return Finding(where, what, Level.OK, found)


def warning(where: str, what: str, found: str, action: str) -> Finding:
    """It may go wrong."""
    return Finding(where, what, Level.WARNING, found, action)


def failure(where: str, what: str, found: str, action: str) -> Finding:
    """It goes wrong."""
    return Finding(where, what, Level.FAILURE, found, action)
