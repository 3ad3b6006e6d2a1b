"""The speed and the error of each codec, on one thread: ``python -m benchmarks.codecs``.

Codecs and a plain copy of the same memory take turns, chunk by chunk as in an exchange. GiB/s count the values, not the
bytes that are sent. Times are the thread's CPU time, so that other work on the machine counts less.
"""

from __future__ import annotations

import argparse
import math
import platform
from collections import defaultdict
from collections.abc import Callable, Mapping
from functools import partial
from statistics import median
from time import thread_time
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.harness.command import Benchmark, Record, integer
from benchmarks.harness.figures import aligned, in_turn, verdict
from swarm.codec import BUILTIN_CODECS, Codec
from swarm.exchange.layout import CHUNK_BYTES

GOALS = {"bf16": 1.0, "int8": 0.5}
"""The smallest GiB/s of encoding and decoding together."""
MIB = 2**20
Floats = NDArray[np.float32]
Step = Callable[[], object]


class Chunk(NamedTuple):
    """A part of a model after some training, the model before it, and buffers."""

    values: Floats
    reference: Floats
    residual: Floats
    out: Floats


def workload(mib: int) -> list[Chunk]:
    """Random weights; training has changed each by about a hundredth."""
    rng = np.random.default_rng(0)
    chunks = []
    for start in range(0, mib * MIB, CHUNK_BYTES):
        size = min(CHUNK_BYTES, mib * MIB - start) // 4
        reference = rng.standard_normal(size, np.float32)
        values = reference + np.float32(0.01) * rng.standard_normal(size, np.float32)
        chunks.append(Chunk(values, reference, np.zeros_like(values), values.copy()))
    return chunks


def steps_of(codec: Codec, work: list[Chunk]) -> dict[str, Step]:
    """What to time, by name, in the order of a round."""
    chunks = [(chunk, memoryview(bytearray(codec.encoded_nbytes(chunk.values.size, "float32")))) for chunk in work]

    def each(do: Callable[[Chunk, memoryview], object]) -> Step:
        def step() -> None:
            for chunk, data in chunks:
                do(chunk, data)

        return step

    steps = {
        "encode_unchanged": each(lambda chunk, data: codec.encode(chunk.reference, chunk.reference, data)),
        "encode": each(lambda chunk, data: codec.encode(chunk.values, chunk.reference, data)),
        "decode": each(lambda chunk, data: codec.decode(data, chunk.reference, chunk.out)),
    }
    if not codec.exact("float32"):
        steps["encode_feedback"] = each(
            lambda chunk, data: codec.encode(chunk.values, chunk.reference, data, chunk.residual)
        )
        steps["residual"] = each(lambda chunk, _: codec.update_residual(chunk.values, chunk.reference, chunk.residual))
    return steps


def error_of(steps: Mapping[str, Step], work: list[Chunk]) -> float:
    """Root mean square of the coding error, relative to that of the coded differences, without feedback."""
    steps["encode"]()
    steps["decode"]()
    error = math.hypot(*(float(np.linalg.norm(chunk.out - chunk.values)) for chunk in work))
    return error / math.hypot(*(float(np.linalg.norm(chunk.values - chunk.reference)) for chunk in work))


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--mib", type=integer(1, 1024), default=32, help="size of the model (default 32)")
    parser.add_argument("--repeats", type=integer(1, 1000), default=15, help="(default 15)")


def _measure(options: argparse.Namespace) -> Record:
    work = workload(options.mib)
    gib = options.mib / 1024
    steps: dict[str, dict[str, Step]] = {"copy": {"copy": partial(_copy, work)}}
    steps |= {name: steps_of(codec, work) for name, codec in BUILTIN_CODECS.items()}
    seconds: dict[tuple[str, str], list[float]] = defaultdict(list)
    for name, counts in in_turn(list(steps), options.repeats, warmup=1):
        for step, run in steps[name].items():
            start = thread_time()
            run()
            if counts:
                seconds[name, step].append(thread_time() - start)
    middle = {key: median(values) for key, values in seconds.items()}
    copy = middle["copy", "copy"]
    codecs = {
        name: {
            **_speeds({step: middle[name, step] for step in steps[name]}, gib, copy),
            "error": error_of(steps[name], work),
        }
        for name in BUILTIN_CODECS
    }
    return {
        "unit": "GiB/s",
        "mib": options.mib,
        "repeats": options.repeats,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "copy": round(gib / copy, 2),
        "codecs": codecs,
        "goals": {name: {"at_least": goal, "met": codecs[name]["both"] >= goal} for name, goal in GOALS.items()},
    }


def _speeds(seconds: dict[str, float], gib: float, copy: float) -> dict[str, float]:
    both = seconds["encode"] + seconds["decode"]
    figures = {step: round(gib / taken, 2) for step, taken in seconds.items()}
    figures |= {"both": round(gib / both, 2), "over_copy": round(both / copy, 2)}
    if "residual" in seconds:
        feedback = seconds["encode_feedback"] + seconds["decode"]
        figures["both_feedback"] = round(gib / feedback, 2)
        figures["both_feedback_residual"] = round(gib / (feedback + seconds["residual"]), 2)
    return figures


def _copy(work: list[Chunk]) -> None:
    for chunk in work:
        np.copyto(chunk.out, chunk.values)


def table(record: Record) -> str:
    """The figures for people."""
    names = ("encode", "decode", "both", "both_feedback", "residual", "encode_unchanged", "over_copy", "error")
    rows = [("codec", *names)]
    for codec, figures in record["codecs"].items():
        rows.append((codec, *(f"{figures[name]:.2g}" if name in figures else "-" for name in names)))
    goals = ", ".join(
        f"{name} at least {goal['at_least']:g}: {verdict(goal['met'])}" for name, goal in record["goals"].items()
    )
    foot = f"GiB/s of float32 values on one core, a plain copy {record['copy']}; goals, both: {goals}"
    return "\n".join([*aligned(rows), foot])


CODECS = Benchmark(name="codecs", description=__doc__, add_options=_options, measure=_measure, table=table)

if __name__ == "__main__":
    CODECS.main()
