"""Simulates swarms under faults: ``python -m swarm.testing.simulate --schedules 1000``.

Every schedule is drawn from its number, so ``--replay`` shows again exactly what a run found.
"""

# ruff: noqa: T201  (a command prints)

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

from swarm.testing.simulation.mutants import MUTANTS, mutated
from swarm.testing.simulation.plan import draw
from swarm.testing.simulation.runs import Outcome, run, shrink

FOR_A_MUTANT = 10_000
"""Schedules within which a mutant must be caught."""


def simulate(schedules: int, seed: int, *, show: int = 3) -> dict[str, Any]:
    """Run schedules ``seed`` to ``seed + schedules - 1``; the first ``show`` that fail are told on standard error."""
    totals: Counter[str] = Counter()
    faults: Counter[str] = Counter()
    started = time.process_time()
    for number in range(seed, seed + schedules):
        outcome = run(draw(number))
        faults.update(outcome.faults)
        totals.update(
            events=outcome.events,
            committed_rounds=outcome.committed,
            voided_attempts=outcome.voided,
            forks=outcome.forks,
            heals=outcome.heals,
            violations=outcome.violation is not None,
        )
        if outcome.violation and totals["violations"] <= show:
            print(f"schedule {number}: {outcome.violation}", file=sys.stderr)
    seconds = time.process_time() - started
    counts = {name: totals[name] for name in COUNTS}
    per_second = round(totals["events"] / max(seconds, 1e-9))
    return {"schedules": schedules, "seed": seed, **counts, "faults": dict(faults), "events_per_second": per_second}


COUNTS = ("events", "violations", "committed_rounds", "voided_attempts", "forks", "heals")


def catch(mutant: str, seed: int, schedules: int = FOR_A_MUTANT) -> Outcome | None:
    """The first schedule from ``seed`` on that notices a mutant; None where none of ``schedules`` does."""
    with mutated(mutant):
        for number in range(seed, seed + schedules):
            outcome = run(draw(number))
            if outcome.violation:
                return outcome
    return None


def replay(seed: int) -> Outcome:
    """Show the smallest schedule found that fails like that of ``seed``, and what happens in it."""
    schedule = shrink(draw(seed))
    print(schedule)
    return run(schedule, tell=print)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the command line asks for; 1 where an invariant was broken, or a mutant was not noticed."""
    parser = argparse.ArgumentParser(prog="python -m swarm.testing.simulate", description=__doc__)
    parser.add_argument("--schedules", type=int, default=500, help="how many")
    parser.add_argument("--seed", type=int, default=0, help="number of the first")
    parser.add_argument("--json", action="store_true", help="print nothing but the final line")
    parser.add_argument("--replay", type=int, metavar="SEED", help="show one schedule, shrunk if it fails")
    parser.add_argument("--mutants", action="store_true", help="check that deliberate mistakes are noticed")
    options = parser.parse_args(arguments)
    if options.replay is not None:
        violation = replay(options.replay).violation
        print(violation or "every invariant holds")
        return int(violation is not None)
    if options.mutants:
        caught = {name: catch(name, options.seed) for name in MUTANTS}
        if not options.json:
            for name, outcome in caught.items():
                print(f"{name}: {outcome.schedule.seed} {outcome.violation}" if outcome else f"{name}: NOT NOTICED")
        print(json.dumps({"mutants": len(caught), "caught": sum(outcome is not None for outcome in caught.values())}))
        return int(None in caught.values())
    result = simulate(options.schedules, options.seed)
    print(json.dumps(result))
    return int(result["violations"] > 0)


if __name__ == "__main__":
    sys.exit(main())
