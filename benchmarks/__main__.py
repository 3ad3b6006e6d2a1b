"""A short set of benchmarks, one after another, in one table: ``make bench``."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import NamedTuple

from benchmarks.harness.command import Record
from benchmarks.harness.figures import aligned, verdict
from benchmarks.harness.workers import ROOT

DEADLINE = 600.0
"""Seconds for one benchmark."""


class Row(NamedTuple):
    """One line of the table."""

    what: str
    measured: str
    compared: str
    """The reference of the same run, or the goal."""


class Part(NamedTuple):
    """A benchmark of the set, as a user would run it, and the rows that its result gives."""

    command: str
    rows: Callable[[Record], Iterator[Row]]


def main() -> None:
    """Run the set. A part that fails has a row that says so, and the exit code is then 1."""
    rows, failed = [Row("what", "measured", "compared with")], False
    for part in PARTS:
        print(f"python -m benchmarks.{part.command}", file=sys.stderr, flush=True)
        result = _result(part.command)
        failed = failed or result is None
        rows += [Row(part.command, "failed", "")] if result is None else part.rows(result)
    print("\n".join(aligned(rows, right=False)))
    sys.exit(failed)


def _result(command: str) -> Record | None:
    """The record of a benchmark; None if it failed. It prints the reason on standard error itself."""
    done = subprocess.run(
        [sys.executable, "-m", *f"benchmarks.{command} --json".split()],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        timeout=DEADLINE,
        check=False,
    )
    if done.returncode:
        return None
    record: Record = json.loads(done.stdout.splitlines()[-1])
    return record


def _hotpath(result: Record) -> Iterator[Row]:
    for name, each in result["frameworks"].items():
        empty = f"an empty callback: {each['empty']['median']:.0f} ns"
        yield Row(f"callback between merges, {name}", f"{each['swarm']['median']:.0f} ns a batch", empty)


def _merge(result: Record) -> Iterator[Row]:
    run = f"merge, {result['peers']} peers, {result['mib']:g} MiB, {result['codec']}"
    gloo = f"gloo: {1e3 * result['gloo_seconds']['median']:.0f} ms, ratio {result['ratio']['median']:.2f}"
    yield Row(run, f"{1e3 * result['seconds']['median']:.0f} ms a round", gloo)
    over, private = f"{result['bytes_over_bound']:.3f} of the bound", result["private_loopback"]
    yield Row(f"{run}, sent", over if private else "not measured", "" if private else "the loopback was shared")
    yield Row(f"{run}, memory", f"{result['peak_extra_rss_over_model']:.2f} models more", "")


def _scale(result: Record) -> Iterator[Row]:
    growth, goal = result["growth"], result["goal"]
    for what in ("control_messages", "control_bytes"):
        name, met = what.replace("_", " "), verdict(goal[f"{what}_at_most_linear"])
        yield Row(f"{name} a peer, growth", f"n^{growth[what]}", f"goal n^1: {met}")
    data = ", ".join(f"{size['data_over_bound']:.3f}" for size in result["sizes"])
    yield Row("data a peer, of 2(n-1)/n models", data, f"goal 1: {verdict(goal['data_flat'])}")


def _learning(result: Record) -> Iterator[Row]:
    run = f"accuracy, {result['task']}, {result['peers']} sites, {result['partition']}, H = {result['interval']}"
    compared = f"pooled {result['pooled']:.3f}, alone {result['alone']:.3f}, FedAvg {result['reference']:.3f}"
    yield Row(run, f"{result['swarm']:.3f}, ratio to pooled {result['ratio']:.3f}", compared)
    yield Row("largest difference of a weight to FedAvg", f"{result['reference_difference']:.1e}", "goal 1e-5")


PARTS = (
    Part("hotpath --framework pytorch --batches 100 --repeats 10", _hotpath),
    Part("merge --peers 4 --mib 20 --rounds 20 --invocations 1", _merge),
    Part("learning --task digits --partition dir0.5 --peers 4 --steps 400 --seeds 2", _learning),
    Part("scale --peers 2,4,8 --rounds 5", _scale),
)


if __name__ == "__main__":
    main()
