"""From outcomes to one record with its gates."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from benchmarks.chaos.run import Outcome
from benchmarks.fleet.faults import Kind, Struck
from benchmarks.fleet.processes import Training

KILL_SECONDS = 2.0
"""The most that a killed peer may cost the others."""
BEYOND_TIMEOUT = 1.0
"""Seconds that a frozen peer may cost the others beyond ``failure_timeout``."""
LEAST_RATIO = 0.98
"""Of the accuracy without faults."""


def record(training: Training, faulty: Outcome, quiet: Outcome) -> dict[str, Any]:
    """All figures; seconds are rounded to milliseconds."""
    recovery = {kind.value: _spread(_recoveries(faulty.struck, kind)) for kind in Kind}
    ratio = faulty.accuracy / quiet.accuracy if faulty.accuracy is not None and quiet.accuracy else None
    by_kind = Counter(struck.fault.kind.value for struck in faulty.struck)
    return {
        "benchmark": "chaos",
        "peers": training.peers,
        "seed": training.seed,
        "failure_timeout": training.failure_timeout,
        "straggler_timeout": training.settings.get("straggler_timeout", "learned"),
        "kills": by_kind[Kind.KILL.value],
        "by_kind": {kind.value: by_kind[kind.value] for kind in Kind},
        "kills_with_workers": sum(_with_workers(training, struck) for struck in faulty.struck),
        "mid_round": faulty.mid_round,
        "hangs": len(faulty.hangs) + len(quiet.hangs),
        "diverged": len(faulty.diverged) + len(quiet.diverged),
        "lost_rounds": faulty.lost,
        "rounds": faulty.rounds,
        "period_seconds": round(faulty.period, 3),
        "recovery_seconds": recovery,
        "restart_seconds": _spread(_returns(faulty.struck, Kind.KILL)),
        "return_seconds": {
            kind.value: _spread(_returns(faulty.struck, kind)) for kind in (Kind.FREEZE, Kind.DISCONNECT)
        },
        "aborted_reports": faulty.aborted,
        "skipped_syncs": faulty.skipped,
        "errors": len(faulty.errors) + len(quiet.errors),
        "accuracy": faulty.accuracy,
        "undisturbed_accuracy": quiet.accuracy,
        "ratio": None if ratio is None else round(ratio, 4),
        "gates": {
            "hangs": not faulty.hangs and not quiet.hangs,
            "diverged": not faulty.diverged and not quiet.diverged,
            "lost_rounds": faulty.lost == 0,
            "kill_recovery": _within(recovery[Kind.KILL.value], KILL_SECONDS),
            "freeze_recovery": _within(recovery[Kind.FREEZE.value], training.failure_timeout + BEYOND_TIMEOUT),
            "accuracy": ratio is not None and ratio >= LEAST_RATIO,
        },
    }


def _recoveries(struck: Sequence[Struck], kind: Kind) -> list[float]:
    return [each.recovery for each in struck if each.fault.kind is kind and each.recovery is not None]


def _returns(struck: Sequence[Struck], kind: Kind) -> list[float]:
    return [
        each.contributed - each.back
        for each in struck
        if each.fault.kind is kind and each.contributed is not None and each.back is not None
    ]


def _with_workers(training: Training, struck: Struck) -> bool:
    return struck.fault.kind is Kind.KILL and training.workers(struck.fault.victim) > 0


def _spread(values: Sequence[float]) -> dict[str, float] | None:
    """None where nothing was measured."""
    if not values:
        return None
    ranked = sorted(values)

    def at(share: float) -> float:
        return round(ranked[min(int(share * len(ranked)), len(ranked) - 1)], 3)

    return {"median": at(0.5), "p95": at(0.95), "max": at(1.0)}


def _within(spread: dict[str, float] | None, limit: float) -> bool | None:
    """None where nothing was measured."""
    return None if spread is None else spread["max"] <= limit
