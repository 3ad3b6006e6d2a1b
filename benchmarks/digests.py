"""What hashing a model costs, and measuring it for an offer, on one thread: ``python -m benchmarks.digests``.

The steps take turns. Times are the thread's CPU time, so that other work on the machine counts less. SHA-256 of the
same memory shows what the usual cryptographic hash would cost.
"""

from __future__ import annotations

import argparse
import hashlib
import platform
from collections import defaultdict
from collections.abc import Callable
from itertools import pairwise
from statistics import median
from time import thread_time

import numpy as np

from benchmarks.harness.command import Benchmark, Record, integer
from benchmarks.harness.figures import aligned, in_turn
from swarm.merge.distance import squared_distance
from swarm.session.arithmetic import measure
from swarm.tensors.capture import BorrowedCapture
from swarm.tensors.state import ModelState, Schema, TensorSpec, is_finite

Step = Callable[[], object]
STEPS = {
    "sha256": "SHA-256 of the memory",
    "digest": "digest of a model",
    "finite": "finite check of a capture",
    "norm": "its distance from the parent",
    "offer": "digest, finite check and distance in one pass",
    "offer_copied": "the same, of a copied capture",
    "offer_first": "digest and finite check in one pass, without a parent",
}
"""What is timed, by name."""


def steps_of(mib: int, tensors: int) -> dict[str, Step]:
    """What to time, with a model whose weights training has changed by about a hundredth."""
    size = mib * 2**20 // 4
    bounds = [size * index // tensors for index in range(tensors + 1)]
    sizes = [stop - start for start, stop in pairwise(bounds)]
    schema = Schema(tuple(TensorSpec(f"t{index}", (each,), "float32") for index, each in enumerate(sizes)))
    rng = np.random.default_rng(0)
    parent = ModelState(schema, {"float32": rng.standard_normal(size, np.float32)}, [])
    moved = np.float32(0.01) * rng.standard_normal(size, np.float32)
    model = ModelState(schema, {"float32": parent.segments["float32"] + moved}, [])
    borrowed = BorrowedCapture(schema, [array for _, array in model.arrays()])

    def norm() -> float:
        runs = borrowed.runs()
        return sum(squared_distance(run, parent.part(index, start, start + run.size)) for index, start, run in runs)

    return {
        "sha256": lambda: hashlib.sha256(model.segments["float32"].data).digest(),
        "digest": model.digest,
        "finite": lambda: all(is_finite(run) for _, _, run in borrowed.runs()),
        "norm": norm,
        "offer": lambda: measure(borrowed, parent),
        "offer_copied": lambda: measure(model, parent),
        "offer_first": lambda: measure(borrowed),
    }


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--mib", type=integer(1, 4096), default=100, help="size of the model (default 100)")
    parser.add_argument("--tensors", type=integer(1, 10_000), default=30, help="it consists of (default 30)")
    parser.add_argument("--repeats", type=integer(1, 1000), default=15, help="(default 15)")


def _measure(options: argparse.Namespace) -> Record:
    steps = steps_of(options.mib, options.tensors)
    seconds: dict[str, list[float]] = defaultdict(list)
    for name, counts in in_turn(list(steps), options.repeats, warmup=1):
        start = thread_time()
        steps[name]()
        if counts:
            seconds[name].append(thread_time() - start)
    return {
        "unit": "seconds",
        "mib": options.mib,
        "tensors": options.tensors,
        "repeats": options.repeats,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "seconds": {
            name: {"median": round(median(seconds[name]), 5), "least": round(min(seconds[name]), 5)} for name in STEPS
        },
    }


def table(record: Record) -> str:
    """The figures for people."""
    rows = [("step", "seconds", "at least", "GB/s")]
    for name, figures in record["seconds"].items():
        rate = record["mib"] * 2**20 / 1e9 / figures["median"]
        rows.append((STEPS[name], f"{figures['median']:.4f}", f"{figures['least']:.4f}", f"{rate:.1f}"))
    foot = f"{record['mib']} MiB float32 in {record['tensors']} tensors, one core: medians of {record['repeats']}"
    return "\n".join([*aligned(rows), foot])


DIGESTS = Benchmark(name="digests", description=__doc__, add_options=_options, measure=_measure, table=table)

if __name__ == "__main__":
    DIGESTS.main()
