"""Events of a run, as a session tells them."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from swarm.config import resolve
from swarm.plugins import PluginRegistry
from swarm.records import (
    Outcome,
    Participation,
    PeerInfo,
    PeerJoined,
    PeerLeft,
    RoundFailed,
    RoundFinished,
    RoundReport,
    SessionClosed,
    SessionStarted,
)
from swarm.report import RECORDER, Recorder, Report, read_report

GROUP = ("berlin", "paris")


class Run:
    """The events of a run of paris, and its report."""

    def __init__(self, directory: Path, *, validates: bool, **settings: Any) -> None:
        self.now = 1000.0
        self.lines: list[str] = []
        self.directory = directory
        given = {"name": "paris", "model_dir": directory, **settings}
        self.settings = resolve(given, environment={}, directory=directory).settings
        logger = logging.Logger("report", logging.DEBUG)  # noqa: LOG001 - outside the process's hierarchy
        handler = logging.Handler()
        handler.emit = lambda record: self.lines.append(record.getMessage())  # type: ignore[method-assign]
        logger.addHandler(handler)
        self.plugins = PluginRegistry()
        recorder = Recorder(self.settings, logger, validates=validates, clock=lambda: self.now)
        self.plugins.add(RECORDER, recorder)

    def start(self, loss: float | None = 1.0) -> None:
        self.plugins.session_started(SessionStarted(session="heart", peer="paris", loss=loss))

    def round(self, number: int, own: float | None, merged: float | None, **report: Any) -> None:
        self.now += 10
        content = {
            "outcome": Outcome.MERGED,
            "round": number,
            "digest": f"d{number}",
            "group": GROUP,
            "contributors": GROUP,
            "weights": {"berlin": 1, "paris": 3},
            "steps": {"berlin": 8, "paris": 8},
            "seconds": 2.0,
            "stall": 1.5,
            "bytes_sent": 100,
            "bytes_received": 200,
            "interval": 8,
            "loss": merged,
            **report,
        }
        made = RoundReport(**content)
        if made.outcome is Outcome.SKIPPED:
            failed = RoundFailed(session="heart", round=number, reason=made.reason, report=made)
            self.plugins.round_failed(failed)
        else:
            self.plugins.round_finished(RoundFinished(session="heart", report=made, own_loss=own))

    def skip(self, number: int, reason: str) -> None:
        nobody = {"digest": "", "group": (), "contributors": (), "weights": {}, "steps": {}}
        self.round(number, None, None, outcome=Outcome.SKIPPED, reason=reason, **nobody)

    def meet(self, peer: str, *, returned: bool = False) -> None:
        info = PeerInfo(name=peer, incarnation="1", address="127.0.0.1:1", session="heart")
        self.plugins.peer_joined(PeerJoined(peer=info, returned=returned))

    def lose(self, peer: str, reason: str, *, polite: bool = False) -> None:
        self.plugins.peer_left(PeerLeft(session="heart", peer=peer, reason=reason, polite=polite))

    def abort_attempt(self, number: int, reason: str) -> None:
        self.plugins.round_failed(RoundFailed(session="heart", round=number, reason=reason))

    def close(self, **event: Any) -> None:
        self.now += 10
        content = {
            "session": "heart",
            "rounds": 2,
            "digest": "d2",
            "closing": True,
            "all_rounds": 3,
            "sites": {"berlin": Participation(3, 16), "paris": Participation(2, 16)},
            "lineage": "l1",
            "round": 3,
            "record": "r3",
            "records": 4,
            "link": "l4",
            "directory": self.directory,
            "result": self.directory / "swarm-final.safetensors",
            **event,
        }
        self.plugins.session_closed(SessionClosed(**content))

    @property
    def report(self) -> Report:
        return read_report(self.directory / "swarm-report.json")


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., Run]:
    """Make the run of a site; settings by name."""

    def made(*, validates: bool = True, **settings: Any) -> Run:
        return Run(tmp_path, validates=validates, **settings)

    return made
