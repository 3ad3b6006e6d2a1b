"""What a host is told, and what it tells."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from swarm.simulate.choices import Choice

CALM: Mapping[str, object] = {"failure_timeout": 120.0, "straggler_timeout": 600.0, "checkpoint_seconds": 3600.0}
"""Settings of all peers: they share a machine, so that all are slow, and none may be left out for that."""
AFTER_A_FAILURE = 2.0
"""Seconds in which more peers may fail once one has, before the others are left."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One swarm to simulate."""

    program: str
    """The name of a built-in task, or the path of a script."""
    is_task: bool
    peers: int
    choice: Choice
    directory: str
    """For the files of the peers."""
    arguments: tuple[str, ...] = ()
    """Of the script."""
    data_dir: str | None = None
    partition: str = "dir0.5"
    steps: int = 0
    """Batches of each peer of a task."""
    seed: int = 0
    """Of a task."""

    def text(self) -> str:
        """As JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def read(cls, text: str) -> Plan:
        """The plan in a text that ``text`` made."""
        given: dict[str, Any] = json.loads(text)
        choice = {name: tuple(v) if isinstance(v, list) else v for name, v in given["choice"].items()}
        return cls(**{**given, "arguments": tuple(given["arguments"]), "choice": choice})

    def peer_directory(self, rank: int) -> Path:
        """The directory of one peer: what it printed, and its model."""
        return Path(self.directory, f"peer-{rank}")

    def log(self, rank: int) -> Path:
        """The file with what the peer of a script printed."""
        return self.peer_directory(rank) / "log.txt"


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerEnd:
    """How one peer ended."""

    rank: int
    metrics: Mapping[str, float]
    """The last ones of its callback; of a task also ``accuracy``."""
    failure: str = ""
    """What went wrong, and in which line; empty if it ended well."""


def round_line(number: int) -> str:
    """What a host prints when the first peer has loaded a merged model."""
    return json.dumps({"round": number})


def end_line(end: PeerEnd) -> str:
    """What a host prints when a peer has ended."""
    return json.dumps({"end": asdict(end)})


def cost_line(seconds: float, mebibytes: float | None) -> str:
    """What a host prints last: how long the peers took, and the most memory that they needed together."""
    return json.dumps({"seconds": seconds, "mebibytes": mebibytes})
