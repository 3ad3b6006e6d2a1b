"""How long each merge rule takes, on one thread: ``python -m benchmarks.rules``.

Contributions are merged as by the owners of all slices: chunk by chunk, into the array of the result; a GRAM rule first
adds up the inner products of all chunks. The rules take turns, and ratios are taken within each turn. Times are the
process's CPU time, so that other work on the machine counts less.
"""

from __future__ import annotations

import argparse
import os
import platform
from collections.abc import Sequence
from statistics import median
from time import process_time

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # before NumPy loads it: one core is measured

import numpy as np
from numpy.typing import NDArray

from benchmarks.harness.command import Benchmark, Record, integer
from benchmarks.harness.figures import aligned, in_turn, verdict
from swarm.exchange.layout import CHUNK_BYTES
from swarm.merge import BUILTIN_RULES, MergeRule, Scope
from swarm.merge.gram import combine, partial_gram

GOALS = {"coordmedian": 8.0, "geomedian": 3.0}
"""The largest ratio to the time of the mean."""
BASE = "mean"
Floats = NDArray[np.float32]


def contributions(peers: int, mib: int) -> list[Floats]:
    """The same model for each peer, plus a deviation of its own: for the peers, and last for the reference model."""
    rng = np.random.default_rng(0)
    model = rng.standard_normal(mib * 2**20 // 4, np.float32)
    return [model + np.float32(0.01) * rng.standard_normal(model.size, np.float32) for _ in range(peers + 1)]


def merge(rule: MergeRule, arrays: Sequence[Floats], weights: Sequence[int], result: Floats) -> None:
    """Merge whole contributions as an exchange does; ``arrays`` are these, and last the reference model."""
    arrays, step = arrays[: len(weights) + rule.needs_reference], CHUNK_BYTES // 4
    parts = [slice(start, start + step) for start in range(0, result.size, step)]
    if rule.scope is not Scope.GRAM:
        for part in parts:
            result[part] = rule.merge([array[part] for array in arrays], weights)
        return
    gram = np.zeros((len(arrays), len(arrays)))
    for part in parts:
        gram += partial_gram([array[part] for array in arrays])
    coefficients = rule.coefficients(gram, weights)
    for part in parts:
        result[part] = combine([array[part] for array in arrays], coefficients)


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--peers", type=integer(2, 64), default=8, help="contributions (default 8)")
    parser.add_argument("--mib", type=integer(1, 1024), default=100, help="size of each (default 100)")
    parser.add_argument("--repeats", type=integer(1, 1000), default=5, help="(default 5)")


def _measure(options: argparse.Namespace) -> Record:
    arrays = contributions(options.peers, options.mib)
    result = np.zeros_like(arrays[0])
    seconds: dict[str, list[float]] = {name: [] for name in BUILTIN_RULES}
    for name, counts in in_turn(list(BUILTIN_RULES), options.repeats, warmup=1):
        start = process_time()
        merge(BUILTIN_RULES[name], arrays, [1] * options.peers, result)
        if counts:
            seconds[name].append(process_time() - start)
    gib = options.peers * options.mib / 1024
    rules = {name: _figures(taken, seconds[BASE], gib) for name, taken in seconds.items()}
    return {
        "unit": "seconds",
        "peers": options.peers,
        "mib": options.mib,
        "repeats": options.repeats,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "rules": rules,
        "goals": {name: {"at_most": goal, "met": rules[name]["ratio"] <= goal} for name, goal in GOALS.items()},
    }


def _figures(seconds: Sequence[float], base: Sequence[float], gib: float) -> dict[str, float]:
    middle = median(seconds)
    ratios = [each / other for each, other in zip(seconds, base, strict=True)]
    return {"seconds": round(middle, 4), "ratio": round(median(ratios), 2), "gib_per_second": round(gib / middle, 2)}


def table(record: Record) -> str:
    """The figures for people."""
    rows = [("rule", "seconds", "of the mean", "GiB/s in", "goal")]
    for name, figures in record["rules"].items():
        goal = record["goals"].get(name)
        shown = f"{goal['at_most']:g} {verdict(goal['met'])}" if goal else ""
        seconds, ratio, rate = figures.values()
        rows.append((name, f"{seconds:.3f}", f"{ratio:.2f}", f"{rate:.2f}", shown))
    foot = f"{record['peers']} contributions of {record['mib']} MiB float32, equal weights, one core"
    return "\n".join([*aligned(rows), f"{foot}: medians of {record['repeats']}"])


RULES = Benchmark(name="rules", description=__doc__, add_options=_options, measure=_measure, table=table)

if __name__ == "__main__":
    RULES.main()
