"""What merging costs by each rule: ``python -m benchmarks.rules``.

One thread merges as the owner of every slice would: chunk by chunk, into the place of the result; a GRAM rule first
adds up the inner products of all chunks. The rules take turns, and ratios are taken within each turn. Times are of the
thread, so that other work on the machine counts less.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
from collections.abc import Sequence
from statistics import median
from time import process_time
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # before NumPy loads it: one core is measured

import numpy as np
from numpy.typing import NDArray

from swarm.exchange.layout import CHUNK_BYTES
from swarm.merge import BUILTIN_RULES, MergeRule, Scope
from swarm.merge.gram import combine, partial_gram

GOALS = {"coordmedian": 8.0, "geomedian": 3.0}
"""The most, as a multiple of the mean's time."""
BASE = "mean"
Floats = NDArray[np.float32]


def contributions(peers: int, mib: int) -> list[Floats]:
    """One model, and each peer's own deviation from it."""
    rng = np.random.default_rng(0)
    model = rng.standard_normal(mib * 2**20 // 4, np.float32)
    return [model + np.float32(0.01) * rng.standard_normal(model.size, np.float32) for _ in range(peers)]


def merge(rule: MergeRule, columns: Sequence[Floats], weights: Sequence[int], result: Floats) -> None:
    """Merge whole contributions as an exchange does."""
    step = CHUNK_BYTES // 4
    parts = [slice(start, start + step) for start in range(0, result.size, step)]
    if rule.scope is not Scope.GRAM:
        for part in parts:
            result[part] = rule.merge([column[part] for column in columns], weights)
        return
    gram = np.zeros((len(columns), len(columns)))
    for part in parts:
        gram += partial_gram([column[part] for column in columns])
    coefficients = rule.coefficients(gram, weights)
    for part in parts:
        result[part] = combine([column[part] for column in columns], coefficients)


def measure(peers: int, mib: int, repeats: int) -> dict[str, Any]:
    """The record of one run."""
    columns = contributions(peers, mib)
    result = np.zeros_like(columns[0])
    seconds: dict[str, list[float]] = {name: [] for name in BUILTIN_RULES}
    for repeat in range(repeats + 1):
        for name, rule in BUILTIN_RULES.items():
            start = process_time()
            merge(rule, columns, [1] * peers, result)
            if repeat:  # the first one warms up
                seconds[name].append(process_time() - start)
    rules = {name: _figures(seconds[name], seconds[BASE], peers * mib / 1024) for name in seconds}
    return {
        "benchmark": "rules",
        "unit": "seconds",
        "peers": peers,
        "mib": mib,
        "repeats": repeats,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "rules": rules,
        "goals": {name: {"at_most": goal, "met": rules[name]["ratio"] <= goal} for name, goal in GOALS.items()},
    }


def _figures(seconds: Sequence[float], base: Sequence[float], gib: float) -> dict[str, float]:
    middle = median(seconds)
    ratios = [each / other for each, other in zip(seconds, base, strict=True)]
    return {"seconds": round(middle, 4), "ratio": round(median(ratios), 2), "gib_per_second": round(gib / middle, 2)}


def table(record: dict[str, Any]) -> str:
    """The record for people."""
    lines = [f"{'rule':<14}{'seconds':>10}{'of the mean':>14}{'GiB/s in':>10}{'goal':>12}"]
    for name, figures in record["rules"].items():
        goal = record["goals"].get(name)
        shown = f"{goal['at_most']:g} {'met' if goal['met'] else 'missed'}" if goal else ""
        seconds, ratio, rate = figures.values()
        lines.append(f"{name:<14}{seconds:>10.3f}{ratio:>14.2f}{rate:>10.2f}{shown:>12}")
    foot = f"{record['peers']} contributions of {record['mib']} MiB float32, equal weights, one core"
    return "\n".join([*lines, f"{foot}: medians of {record['repeats']}"])


def main() -> None:
    """Measure; the last line of ``--json`` holds every number."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.rules", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one line of JSON instead of a table")
    parser.add_argument("--peers", type=int, choices=range(2, 65), metavar="N", default=8, help="(default 8)")
    parser.add_argument("--mib", type=int, choices=range(1, 1025), metavar="MIB", default=100, help="(default 100)")
    parser.add_argument("--repeats", type=int, choices=range(1, 1001), metavar="N", default=5, help="(default 5)")
    arguments = parser.parse_args()
    record = measure(arguments.peers, arguments.mib, arguments.repeats)
    print(json.dumps(record) if arguments.json else table(record))


if __name__ == "__main__":
    main()
