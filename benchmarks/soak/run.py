"""A long training under faults, and what its processes take up meanwhile."""

from __future__ import annotations

import random
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.chaos.run import CLOSING
from benchmarks.fleet.faults import Fault, Kind, settled, strike
from benchmarks.fleet.processes import Fleet, Training
from benchmarks.fleet.rounds import diverged, last_round, lost, period
from benchmarks.soak.samples import Sample, sample

SAMPLE_EVERY = 2.0
"""Seconds."""


@dataclass(slots=True)
class Soaked:
    """What came of it."""

    samples: dict[str, list[Sample]]
    """By peer."""
    faults: Counter[str] = field(default_factory=Counter)
    hangs: list[str] = field(default_factory=list)
    diverged: list[str] = field(default_factory=list)
    lost: int = 0
    rounds: int = 0
    period: float = 0.0


def soak(
    training: Training, directory: Path, *, seconds: float, fault_every: float, spared: int, tell: Callable[[str], None]
) -> Soaked:
    """Train for so long while faults come at random, one at a time.

    Args:
        training: what is trained.
        directory: for everything that it writes.
        seconds: to train.
        fault_every: mean of the seconds from when all train together to the next fault.
        spared: peers, from the first, that are frozen and cut off but never killed: they live from end to end.
        tell: told of what goes wrong.
    """
    chance = random.Random(training.seed)  # noqa: S311
    samples: dict[str, list[Sample]] = defaultdict(list)
    outcome = Soaked(samples)
    due = 0.0

    def watch() -> None:
        nonlocal due
        if (now := time.monotonic()) >= due:
            due = now + SAMPLE_EVERY
            _sample(fleet, now, samples)

    with Fleet(training, directory, watch=watch) as fleet:
        fleet.start(*training.names)
        going, until = settled(fleet), time.monotonic() + seconds
        while going and time.monotonic() < until:
            fleet.let(min(chance.expovariate(1 / fault_every), max(until - time.monotonic(), 0.0)))
            if time.monotonic() >= until:
                break
            fault = _fault(chance, training.names, spared)
            outcome.faults[fault.kind.value] += 1
            if (struck := strike(fleet, fault, period(fleet.events[-100:]))).hung:
                outcome.hangs.append(str(struck))
                tell(f"hung: {struck}")
                fleet.start(fault.victim)
            going = settled(fleet)
        fleet.stop_after(last_round(fleet.events) + 2)
        if not going or not fleet.wait(fleet.ended, CLOSING):
            outcome.hangs.append(f"not all peers merge, or finish, any more; exit codes {fleet.exit_codes()}")
        outcome.diverged, outcome.lost = diverged(fleet.events), len(lost(fleet.events))
        outcome.rounds, outcome.period = last_round(fleet.events), period(fleet.events)
    return outcome


def _fault(chance: random.Random, names: tuple[str, ...], spared: int) -> Fault:
    kind = chance.choice(list(Kind))
    victims = names[spared:] if kind is Kind.KILL else names
    return Fault(kind=kind, victim=chance.choice(victims), phase=chance.random(), hold=chance.uniform(0.1, 1.0))


def _sample(fleet: Fleet, now: float, samples: dict[str, list[Sample]]) -> None:
    for name in fleet.training.names:
        if (taken := sample(now, fleet.pid(name), fleet.model_dir(name))) is not None:
            samples[name].append(taken)
