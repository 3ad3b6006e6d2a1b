"""Reports of a session: log lines for the user, events for plugins, metrics for the framework's log."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

from swarm.certification.statements import record_hash
from swarm.logs import event
from swarm.merge.side import StatisticsDistance
from swarm.peer.futures import Answer, AnswerKind
from swarm.records import (
    Commit,
    Outcome,
    PeerId,
    RoundFailed,
    RoundFinished,
    RoundReport,
    SessionClosed,
    SessionStarted,
)
from swarm.session.frozen import FrozenWeights
from swarm.session.participation import UNKNOWN, Attendance, Attended, without
from swarm.tensors.state import TensorSpec, is_float
from swarm.text import MAX_SHOWN, listed, printable

if TYPE_CHECKING:
    from pathlib import Path

    from swarm.clock import Clock
    from swarm.messages import Entry
    from swarm.peer.engine import Engine
    from swarm.peer.status import TrainingStatus
    from swarm.plugins import PluginRegistry
    from swarm.session.across import Across
    from swarm.session.expected import Expected
    from swarm.session.validation import Validation
    from swarm.storage.ledger import Head


FAR = 0.5
"""Distance of a site's statistics from the swarm's, in standard deviations, from which on one set fits no site well."""
NOBODY = (
    "no peer that trains contributes to it, so nothing is merged and each peer keeps its own steps; "
    "a peer contributes if its node_weightage is above 0 and it holds no NaN"
)
"""Why a committed round changes no weights."""
UNEQUAL = 2
"""Times as many steps as another peer, at which the line of a round says so."""
LEAST_WAIT = 0.005
"""Seconds from which on the line of a round says how long, and for whom, this peer waited: less would be shown as 0."""
ALL_TRAINED = "no new steps: all peers have trained their own epochs"
"""The same, where those that have trained on for others stop."""
NOTHING_NEW = "no new contributions: the last merged model is the closing one"
TOLD_SINGLY = 4
"""So many sync points in a row that are skipped for one reason are told one by one."""


class Timing:
    """Measures a sync point from start to end; the training may continue in between."""

    def __init__(self, traffic: tuple[int, int], clock: Clock) -> None:
        """Start now, with the training stopped. ``traffic``: bytes sent and received by now."""
        self._clock = clock
        self.traffic = traffic
        self.seconds = 0.0
        """From the start to the end."""
        self.stall = 0.0
        """Of these, seconds in which the training was stopped."""
        self._started = self._halted = self._clock.now()

    def go_on(self) -> None:
        """The training continues."""
        self.stall += self._clock.now() - self._halted

    def halt(self) -> None:
        """The training stops again."""
        self._halted = self._clock.now()

    def end(self) -> None:
        """The sync point is over; the training was stopped until now."""
        now = self._clock.now()
        self.seconds = now - self._started
        self.stall += now - self._halted


class Reporter:
    """Counts the rounds of a run, and reports them with what the validation gave."""

    def __init__(
        self,
        session: str,
        *,
        validation: Validation,
        training: TrainingStatus,
        plugins: PluginRegistry,
        logger: logging.Logger,
        keeps_statistics: bool,
        across: Across,
    ) -> None:
        """Nothing is reported yet.

        Args:
            session: its name.
            validation: of the merged model, and of this peer's own one.
            training: what ``swarm status`` shows.
            plugins: those of the session.
            logger: where it reports.
            keeps_statistics: whether this site keeps its own statistics of normalization layers.
            across: collects what other sites tell of the models.
        """
        self.group: tuple[PeerId, ...] = ()
        """The members of the last round."""
        self.rounds = 0
        """Rounds that this peer has merged."""
        self._session = session
        self._validation = validation
        self._training = training
        self._plugins = plugins
        self._log = logger
        self._keeps_statistics = keeps_statistics
        self._seconds = self._stall = 0.0
        self._odd: tuple[str, ...] = ()
        self._distance: StatisticsDistance | None = None
        self._told_distance = False
        self._skipped = ""
        """Why the last sync point was skipped; empty after one that was not."""
        self._repeated = 0
        """How many more were skipped for the same reason."""
        self._frozen = FrozenWeights(logger)
        self._attendance = Attendance()
        self._across = across

    def expect(self, expected: Expected) -> None:
        """Whom the lines of rounds name where they do not take part."""
        self._attendance.expected = expected

    def began(self, kind: AnswerKind, commit: Commit, replaced: Sequence[TensorSpec]) -> None:
        """This peer has joined and loaded the model of ``commit``; the tensors ``replaced`` differed here before."""
        self.group = commit.group
        self._attendance.add(commit, ())
        self._log.info("%s", _beginning(kind, commit))
        if replaced:
            # Floats often start at random. An integer that differs may be the number of the site, except after
            # training: then all state differs.
            founding = kind is AnswerKind.MERGED and commit.round == 0
            odd = founding and any(not is_float(spec.dtype) for spec in replaced)
            self._log.log(
                logging.WARNING if odd else logging.INFO,
                "tensors that differed here now hold the values that the swarm shares: %s;"
                " name in `local` those that each site should keep for itself",
                listed([spec.name for spec in replaced]),
            )

    def left_out(self, odd: tuple[str, ...]) -> None:
        """These tensors hold NaN or infinity, so that this peer cannot contribute; empty if it can."""
        if odd and odd != self._odd:
            self._log.warning(
                "NaN or infinity here in %s: this peer's contribution is left out, and its steps are discarded if the"
                " swarm has a merged model; name in `local` a tensor that may hold them",
                listed(odd),
            )
        self._odd = odd

    def compared(self, distance: StatisticsDistance | None) -> None:
        """How far the statistics of this site's normalization layers are from the swarm's; None without such layers."""
        self._distance = distance
        if distance is None or distance.value < FAR or self._told_distance:
            return
        self._told_distance = True
        what = "the statistics of %s are %.2f standard deviations from those of the swarm: the data of the sites differ"
        advice = (
            "in scale or kind, and the swarm's statistics, which swarm-final.safetensors holds, fit no site well; this "
            "site keeps its own (see docs/choosing.md)"
            if self._keeps_statistics
            else 'in scale or kind, and the merged model may be worse here than a model trained alone; normalization="'
            'silobn" keeps the statistics of each site, GroupNorm needs none (see docs/choosing.md)'
        )
        level = logging.INFO if self._keeps_statistics else logging.WARNING
        self._log.log(level, f"{what} {advice}", distance.layer, distance.value)

    def settled(self, engine: Engine, answer: Answer, timing: Timing) -> RoundReport:
        """A sync point is over."""
        merged = answer.commit if answer.model else None
        coming = engine.commit.round + 1 if engine.commit else 0
        if merged:
            self._attendance.add(merged, answer.entries)
            self._across.add(merged, answer.offered)
        news = merged is not None and not answer.idle
        trained = merged is not None and merged.done
        evaluation = self._validation.merged
        report = RoundReport(
            outcome=Outcome.CLOSED if answer.closing else Outcome.MERGED if news else Outcome.SKIPPED,
            round=merged.round if merged else coming,
            lineage=merged.lineage if merged else "",
            digest=merged.digest if merged else "",
            group=merged.group if merged else (),
            contributors=merged.contributors if merged else (),
            weights=_weights(merged) if merged else {},
            refused={each.peer: each.reason for each in merged.refused} if merged else {},
            missing=tuple(sorted({*self.group} - {*merged.group})) if merged else (),
            away=dict(self._attendance.away),
            steps=_steps(merged, answer.entries) if merged else {},
            seconds=timing.seconds,
            waited=answer.wait.seconds,
            waited_for=answer.wait.peers,
            exchanged=answer.exchanged,
            stall=timing.stall,
            bytes_sent=engine.traffic[0] - timing.traffic[0],
            bytes_received=engine.traffic[1] - timing.traffic[1],
            interval=engine.commit.sync.interval if engine.commit else 0,
            attempts=answer.attempts,
            reason=(ALL_TRAINED if trained else NOBODY) if answer.idle else answer.reason,
            loss=evaluation.loss if evaluation else None,
            metrics=dict(evaluation.metrics) if evaluation else {},
            statistics_distance=self._distance.value if self._distance and merged else None,
        )
        if answer.kind is AnswerKind.MERGED and not answer.idle:
            self.rounds += 1
        self._training.settled(report, self._validation.own)
        if report.reason == ALL_TRAINED:
            self._log.info("round %d: %s", report.round, report.reason)
        elif report.outcome is Outcome.SKIPPED:
            failed = RoundFailed(session=self._session, round=report.round, reason=report.reason, report=report)
            self._say_skipped(report, failed)
            self._plugins.round_failed(failed)
        else:
            self._finished(report, engine.met)
        if merged:
            self._frozen.look(merged.round, answer.entries, merged.contributors)
            self.group = merged.group
        self._skipped = report.reason if report.outcome is Outcome.SKIPPED else ""
        self._validation.merged_own()
        return report

    def _say_skipped(self, report: RoundReport, failed: RoundFailed) -> None:
        if report.reason == self._skipped:
            self._repeated += 1
            # A peer that is left alone may skip many in a second: 1, 2, 3, 4, 8, 16, ... are enough to read.
            told = self._repeated < TOLD_SINGLY or self._repeated.bit_count() == 1
            times = "" if self._repeated < TOLD_SINGLY else f", {self._repeated} times in a row"
            level = logging.INFO if told else logging.DEBUG
            self._log.log(level, "round %d skipped, as before%s", report.round, times, extra=event(failed))
        else:
            self._repeated = 0
            reason = printable(report.reason, MAX_SHOWN)
            self._log.warning("round %d skipped: %s", report.round, reason, extra=event(failed))

    def _finished(self, report: RoundReport, live: Collection[PeerId]) -> None:
        self._seconds, self._stall = report.seconds, report.stall
        own = self._validation.own
        finished = RoundFinished(
            session=self._session,
            report=report,
            own_loss=own.loss if own else None,
            own_metrics=dict(own.metrics) if own else {},
            batch_loss=self._training.loss,
        )
        if report.missing:
            missing = ", ".join(f"{peer} (late)" if peer in live else peer for peer in report.missing)
            text = "round %d went ahead with fewer peers; missing: %s"
            self._log.warning(text, report.round, printable(missing, MAX_SHOWN))
        self._log.info(
            "round %d%s: %d peers%s, %s%s, %.2f s%s%s%s",
            report.round,
            " (closing)" if report.outcome is Outcome.CLOSED else "",
            len(report.group),
            without(report.away, report.missing),
            f"{len(report.contributors)} contributed" if report.contributors else NOTHING_NEW,
            _unequal(report.steps),
            report.seconds,
            _split(report),
            f", training stood still for {report.stall:.2f} s" if report.stall < report.seconds else "",
            f", validation loss {report.loss:.4f}" if report.loss is not None else "",
            extra=event(finished),
        )
        self._plugins.round_finished(finished)

    @property
    def steps(self) -> Mapping[PeerId, int]:
        """Merged batches of each site, in the rounds that this peer was in."""
        return self._attendance.steps

    def started(self, peer: PeerId, commit: Commit | None) -> None:
        """The training of this peer, of this name in the session, begins from the model of ``commit``."""
        found = self._validation.merged
        self._plugins.session_started(
            SessionStarted(
                session=self._session,
                peer=peer,
                round=commit.round if commit else 0,
                loss=found.loss if found else None,
                metrics=dict(found.metrics) if found else {},
            )
        )

    def closed(
        self,
        *,
        digest: str = "",
        closing: bool = False,
        reason: str,
        attended: Attended = UNKNOWN,
        commit: Commit | None = None,
        head: Head | None = None,
        directory: Path | None = None,
        result: Path | None = None,
        best_file: Path | None = None,
    ) -> None:
        """The session is over for this peer.

        Args:
            digest: of the model that it ends with.
            closing: whether that is the closing model.
            reason: why not, if so.
            attended: which sites took part in which rounds.
            commit: the last one applied here.
            head: how far the ledger on disk goes.
            directory: where the files of this run are.
            result: the file of the model that it ends with.
            best_file: that of the best model.
        """
        progress = self._training.progress
        closed = SessionClosed(
            session=self._session,
            rounds=self.rounds,
            digest=digest,
            closing=closing,
            reason=reason,
            all_rounds=attended.rounds,
            epochs=progress.epochs if progress else 0,
            sites=dict(attended.sites),
            lineage=commit.lineage if commit else "",
            round=commit.round if commit else 0,
            record=record_hash(commit) if commit else "",
            records=head.count if head else None,
            link=head.link if head else "",
            directory=directory,
            result=result,
            best=commit.best if commit else None,
            best_file=best_file,
            across=dict(sorted(self._across.sites.items())),
        )
        why = f" ({printable(reason, MAX_SHOWN)})" if reason and not closing else ""
        level = logging.INFO if self.group else logging.DEBUG  # where the start failed, its error was logged
        text = "session %s is over here after %d rounds%s"
        self._log.log(level, text, self._session, self.rounds, why, extra=event(closed))
        self._plugins.session_closed(closed)

    def metrics(self, engine: Engine | None) -> dict[str, float]:
        """Metrics so far; their names start with ``swarm_``."""
        sent = engine.traffic[0] if engine else 0
        metrics = {"swarm_rounds": float(self.rounds), "swarm_bytes_sent": float(sent)}
        if engine and engine.commit:
            metrics["swarm_sync_interval"] = float(engine.commit.sync.interval)
            metrics["swarm_peers"] = float(len(self.group))
        if self.rounds:
            metrics["swarm_round_seconds"] = self._seconds
            metrics["swarm_stall_seconds"] = self._stall
        if self._distance:
            metrics["swarm_statistics_distance"] = self._distance.value
        if evaluation := self._validation.merged:
            metrics["swarm_val_loss"] = evaluation.loss
            metrics.update({f"swarm_val_{name}": value for name, value in evaluation.metrics.items()})
        return metrics


def _weights(commit: Commit) -> dict[PeerId, int]:
    """The weight of each contributor."""
    given = dict(zip(commit.group, commit.weights, strict=False))
    return {peer: given[peer] for peer in commit.contributors if peer in given}


def _steps(commit: Commit, entries: Sequence[Entry]) -> dict[PeerId, int]:
    """Steps of each contributor since its last merge; empty if the proposal did not name them."""
    contributors = {*commit.contributors}
    steps = {entry.peer: entry.steps for entry in entries if entry.peer in contributors}
    return steps if any(steps.values()) else {}


def _split(report: RoundReport) -> str:
    """The phrase that splits the seconds of a round, where this peer waited for others; empty if it did not."""
    if not report.waited_for or report.waited < LEAST_WAIT:
        return ""
    merging = max(report.seconds - report.waited, 0.0)
    whom = printable(listed(report.waited_for), MAX_SHOWN)
    return f" ({report.waited:.2f} s waiting for {whom}, {merging:.2f} s merging)"


def _unequal(steps: Mapping[PeerId, int]) -> str:
    """The phrase for peers that made very different numbers of steps; empty if they did not."""
    trained = {peer: count for peer, count in steps.items() if count}
    if not trained:
        return ""
    fewest, most = min(trained, key=trained.__getitem__), max(trained, key=trained.__getitem__)
    if trained[most] <= UNEQUAL * trained[fewest]:
        return ""
    return f" with {trained[fewest]} ({fewest}) to {trained[most]} ({most}) steps"


def _beginning(kind: AnswerKind, commit: Commit) -> str:
    """The log line about the model that a peer starts with."""
    peers = len(commit.members)
    if kind is AnswerKind.HEALED:
        return f"joined a running session of {peers} peers with the model of round {commit.round}"
    if commit.round:
        return f"{peers} peers go on from round {commit.round}"
    return f"{peers} peers start from the same weights"
