"""From samples to one record with its gates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks.fleet.processes import Training
from benchmarks.soak.growth import QUANTITIES, Growth, bounds, growth, within
from benchmarks.soak.run import Soaked
from benchmarks.soak.samples import Sample


def record(training: Training, soaked: Soaked, *, minutes: float, model_bytes: int, spared: int) -> dict[str, Any]:
    """All figures. Memory and the rest are those of the spared peers, which live from end to end; disk is of all."""
    warmup = min(60.0, 12.0 * minutes)
    limits = bounds(model_bytes)
    steady = training.names[:spared]
    grown = {name: _of_peer(soaked.samples.get(name, ()), warmup, whole=name in steady) for name in training.names}
    gates: dict[str, bool | None] = {"hangs": not soaked.hangs, "diverged": not soaked.diverged}
    for quantity in QUANTITIES:
        found = [each for peer in grown.values() if (each := peer[quantity]) is not None]
        gates[quantity] = all(within(each, limits[quantity]) for each in found) if found else None
    return {
        "benchmark": "soak",
        "peers": training.peers,
        "seed": training.seed,
        "minutes": minutes,
        "failure_timeout": training.failure_timeout,
        "straggler_timeout": training.settings.get("straggler_timeout", "learned"),
        "model_bytes": model_bytes,
        "rounds": soaked.rounds,
        "period_seconds": round(soaked.period, 3),
        "faults": dict(soaked.faults),
        "hangs": len(soaked.hangs),
        "diverged": len(soaked.diverged),
        "lost_rounds": soaked.lost,
        "bounds": limits,
        "growth": grown,
        "gates": gates,
    }


def _of_peer(samples: Sequence[Sample], warmup: float, *, whole: bool) -> dict[str, Growth | None]:
    """A process that was started anew has no growth of its own to speak of, but the disk stays."""
    wanted = QUANTITIES if whole else ("disk",)
    return {quantity: growth(samples, quantity, warmup) if quantity in wanted else None for quantity in QUANTITIES}
