"""Runs the commands of ``plan`` and keeps their figures as JSON."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchmarks.harness.command import Benchmark, Record
from benchmarks.report.plan import COMMANDS

RUN = ("seed", "pooled", "alone", "swarm", "rounds", "bytes")
"""What is kept of one seed of ``learning``; the rest depends on the machine, or is not shown."""
LEARNING = ("partition", "interval", "codec", "policy", "peers", "steps_planned", "seeds")
FIXED = ("fixed_rounds", "fixed_swarm")
ATTACKS = ("rule", "seeds", "bad", "runs")


def measure(directory: Path, names: Iterable[str]) -> None:
    """Measure the files of these names, one command after the other, and write each file when all of it is there."""
    for name in names:
        results = []
        for command in COMMANDS[name]:
            print(f"python -m benchmarks.{command}", file=sys.stderr, flush=True)
            benchmark, *words = shlex.split(command)
            results.append({"command": command, **compact(_benchmark(benchmark).record(words))})
        directory.mkdir(parents=True, exist_ok=True)
        (directory / f"{name}.json").write_text(written(results), encoding="utf-8")


def written(results: Iterable[Record]) -> str:
    """The text of a file: one line for each command."""
    lines = ",\n".join(json.dumps(result) for result in results)
    return f"[\n{lines}\n]\n"


def compact(record: Record) -> dict[str, Any]:
    """The figures of a record that the page needs; neither times nor anything else that depends on the machine."""
    if "rule" in record and "bad" in record:
        return {"partition": record["plan"]["partition"], **{name: record[name] for name in ATTACKS}}
    runs = [{name: run[name] for name in RUN} for run in record["runs"]]
    return {**{name: record[name] for name in (*LEARNING, *FIXED) if name in record}, "runs": runs}


def _benchmark(name: str) -> Benchmark:
    from benchmarks.attacks.__main__ import ATTACKED
    from benchmarks.learning.__main__ import LEARNING as LEARNS

    return {"learning": LEARNS, "attacks": ATTACKED}[name]
