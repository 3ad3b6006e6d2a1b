"""Simulates swarms under faults: ``python -m tests.simulator --schedules 1000``.

Every schedule is drawn from its number, so ``--replay`` shows again exactly what a run found.
"""

from __future__ import annotations

import argparse
import gc
import json
import multiprocessing
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from tests.simulator.liar_mutants import LIAR_MUTANTS
from tests.simulator.mutants import MUTANTS
from tests.simulator.plan import draw, draw_liars
from tests.simulator.runs import Outcome, run, shrink

FOR_A_MUTANT = 10_000
"""Schedules within which a mutant must be caught."""
BATCH = 5
"""Schedules that a process is given at a time: few, so that all processes end at about the same time."""
INTERRUPTED = 130
"""Exit status after Ctrl-C, as of a shell."""
COUNTS = (
    "events",
    "violations",
    "committed_rounds",
    "aborted_attempts",
    "forks",
    "heals",
    "overlapped",
    "coded_rounds",
    "disagreements",
    "proven",
)

Task = TypeVar("Task")
Result = TypeVar("Result")


@dataclass(slots=True)
class Tally:
    """What a batch of schedules came to."""

    counts: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    failed: list[tuple[int, str]] = field(default_factory=list)
    """Seed and violation of the schedules that failed."""

    def add(self, other: Tally) -> None:
        """Add another batch."""
        self.counts.update(other.counts)
        self.faults.update(other.faults)
        self.failed += other.failed


def simulate(schedules: int, seed: int, *, jobs: int = 1, show: int = 3, liars: bool = False) -> dict[str, Any]:
    """Run schedules ``seed`` to ``seed + schedules - 1`` in ``jobs`` processes, which does not change what they do.

    The first ``show`` that fail are told on standard error, with the command that shows one again. With ``liars``,
    members lie in each of them.
    """
    total, started = Tally(), time.perf_counter()
    seeds = range(seed, seed + schedules)
    batches = [(seeds[first : first + BATCH], liars) for first in range(0, schedules, BATCH)]
    with _spread(_run_batch, batches, jobs) as tallies:
        for tally in tallies:
            for number, violation in tally.failed[: max(0, show - len(total.failed))]:
                print(f"schedule {number}: {violation}", file=sys.stderr)
                how = " --liars" * liars
                print(f"  shrink and show it: python -m tests.simulator{how} --replay {number}", file=sys.stderr)
            total.add(tally)
    seconds = max(time.perf_counter() - started, 1e-9)
    return {
        "schedules": schedules,
        "seed": seed,
        **{name: total.counts[name] for name in COUNTS},
        "faults": dict(sorted(total.faults.items())),
        "events_per_second": round(total.counts["events"] / seconds),
        "schedules_per_second": round(schedules / seconds, 1),
    }


def _run_batch(task: tuple[range, bool]) -> Tally:
    seeds, liars = task
    tally = Tally()
    for number in seeds:
        outcome = run((draw_liars if liars else draw)(number))
        tally.faults.update(outcome.faults)
        tally.counts.update(
            events=outcome.events,
            committed_rounds=outcome.committed,
            aborted_attempts=outcome.aborted,
            forks=outcome.forks,
            heals=outcome.heals,
            overlapped=outcome.overlapped,
            coded_rounds=outcome.coded,
            disagreements=outcome.disagreements,
            proven=outcome.proven,
        )
        if outcome.violation:
            tally.counts["violations"] += 1
            tally.failed.append((number, str(outcome.violation)))
    return tally


@contextmanager
def _spread(work: Callable[[Task], Result], tasks: Sequence[Task], jobs: int) -> Iterator[Iterator[Result]]:
    """Results of ``work`` on each task, in their order; processes that are still at work at the end are ended."""
    if min(jobs, len(tasks)) <= 1:
        yield map(work, tasks)
        return
    spawning = multiprocessing.get_context("spawn")
    with spawning.Pool(min(jobs, len(tasks)), initializer=_start_working) as pool:
        yield pool.imap(work, tasks)


def _start_working() -> None:
    """Prepare a process of the pool."""
    # Ctrl-C reaches all processes of a terminal; the first one ends the others.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # What is imported by now lasts: the garbage collector need not go through it at each of its full collections.
    gc.freeze()


def catch(mutant: str, seed: int, schedules: int = FOR_A_MUTANT) -> Outcome | None:
    """The first schedule from ``seed`` on that notices a mutant; None where none of ``schedules`` does.

    A mutant that only a lying member can use is looked for where members lie.
    """
    liars = mutant in LIAR_MUTANTS
    with (LIAR_MUTANTS if liars else MUTANTS).mutated(mutant):
        for number in range(seed, seed + schedules):
            outcome = run((draw_liars if liars else draw)(number))
            if outcome.violation:
                return outcome
    return None


def hunt(seed: int, *, jobs: int = 1, liars: bool = False) -> dict[str, tuple[int, str] | None]:
    """For each mutant, the schedule that notices it and what it says; None where none does."""
    mutants = LIAR_MUTANTS if liars else MUTANTS
    with _spread(_hunt_one, [(mutant, seed) for mutant in mutants], jobs) as found:
        return dict(zip(mutants, found, strict=True))


def _hunt_one(task: tuple[str, int]) -> tuple[int, str] | None:
    outcome = catch(*task)
    return (outcome.schedule.seed, str(outcome.violation)) if outcome else None


def replay(seed: int, *, liars: bool = False) -> Outcome:
    """Show the smallest schedule found that fails like that of ``seed``, and what happens in it."""
    schedule = shrink((draw_liars if liars else draw)(seed))
    print(schedule)
    return run(schedule, tell=print)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the command line asks for; 1 where an invariant was broken, or a mutant was not noticed."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulator", description=__doc__)
    parser.add_argument("--schedules", type=int, default=500, help="how many")
    parser.add_argument("--seed", type=int, default=0, help="number of the first")
    parser.add_argument("--json", action="store_true", help="print nothing but the final line")
    parser.add_argument("--replay", type=int, metavar="SEED", help="show one schedule, shrunk if it fails")
    parser.add_argument("--liars", action="store_true", help="schedules in which members lie")
    parser.add_argument("--mutants", action="store_true", help="check that deliberate mistakes are noticed")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes at work (as many as cores)")
    options = parser.parse_args(arguments)
    try:
        return _do(options)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED


def _do(options: argparse.Namespace) -> int:
    if options.replay is not None:
        violation = replay(options.replay, liars=options.liars).violation
        print(violation or "every invariant holds")
        return int(violation is not None)
    if options.mutants:
        caught = hunt(options.seed, jobs=options.jobs, liars=options.liars)
        if not options.json:
            for name, found in caught.items():
                print(f"{name}: {found[0]} {found[1]}" if found else f"{name}: NOT NOTICED")
        print(json.dumps({"mutants": len(caught), "caught": sum(found is not None for found in caught.values())}))
        return int(None in caught.values())
    result = simulate(options.schedules, options.seed, jobs=options.jobs, liars=options.liars)
    print(json.dumps(result))
    return int(result["violations"] > 0)
