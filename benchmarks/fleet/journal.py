"""Journals: one line of JSON for each event of a peer. Each process appends to its own file; the fleet reads them.

All times are ``time.monotonic()``, which on Linux is one clock for all processes of a machine.
"""

from __future__ import annotations

import enum
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from swarm import hookimpl
from swarm.config import Settings
from swarm.plugins import PluginRegistry
from swarm.records import RoundFailed, RoundFinished, RoundStarted, SessionClosed
from swarm.session import Session
from swarm.tensors.model import ModelPort
from swarm.tensors.state import ModelState


class What(enum.StrEnum):
    """What happened to a peer."""

    BEGINS = "begins"
    """It is about to call ``on_train_begin``."""
    BEGUN = "begun"
    """``on_train_begin`` has returned."""
    EXCHANGES = "exchanges"
    """It joined an attempt at a round."""
    ROUND = "round"
    """A round has committed, and its model is loaded."""
    FAILED = "failed"
    """An attempt was aborted, or there was no merge at a sync point."""
    CLOSED = "closed"
    """Its session has ended."""
    DONE = "done"
    """``on_train_end`` has returned, and its model was tested."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One line; which fields are set depends on ``what``."""

    peer: str
    pid: int
    at: float
    what: What
    lineage: str = ""
    round: int = -1
    digest: str = ""
    """Of the committed model; at the end of the session, of the peer's model."""
    model: str = ""
    """Digest of the training's weights after a round."""
    group: tuple[str, ...] = ()
    contributors: tuple[str, ...] = ()
    attempts: int = 0
    offered: float = 0.0
    """When the peer reached the sync point of the round."""
    closing: bool = False
    """Whether the swarm's closing model is loaded."""
    reason: str = ""
    accuracy: float = 0.0


class Journal:
    """Appends the events of one process."""

    def __init__(self, path: Path, peer: str, pid: int) -> None:
        self._file = path.open("a", encoding="utf-8", buffering=1)
        self._peer = peer
        self._pid = pid

    def note(self, what: What, **fields: object) -> None:
        """Append an event that happens now; ``fields`` as in ``Event``."""
        event = {"peer": self._peer, "pid": self._pid, "at": time.monotonic(), "what": what, **fields}
        self._file.write(json.dumps(event) + "\n")

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class Observer:
    """A plugin that writes to the journal; ``session`` replaces the callback's factory, so that the plugin is used."""

    def __init__(self, journal: Journal) -> None:
        self.round = -1
        """The number of this peer's last round."""
        self._journal = journal
        self._port: ModelPort | None = None

    def session(self, settings: Settings, port: ModelPort, **options: Any) -> Session:
        """A session with the installed plugins and this one."""
        plugins = PluginRegistry(settings.disabled_plugins, {"benchmark": self})
        self._port = port
        return Session(settings, port, **options, plugins=plugins)

    @hookimpl
    def swarm_round_started(self, event: RoundStarted) -> None:
        """Record the attempt."""
        self._journal.note(What.EXCHANGES, round=event.round, group=event.group)

    @hookimpl
    def swarm_round_finished(self, event: RoundFinished) -> None:
        """Record the commit. This runs in the training thread, so the model does not change meanwhile."""
        now, report = time.monotonic(), event.report
        self._journal.note(
            What.ROUND,
            round=report.round,
            lineage=report.lineage,
            digest=report.digest,
            model=self._model(),
            group=report.group,
            contributors=report.contributors,
            attempts=report.attempts,
            offered=now - report.seconds,
        )
        self.round = report.round

    @hookimpl
    def swarm_round_failed(self, event: RoundFailed) -> None:
        """Record the failure."""
        self._journal.note(What.FAILED, round=event.round, reason=event.reason)

    @hookimpl
    def swarm_session_closed(self, event: SessionClosed) -> None:
        """Record the end."""
        self._journal.note(What.CLOSED, digest=event.digest, closing=event.closing, reason=event.reason)

    def _model(self) -> str:
        if self._port is None:
            return ""
        state = ModelState.empty(self._port.schema())
        self._port.read(state)
        return state.digest()


class Reader:
    """Reads the journals of a directory as they grow."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._offsets: dict[Path, int] = {}

    def read(self) -> list[Event]:
        """The events written since the last call, by time. An incomplete line is read by a later call."""
        events = []
        for path in sorted(self._directory.glob("*.jsonl")):
            with path.open("rb") as file:
                file.seek(self._offsets.get(path, 0))
                whole, _, rest = file.read().rpartition(b"\n")
                self._offsets[path] = file.tell() - len(rest)
            events += [_event(line) for line in whole.splitlines()]
        return sorted(events, key=lambda event: event.at)


def _event(line: bytes) -> Event:
    fields = json.loads(line)
    lists = {name: tuple(value) for name, value in fields.items() if isinstance(value, list)}
    return Event(**{**fields, **lists, "what": What(fields["what"])})
