"""``python -m benchmarks.matrix``: every framework and way to train over several processes, as two real sites."""

from __future__ import annotations

import argparse
import importlib.util
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.harness.command import Benchmark, Record
from benchmarks.harness.figures import aligned
from benchmarks.matrix.rows import ROWS
from benchmarks.matrix.running import run


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("--only", default="", help="rows whose name contains this")
    parser.add_argument("--logs", type=Path, help="directory for what the sites say; by default it is not kept")


def measure(options: argparse.Namespace) -> Record:
    """Run the rows, one after the other."""
    wanted = [row for row in ROWS if options.only.lower() in row.name.lower()]
    if not wanted:
        raise RuntimeError(f"no row is called {options.only!r}: there are {', '.join(row.name for row in ROWS)}")
    found: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as temporary:
        logs = options.logs or Path(temporary)
        logs.mkdir(parents=True, exist_ok=True)
        for number, row in enumerate(wanted):
            missing = [name for name in row.needs if importlib.util.find_spec(name) is None]
            if missing:
                found.append({"row": row.name, "left_out": ", ".join(missing)})
            else:
                found.append(run(row, logs / f"{number:02}"))
            print(_line(found[-1]), file=sys.stderr, flush=True)
    return {"rows": found}


def shown(record: Record) -> str:
    """The table for people."""
    head = ("two sites", "passed", "rounds", "models", "seconds")
    return "\n".join(aligned([head, *map(_cells, record["rows"])], right=False))


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    if "left_out" in row:
        return (row["row"], f"left out: no {row['left_out']}", "", "", "")
    passed = "yes" if row["passed"] else f"no: {row['why']}"
    return (row["row"], passed, str(row["rounds"]), str(row["digests"]), f"{row['seconds']:.1f}")


def _line(row: dict[str, Any]) -> str:
    return "  ".join(filter(None, _cells(row)))


def failed(record: Record) -> bool:
    """Whether a row did not pass; one that is left out did not fail."""
    return any(not row.get("passed", True) for row in record["rows"])


BENCHMARK = Benchmark(
    name="matrix",
    description=(__doc__ or "").strip(),
    add_options=add_options,
    measure=measure,
    table=shown,
    failed=failed,
)

if __name__ == "__main__":
    BENCHMARK.main()
