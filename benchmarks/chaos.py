"""A training whose peers are killed, frozen and disconnected, compared with one without faults.

``python -m benchmarks.chaos``
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.fleet.faults import Effect, Kind, schedule
from benchmarks.fleet.journal import What
from benchmarks.fleet.processes import Training, add_options
from benchmarks.fleet.rounds import mid_round
from benchmarks.fleet.sockets import can_cut
from benchmarks.fleet.training import Outcome, disturbed, keep_if_odd, report, undisturbed
from benchmarks.harness.command import Benchmark, Record, integer
from benchmarks.harness.figures import listed

KILL_SECONDS = 2.0
"""The most time that a killed peer may cost the others."""
BEYOND_TIMEOUT = 1.0
"""Seconds that a frozen peer may cost the others in addition to ``failure_timeout``."""
LEAST_RATIO = 0.98
"""The smallest ratio to the accuracy without faults."""


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--kills", type=integer(0), default=40, help="peers killed and started again (default 40)")
    parser.add_argument("--freezes", type=integer(0), help="peers frozen (default: a quarter of the kills)")
    parser.add_argument("--disconnects", type=integer(0), help="peers disconnected (default: a quarter of the kills)")
    add_options(parser, pause=0.04, failure_timeout=3.0)


def _measure(options: argparse.Namespace) -> Record:
    training = Training.of(options, hidden=128, with_workers=options.peers // 2)
    counts = counts_of(options.kills, options.freezes, options.disconnects)
    if not can_cut(os.getpid()):
        report("this system does not allow to cut connections of other processes: disconnects are left out")
        counts[Kind.DISCONNECT] = 0
    faults = schedule(counts, dict.fromkeys(counts, training.names), options.seed)
    report(f"{len(faults)} faults")
    directory = Path(tempfile.mkdtemp(prefix="swarm-chaos-"))
    faulty = disturbed(training, directory / "faulty", lambda _: faults)
    report(f"the same training without faults, for {faulty.rounds} rounds")
    quiet = undisturbed(replace(training, pause=0.0, with_workers=0), directory / "quiet", faulty.rounds)
    keep_if_odd(directory, faulty, quiet)
    return figures(training, faulty, quiet)


def counts_of(kills: int, freezes: int | None, disconnects: int | None) -> dict[Kind, int]:
    """Faults of each kind; None is a quarter of the kills, rounded up."""
    others = (-(-kills // 4) if count is None else count for count in (freezes, disconnects))
    return dict(zip(Kind, (kills, *others), strict=True))


def figures(training: Training, faulty: Outcome, quiet: Outcome) -> dict[str, Any]:
    """The record; seconds are rounded to milliseconds."""
    effects = faulty.effects
    recovery = {kind.value: _spread(effects, kind, "recovery") for kind in Kind}
    ratio = faulty.accuracy / quiet.accuracy if faulty.accuracy is not None and quiet.accuracy else None
    by_kind = Counter(effect.fault.kind.value for effect in effects)
    aborted = [" aborted: " in event.reason for event in faulty.events if event.what is What.FAILED]
    killed = [effect.fault.victim for effect in effects if effect.fault.kind is Kind.KILL]
    return {
        "peers": training.peers,
        "seed": training.seed,
        "failure_timeout": training.failure_timeout,
        "straggler_timeout": training.settings.get("straggler_timeout", "learned"),
        "kills": by_kind[Kind.KILL.value],
        "by_kind": {kind.value: by_kind[kind.value] for kind in Kind},
        "kills_with_workers": sum(training.workers(name) > 0 for name in killed),
        "mid_round": sum(mid_round(faulty.events, effect.fault.victim, effect.at) for effect in effects),
        "hangs": len(faulty.hangs) + len(quiet.hangs),
        "diverged": len(faulty.diverged) + len(quiet.diverged),
        "lost_rounds": faulty.lost,
        "rounds": faulty.rounds,
        "period_seconds": round(faulty.period, 3),
        "recovery_seconds": recovery,
        "restart_seconds": _spread(effects, Kind.KILL, "absence"),
        "return_seconds": {kind.value: _spread(effects, kind, "absence") for kind in (Kind.FREEZE, Kind.DISCONNECT)},
        "aborted_reports": sum(aborted),
        "skipped_syncs": len(aborted) - sum(aborted),
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


def _spread(effects: Sequence[Effect], kind: Kind, seconds: str) -> dict[str, float] | None:
    """Median, 95 % and maximum of ``recovery`` or ``absence``; None if nothing was measured."""
    values = (getattr(each, seconds) for each in effects if each.fault.kind is kind)
    ranked = sorted(round(value, 3) for value in values if value is not None)
    if not ranked:
        return None
    shares = {"median": 0.5, "p95": 0.95, "max": 1.0}
    return {name: ranked[min(int(share * len(ranked)), len(ranked) - 1)] for name, share in shares.items()}


def _within(spread: dict[str, float] | None, limit: float) -> bool | None:
    """None if nothing was measured."""
    return None if spread is None else spread["max"] <= limit


CHAOS = Benchmark(name="chaos", description=__doc__, add_options=_options, measure=_measure, table=listed)

if __name__ == "__main__":
    CHAOS.main()
