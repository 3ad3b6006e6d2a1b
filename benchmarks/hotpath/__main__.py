"""The time that each framework's callback adds to a batch; one process per framework, one after another."""

from __future__ import annotations

import argparse
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import packages_distributions, version
from importlib.util import find_spec
from typing import Any, NamedTuple

from benchmarks.harness.command import Benchmark, Record, integer
from benchmarks.harness.figures import Spread, aligned, shown, spread, verdict
from benchmarks.harness.workers import Workers, user_environment
from benchmarks.hotpath.turns import ARMS, EMPTY, NONE, SWARM, Samples

WARMUP = 3
DEADLINE = 600.0
"""Seconds for one framework."""
GOAL = "pytorch"
"""The framework that the goal is for."""
GOAL_NS = 1000.0
"""The most that Swarm's callback should add to one of its batches, in nanoseconds."""
DEFAULTS = {"OMP_NUM_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "3", "JAX_PLATFORMS": "cpu"}
"""Environment: one thread for arithmetic, and few messages, unless the user's environment says otherwise."""


class Framework(NamedTuple):
    """The module that measures a framework, and what it needs."""

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


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--framework", action="append", choices=FRAMEWORKS, help="may be repeated (default: installed)")
    parser.add_argument("--batches", type=integer(1), default=100, help="batches per epoch (default 100)")
    parser.add_argument("--repeats", type=integer(2), default=30, help="repetitions that count (default 30)")


def _measure(options: argparse.Namespace) -> Record:
    installed = [name for name, framework in FRAMEWORKS.items() if all(map(find_spec, framework.modules))]
    frameworks = {
        name: {"versions": _versions(name), **figures(_samples(name, options.batches, options.repeats))}
        for name in options.framework or installed
    }
    goal = frameworks[GOAL]["swarm"]["median"] if GOAL in frameworks else None
    return {
        "unit": "ns per batch",
        "batches": options.batches,
        "repeats": options.repeats,
        "python": platform.python_version(),
        "goal": {"framework": GOAL, "at_most": GOAL_NS, "met": None if goal is None else goal <= GOAL_NS},
        "frameworks": frameworks,
    }


def _samples(name: str, batches: int, repeats: int) -> Samples:
    framework = FRAMEWORKS[name]
    environment = {**DEFAULTS, **user_environment(), **framework.environment}
    with Workers("benchmarks.hotpath.worker", environment=environment, deadline=DEADLINE) as workers:
        plan = {"batches": batches, "repeats": repeats, "warmup": WARMUP}
        samples: Samples = workers.each([{"loop": framework.loop, "plan": plan}])[0]
        return samples


def _versions(name: str) -> dict[str, str]:
    distributions = packages_distributions()
    return {module: version(distributions[module][0]) for module in FRAMEWORKS[name].modules}


def figures(samples: Samples) -> dict[str, Any]:
    """What the callbacks of one framework add. Differences are taken within each repetition."""
    hooks = samples["hooks"]
    return {
        "swarm": _difference(hooks[SWARM], hooks[NONE]),
        "empty": _difference(hooks[EMPTY], hooks[NONE]),
        "over_empty": _difference(hooks[SWARM], hooks[EMPTY]),
        "batch": {arm: spread(samples["batch"][arm], 1) for arm in ARMS},
    }


def _difference(values: Sequence[float], less: Sequence[float]) -> Spread:
    return spread([value - other for value, other in zip(values, less, strict=True)], 1)


def table(record: Record) -> str:
    """The figures for people."""
    rows = [("framework", "Swarm adds", "an empty one adds", "a batch takes")]
    for name, each in record["frameworks"].items():
        batch = f"{each['batch'][NONE]['median'] / 1e3:.0f} µs"
        rows.append((name, shown(each["swarm"], 0), shown(each["empty"], 0), batch))
    repeated = f"median (quartiles) of {record['repeats']} repetitions of {record['batches']} batches"
    foot, goal = f"ns per batch between merges: {repeated}", record["goal"]
    if goal["met"] is not None:
        foot += f"; goal for {goal['framework']}, at most {goal['at_most']:.0f}: {verdict(goal['met'])}"
    return "\n".join([*aligned(rows), foot])


HOTPATH = Benchmark(name="hotpath", description=__doc__, add_options=_options, measure=_measure, table=table)

if __name__ == "__main__":
    HOTPATH.main()
