"""Collects the events of one session, and writes its report at the end."""

from __future__ import annotations

import logging
import platform
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from swarm.config import SETTINGS
from swarm.plugins import hookimpl
from swarm.records import Outcome
from swarm.report.content import (
    PAGE,
    REPORT,
    Best,
    Figures,
    Happening,
    Report,
    Round,
    Row,
    Setting,
    Site,
    figures,
    to_json,
)
from swarm.report.gain import sentence
from swarm.report.page import page
from swarm.report.totals import Sums
from swarm.storage.files import replace_file
from swarm.text import MAX_SHOWN, printable

if TYPE_CHECKING:
    from pathlib import Path

    from swarm.config import Settings
    from swarm.records import (
        PeerJoined,
        PeerLeft,
        RoundFailed,
        RoundFinished,
        RoundReport,
        SessionClosed,
        SessionStarted,
    )

RECORDER = "report"
"""As a plugin: ``disabled_plugins=["report"]`` leaves the report out."""
MOST_ROUNDS = 2000
"""Rounds kept: of a longer run every second one, then every fourth, and so on."""
MOST_HAPPENINGS = 2000
_FRAMEWORKS = (
    *("numpy", "torch", "lightning", "pytorch_lightning", "keras", "tensorflow", "jax", "transformers", "sklearn"),
)
"""Modules of which the versions are named, where they are loaded."""
_DISTRIBUTIONS = {"sklearn": "scikit-learn", "pytorch_lightning": "pytorch-lightning"}


