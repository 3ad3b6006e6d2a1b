"""The command: one process per framework, one after another, then a table or a line of JSON."""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from importlib.metadata import packages_distributions, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.hotpath.summary import GOAL, GOAL_NS, Summary, summarise, table
from benchmarks.hotpath.turns import Plan

ROOT = Path(__file__).parents[2]
WARMUP = 3
DEADLINE = 600.0
"""Seconds for one framework."""


class Framework(NamedTuple):
    """What measures a framework, and what it needs."""

    loop: str
    modules: tuple[str, ...]
    environment: Mapping[str, str] = {}


FRAMEWORKS: Mapping[str, Framework] = {
    "pytorch": Framework("pytorch_loop", ("torch",)),
    **{
        f"keras-{backend}": Framework("keras_loop", ("keras", backend), {"KERAS_BACKEND": backend})
        for backend in ("tensorflow", "torch", "jax")
    },
    "lightning": Framework("lightning_loop", ("lightning", "torch")),
}


def main() -> None:
    """Measure what is asked for; the last line of ``--json`` holds every number."""
    arguments = _arguments()
    plan = Plan(arguments.batches, arguments.repeats, WARMUP)
    results = {name: _measured(name, plan) for name in arguments.framework or _installed()}
    if arguments.json:
        print(json.dumps(_record(plan, results)))
    else:
        print(table(plan, results))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.hotpath", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one line of JSON instead of a table")
    parser.add_argument("--framework", action="append", choices=FRAMEWORKS, help="may be repeated (default: installed)")
    parser.add_argument("--batches", type=_number(1), default=100, help="batches per epoch (default 100)")
    parser.add_argument("--repeats", type=_number(2), default=30, help="repetitions that count (default 30)")
    return parser.parse_args()


def _number(least: int) -> Any:
    def number(text: str) -> int:
        if int(text) < least:
            raise argparse.ArgumentTypeError(f"{text} is not allowed: allowed is an integer of at least {least}")
        return int(text)

    return number


def _installed() -> list[str]:
    return [name for name, framework in FRAMEWORKS.items() if all(find_spec(each) for each in framework.modules)]


def _measured(name: str, plan: Plan) -> Summary:
    framework = FRAMEWORKS[name]
    numbers = map(str, (plan.batches, plan.repeats, plan.warmup))
    done = subprocess.run(  # noqa: S603  (this very package)
        [sys.executable, "-m", "benchmarks.hotpath.worker", framework.loop, *numbers],
        cwd=ROOT,
        env={**_environment(), **framework.environment},
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )
    if done.returncode:
        sys.exit(f"{name} could not be measured:\n{done.stderr}")
    return summarise(json.loads(done.stdout.splitlines()[-1]))


def _environment() -> dict[str, str]:
    """The user's, without Swarm's settings, quiet, and with one thread for arithmetic."""
    given = {name: value for name, value in os.environ.items() if not name.startswith("SWARM_")}
    return {"OMP_NUM_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "3", "JAX_PLATFORMS": "cpu"} | given


def _record(plan: Plan, results: Mapping[str, Summary]) -> dict[str, Any]:
    goal = results[GOAL]["swarm"]["median"] if GOAL in results else None
    return {
        "benchmark": "hotpath",
        "unit": "ns per batch",
        "batches": plan.batches,
        "repeats": plan.repeats,
        "python": platform.python_version(),
        "goal": {"framework": GOAL, "at_most": GOAL_NS, "met": None if goal is None else goal <= GOAL_NS},
        "frameworks": {name: {"versions": _versions(name), **summary} for name, summary in results.items()},
    }


def _versions(name: str) -> dict[str, str]:
    distributions = packages_distributions()
    return {module: version(distributions[module][0]) for module in FRAMEWORKS[name].modules}


if __name__ == "__main__":
    main()
