"""A long training under faults, and whether what its processes use grows: ``python -m benchmarks.soak``."""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.fleet.faults import Fault, Kind
from benchmarks.fleet.processes import Fleet, Training, add_options
from benchmarks.fleet.training import Outcome, disturbed, keep_if_odd
from benchmarks.fleet.usage import QUANTITIES, Growth, Sample, growth, sample, within
from benchmarks.harness.command import Benchmark, Record, positive
from benchmarks.harness.figures import listed

SAMPLE_EVERY = 2.0
"""Seconds."""
HIDDEN = 32
MODEL_BYTES = 4 * (784 * HIDDEN + HIDDEN + HIDDEN * 10 + 10)
BOUNDS = {"memory": 10e6, "threads": 4.0, "descriptors": 8.0, "disk": 2.0 * MODEL_BYTES}
"""The most by which the last median may exceed the first one. The disk may have one more checkpoint, being written."""


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--minutes", type=positive, default=20.0, help="(default 20)")
    parser.add_argument("--fault-every", type=positive, default=6.0, help="mean seconds between faults (default 6)")
    add_options(parser, pause=0.015, failure_timeout=2.0)


def _measure(options: argparse.Namespace) -> Record:
    training = Training.of(options, hidden=HIDDEN, settings={"checkpoint_seconds": 1})
    directory = Path(tempfile.mkdtemp(prefix="swarm-soak-"))
    samples: dict[str, list[Sample]] = defaultdict(list)
    due = 0.0

    def watch(fleet: Fleet) -> None:
        nonlocal due
        if (now := time.monotonic()) < due:
            return
        due = now + SAMPLE_EVERY
        for name in training.names:
            if (taken := sample(now, fleet.pid(name), fleet.model_dir(name))) is not None:
                samples[name].append(taken)

    def faults(fleet: Fleet) -> Iterator[Fault]:
        return random_faults(fleet, seconds=60 * options.minutes, every=options.fault_every, seed=options.seed)

    outcome = disturbed(training, directory, faults, watch)
    keep_if_odd(directory, outcome)
    return figures(training, outcome, samples, minutes=options.minutes)


def spared(training: Training) -> tuple[str, ...]:
    """The peers that are never killed: their processes run from the beginning to the end."""
    return training.names[: training.peers // 2]


def random_faults(fleet: Fleet, *, seconds: float, every: float, seed: int) -> Iterator[Fault]:
    """Faults at random times for so many seconds.

    Args:
        fleet: trains meanwhile.
        seconds: after which no fault begins.
        every: mean seconds from when all peers have merged to the next fault.
        seed: decides everything.
    """
    chance = random.Random(seed)  # noqa: S311 - no secret depends on it
    until = time.monotonic() + seconds
    while True:
        fleet.run_for(min(chance.expovariate(1 / every), max(until - time.monotonic(), 0.0)))
        if time.monotonic() >= until:
            return
        kind = chance.choice(list(Kind))
        names = [name for name in fleet.training.names if kind is not Kind.KILL or name not in spared(fleet.training)]
        yield Fault(kind=kind, victim=chance.choice(names), phase=chance.random(), hold=chance.uniform(0.1, 1.0))


def figures(
    training: Training, outcome: Outcome, samples: dict[str, list[Sample]], *, minutes: float
) -> dict[str, Any]:
    """The record. The disk is that of all peers, the rest that of the spared ones."""
    warmup = min(60.0, 12.0 * minutes)
    grown = {name: _of_peer(samples.get(name, ()), warmup, whole=name in spared(training)) for name in training.names}
    gates: dict[str, bool | None] = {"hangs": not outcome.hangs, "diverged": not outcome.diverged}
    for quantity in QUANTITIES:
        found = [each for peer in grown.values() if (each := peer[quantity]) is not None]
        gates[quantity] = all(within(each, BOUNDS[quantity]) for each in found) if found else None
    return {
        "peers": training.peers,
        "seed": training.seed,
        "minutes": minutes,
        "failure_timeout": training.failure_timeout,
        "straggler_timeout": training.settings.get("straggler_timeout", "learned"),
        "model_bytes": MODEL_BYTES,
        "rounds": outcome.rounds,
        "period_seconds": round(outcome.period, 3),
        "faults": dict(Counter(effect.fault.kind.value for effect in outcome.effects)),
        "hangs": len(outcome.hangs),
        "diverged": len(outcome.diverged),
        "lost_rounds": outcome.lost,
        "bounds": BOUNDS,
        "growth": grown,
        "gates": gates,
    }


def _of_peer(samples: Sequence[Sample], warmup: float, *, whole: bool) -> dict[str, Growth | None]:
    """The disk alone, unless one process ran the ``whole`` time: growth means nothing across a restart."""
    wanted = QUANTITIES if whole else ("disk",)
    return {quantity: growth(samples, quantity, warmup) if quantity in wanted else None for quantity in QUANTITIES}


SOAK = Benchmark(name="soak", description=__doc__, add_options=_options, measure=_measure, table=listed)

if __name__ == "__main__":
    SOAK.main()
