"""What coding weights costs: ``python -m benchmarks.codecs``.

One thread codes chunks as an exchange does. Codecs and a plain copy of the same memory take turns; GiB/s count the
values, not the bytes that travel. Times are of the thread, so that other work on the machine counts less.
"""

from __future__ import annotations

import argparse
import json
import platform
from collections.abc import Callable
from statistics import median
from time import thread_time
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from swarm.codec import BUILTIN_CODECS, Codec
from swarm.exchange.layout import CHUNK_BYTES

GOALS = {"bf16": 1.0, "int8": 0.5}
"""Least GiB/s, encoding and decoding together."""
GIB = 2**30
Floats = NDArray[np.float32]


class Workload(NamedTuple):
    """A model after some training, the one it started from, and room for what is measured."""

    values: list[Floats]
    reference: list[Floats]
    residual: list[Floats]
    out: list[Floats]

    @property
    def gib(self) -> float:
        """Size of the model."""
        return sum(chunk.nbytes for chunk in self.values) / GIB


def workload(mib: int) -> Workload:
    """Random weights in chunks; training has moved each by a hundredth."""
    rng = np.random.default_rng(0)
    size = CHUNK_BYTES // 4
    reference = [rng.standard_normal(size, np.float32) for _ in range(mib)]
    values = [chunk + np.float32(0.01) * rng.standard_normal(size, np.float32) for chunk in reference]
    return Workload(values, reference, [np.zeros(size, np.float32) for _ in values], [chunk.copy() for chunk in values])


class Arm:
    """One codec's buffers, and the things to time."""

    def __init__(self, codec: Codec, work: Workload) -> None:
        self.codec = codec
        self._work = work
        size = codec.encoded_nbytes(work.values[0].size, "float32")
        self._bytes = [memoryview(bytearray(size)) for _ in work.values]

    def steps(self) -> dict[str, Callable[[], None]]:
        """By name, in the order of a round."""
        steps: dict[str, Callable[[], None]] = {"encode_unchanged": self._unchanged, "encode": self._encode}
        steps["decode"] = self._decode
        if not self.codec.exact("float32"):
            steps |= {"encode_feedback": self._feedback, "carry": self._carry}
        return steps

    def error(self) -> float:
        """Root mean square of what is lost, relative to that of the differences, without feedback."""
        self._encode()
        self._decode()
        work = self._work
        lost = sum(float(np.square(a - b, dtype=np.float64).sum()) for a, b in zip(work.out, work.values, strict=True))
        moved = zip(work.values, work.reference, strict=True)
        return float((lost / sum(float(np.square(a - b, dtype=np.float64).sum()) for a, b in moved)) ** 0.5)

    def _encode(self) -> None:
        for values, reference, data in zip(self._work.values, self._work.reference, self._bytes, strict=True):
            self.codec.encode(values, reference, data)

    def _unchanged(self) -> None:
        for reference, data in zip(self._work.reference, self._bytes, strict=True):
            self.codec.encode(reference, reference, data)

    def _decode(self) -> None:
        for data, reference, out in zip(self._bytes, self._work.reference, self._work.out, strict=True):
            self.codec.decode(data, reference, out)

    def _feedback(self) -> None:
        work = self._work
        chunks = zip(work.values, work.reference, work.residual, self._bytes, strict=True)
        for values, reference, residual, data in chunks:
            self.codec.encode(values, reference, data, residual)

    def _carry(self) -> None:
        for chunks in zip(self._work.values, self._work.reference, self._work.residual, strict=True):
            self.codec.carry(*chunks)


def measure(mib: int, repeats: int) -> dict[str, Any]:
    """The record of one run."""
    work = workload(mib)
    arms = {name: Arm(codec, work) for name, codec in BUILTIN_CODECS.items()}
    seconds: dict[tuple[str, str], list[float]] = {}
    for repeat in range(repeats + 1):
        taken = {("copy", "copy"): _timed(lambda: _copy(work))}
        for name, arm in arms.items():
            taken |= {(name, step): _timed(run) for step, run in arm.steps().items()}
        if repeat:  # the first one warms up
            for key, value in taken.items():
                seconds.setdefault(key, []).append(value)
    middle = {key: median(values) for key, values in seconds.items()}
    copy = middle["copy", "copy"]
    codecs = {
        name: _figures(arm, {step: middle[name, step] for step in arm.steps()}, copy) for name, arm in arms.items()
    }
    return {
        "benchmark": "codecs",
        "unit": "GiB/s",
        "mib": mib,
        "repeats": repeats,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "copy": round(work.gib / copy, 2),
        "codecs": codecs,
        "goals": {name: {"at_least": goal, "met": codecs[name]["both"] >= goal} for name, goal in GOALS.items()},
    }


def _figures(arm: Arm, seconds: dict[str, float], copy: float) -> dict[str, Any]:
    gib = arm._work.gib  # noqa: SLF001 - this very module
    both = seconds["encode"] + seconds["decode"]
    figures: dict[str, Any] = {step: round(gib / taken, 2) for step, taken in seconds.items()}
    figures |= {"both": round(gib / both, 2), "over_copy": round(both / copy, 2), "error": arm.error()}
    if "carry" in seconds:
        feedback = seconds["encode_feedback"] + seconds["decode"]
        figures["both_feedback"] = round(gib / feedback, 2)
        figures["both_feedback_carry"] = round(gib / (feedback + seconds["carry"]), 2)
    return figures


def _timed(run: Callable[[], None]) -> float:
    start = thread_time()
    run()
    return thread_time() - start


def _copy(work: Workload) -> None:
    for values, out in zip(work.values, work.out, strict=True):
        np.copyto(out, values)


def table(record: dict[str, Any]) -> str:
    """The record for people."""
    columns = ("encode", "decode", "both", "both_feedback", "carry", "encode_unchanged", "over_copy", "error")
    lines = ["codec" + "".join(f"{column:>18}" for column in columns)]
    for name, figures in record["codecs"].items():
        shown = (f"{figures[column]:.2g}" if column in figures else "-" for column in columns)
        lines.append(f"{name:<5}" + "".join(f"{each:>18}" for each in shown))
    goals = ", ".join(
        f"{name} at least {goal['at_least']:g}: {'met' if goal['met'] else 'missed'}"
        for name, goal in record["goals"].items()
    )
    return "\n".join(
        [*lines, f"GiB/s of float32 values on one core, a plain copy {record['copy']}; goals, both: {goals}"]
    )


def main() -> None:
    """Measure; the last line of ``--json`` holds every number."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.codecs", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one line of JSON instead of a table")
    parser.add_argument("--mib", type=int, choices=range(1, 1025), metavar="MIB", default=32, help="(default 32)")
    parser.add_argument("--repeats", type=int, choices=range(1, 1001), metavar="N", default=15, help="(default 15)")
    arguments = parser.parse_args()
    record = measure(arguments.mib, arguments.repeats)
    print(json.dumps(record) if arguments.json else table(record))


if __name__ == "__main__":
    main()