class Recorder:
    """The report of one run of one session. The session registers it as a plugin; events come on several threads."""

    def __init__(
        self, settings: Settings, logger: logging.Logger, *, validates: bool, clock: Callable[[], float] = time.time
    ) -> None:
        """Nothing has happened yet.

        Args:
            settings: of this peer.
            logger: is told the sentence, and what was not written.
            validates: whether this peer has validation data.
            clock: seconds since 1970.
        """
        self._settings = settings
        self._log = logger
        self._validates = validates
        self._clock = clock
        self._lock = threading.Lock()
        self._started: SessionStarted | None = None
        self._began = 0.0
        self._rounds: list[Round] = []
        self._every = 1
        self._seen = 0
        self._last: Round | None = None
        self._own: Figures | None = None
        self._final: Figures | None = None
        self._happenings: list[Happening] = []
        self._sums = Sums()

    @hookimpl
    def swarm_session_started(self, event: SessionStarted) -> None:
        """The run begins."""
        with self._lock:
            self._started, self._began = event, self._clock()

    @hookimpl
    def swarm_peer_joined(self, event: PeerJoined) -> None:
        """Note who came."""
        self._note("returned" if event.returned else "joined", peer=event.peer.name)

    @hookimpl
    def swarm_peer_left(self, event: PeerLeft) -> None:
        """Note who went."""
        self._note("left" if event.polite else "lost", peer=event.peer, reason=event.reason)

    @hookimpl
    def swarm_round_failed(self, event: RoundFailed) -> None:
        """Note an attempt that was aborted, or keep a sync point without a merge."""
        if event.report is None:
            self._note("failed", round_=event.round, reason=event.reason)
        else:
            with self._lock:
                self._add(event.report, None)

    @hookimpl
    def swarm_round_finished(self, event: RoundFinished) -> None:
        """Keep a round."""
        with self._lock:
            self._add(event.report, figures(event.own_loss, event.own_metrics), event.batch_loss)

    @hookimpl
    def swarm_session_closed(self, event: SessionClosed) -> None:
        """Write the report, and log its sentence."""
        with self._lock:
            report = None if self._started is None else self._report(self._started, event)
        if report is None or event.directory is None:
            return
        self._log.info("%s", printable(report.sentence, MAX_SHOWN))
        if self._write(event.directory / REPORT, to_json(report)) and self._write(event.directory / PAGE, page(report)):
            self._log.info("the report of this run is %s", event.directory / PAGE)

    def _note(self, what: str, *, peer: str = "", round_: int | None = None, reason: str = "") -> None:
        with self._lock:
            if len(self._happenings) < MOST_HAPPENINGS:
                happening = Happening(at=self._clock(), what=what, peer=peer, round=round_, reason=reason)
                self._happenings.append(happening)

    def _add(self, report: RoundReport, own: Figures | None, batch_loss: float | None = None) -> None:
        merged = figures(report.loss, report.metrics) if report.outcome is not Outcome.SKIPPED else None
        entry = Round(
            at=self._clock(),
            round=report.round,
            outcome=report.outcome.value,
            digest=report.digest,
            group=report.group,
            weights=dict(report.weights),
            steps=dict(report.steps),
            refused=dict(report.refused),
            missing=report.missing,
            reason=report.reason,
            seconds=report.seconds,
            stall=report.stall,
            waited=report.waited,
            waited_for=dict.fromkeys(report.waited_for, report.waited),
            exchanged=report.exchanged,
            bytes_sent=report.bytes_sent,
            bytes_received=report.bytes_received,
            interval=report.interval,
            attempts=report.attempts,
            own=own,
            merged=merged,
            batch_loss=batch_loss,
        )
        self._sums.add(entry)
        self._own, self._final = own or self._own, merged or self._final
        if self._seen % self._every == 0:
            self._rounds.append(entry)
        self._seen, self._last = self._seen + 1, entry
        if len(self._rounds) > MOST_ROUNDS:
            self._rounds, self._every = self._rounds[::2], 2 * self._every

    def _report(self, started: SessionStarted, event: SessionClosed) -> Report:
        now = self._clock()
        start = figures(started.loss, started.metrics)
        rounds = self._rounds
        if self._last is not None and rounds[-1:] != [self._last]:
            rounds = [*rounds, self._last]
        totals = self._sums.totals(now - self._began)
        said = sentence(
            closing=event.closing,
            reason=event.reason,
            own=self._own,
            final=self._final,
            totals=totals,
            validates=self._validates,
        )
        sites = self._sums.sites()
        for peer, part in event.sites.items():
            sites[peer] = replace(sites.get(peer, Site()), rounds=part.rounds, steps=part.steps)
        return Report(
            site=started.peer,
            session=event.session,
            sentence=said,
            began=self._began,
            ended=now,
            closing=event.closing,
            reason=event.reason if not event.closing else "",
            digest=event.digest,
            lineage=event.lineage,
            round=event.round,
            all_rounds=event.all_rounds,
            epochs=event.epochs,
            file=event.result.name if event.result else "",
            start=start,
            own=self._own,
            final=self._final,
            best=self._best(event),
            totals=totals,
            every=self._every,
            rounds=tuple(rounds),
            happenings=tuple(self._happenings),
            sites=dict(sorted(sites.items())),
            across={
                peer: Row(own=each.own, closing=each.closing, best=each.best) for peer, each in event.across.items()
            },
            settings=self._shown_settings(started.peer),
            versions=_versions(),
            record=event.record,
            records=event.records,
            link=event.link,
        )

    def _best(self, event: SessionClosed) -> Best | None:
        found = event.best
        if found is None:
            return None
        return Best(
            round=found.round,
            digest=found.digest,
            score=found.score,
            monitor=self._settings.monitor,
            file=event.best_file.name if event.best_file else "",
        )

    def _shown_settings(self, name: str) -> dict[str, Setting]:
        """Every setting, with its value in types that JSON has. A proxy shows no password."""
        settings, origins = replace(self._settings, name=name), self._settings.origins
        return {row: Setting(value=_shown(getattr(settings, row)), origin=origins.get(row, "")) for row in SETTINGS}

    def _write(self, path: Path, content: bytes) -> bool:
        try:
            replace_file(path, content)
        except OSError as error:
            self._log.error("the report was not written to %s: %s", path, error)
            return False
        return True


def _shown(value: object) -> object:
    if isinstance(value, tuple):
        return [_shown(each) for each in value]
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def _versions() -> dict[str, str]:
    """Versions of Swarm, Python, and of the frameworks that are loaded."""
    found = {"python": platform.python_version(), "platform": platform.platform()}
    for name, module in (("swarm", "swarm-learning"), *((each, each) for each in _FRAMEWORKS if each in sys.modules)):
        try:
            found[name] = version(_DISTRIBUTIONS.get(module, module))
        except PackageNotFoundError:
            continue
    return dict(sorted(found.items()))
