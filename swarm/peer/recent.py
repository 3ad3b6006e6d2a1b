"""What happened last at a peer, for whoever asks for its status. Bounded; any thread may read it."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from swarm.certification.statements import record_hash

if TYPE_CHECKING:
    from swarm.records import Commit, PeerId, RoundReport
    from swarm.tensors.model import Evaluation

MOST_ROUNDS = 64
"""Sync points that are kept: whoever asks every few seconds misses none, unless rounds take less than 0.1 s."""
MOST_RECORDS = 16
MOST_WARNINGS = 32


class Recent:
    """The last records of rounds that this peer has, and the last warnings about rounds.

    What it holds is replaced, never changed, so that other threads need no lock.
    """

    def __init__(self) -> None:
        self._records: tuple[dict[str, Any], ...] = ()
        self._warnings: tuple[tuple[float, str], ...] = ()

    def commit(self, commit: Commit) -> None:
        """A round is committed, or this peer has caught up with it."""
        self._records = (*self._records, _record(commit))[-MOST_RECORDS:]

    def warn(self, text: str) -> None:
        """The log has this line, which is printable."""
        self._warnings = (*self._warnings, (time.time(), text))[-MOST_WARNINGS:]

    def describe(self) -> dict[str, Any]:
        """``records`` and ``warnings`` in JSON types, the oldest first."""
        return {
            "records": self._records,
            "warnings": [{"time": at, "text": text} for at, text in self._warnings],
        }


class RecentRounds:
    """The last sync points of one peer, as its training thread reports them."""

    def __init__(self) -> None:
        self._rounds: tuple[tuple[float, RoundReport, float | None, Evaluation | None], ...] = ()

    @property
    def last(self) -> RoundReport | None:
        """The report of the last one."""
        return self._rounds[-1][1] if self._rounds else None

    def add(self, report: RoundReport, loss: float | None, own: Evaluation | None) -> None:
        """A sync point is over; ``loss`` is that of the last batch before it, ``own`` what the own model gave."""
        self._rounds = (*self._rounds, (time.time(), report, loss, own))[-MOST_ROUNDS:]

    def describe(self, me: PeerId) -> list[dict[str, Any]]:
        """Each in JSON types, the oldest first; who took part is in the records."""
        return [_round(me, *each) for each in self._rounds]


def _round(me: PeerId, at: float, report: RoundReport, loss: float | None, own: Evaluation | None) -> dict[str, Any]:
    return {
        "time": at,
        "round": report.round,
        "lineage": report.lineage,
        "outcome": report.outcome.value,
        "reason": report.reason,
        "missing": report.missing,
        "steps": report.steps.get(me),
        "seconds": report.seconds,
        "waited": report.waited,
        "waited_for": report.waited_for,
        "exchanged": report.exchanged,
        "stall": report.stall,
        "bytes_sent": report.bytes_sent,
        "bytes_received": report.bytes_received,
        "loss": report.loss,
        "metrics": report.metrics,
        "own_loss": own.loss if own else None,
        "own_metrics": dict(own.metrics) if own else {},
        "batch_loss": loss,
    }


def _record(commit: Commit) -> dict[str, Any]:
    weights = dict(zip(commit.group, commit.weights, strict=False))
    return {
        "record": record_hash(commit),
        "round": commit.round,
        "lineage": commit.lineage,
        "kind": commit.kind.value,
        "closing": commit.closing,
        "digest": commit.digest,
        "group": commit.group,
        "contributors": {peer: weights.get(peer) for peer in commit.contributors},
        "refused": [asdict(refusal) for refusal in commit.refused],
        "removed": [proof.peer for proof in commit.proofs],
    }
