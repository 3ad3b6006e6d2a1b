"""The command: the same training with blocking and with overlapped rounds, then a table or a line of JSON."""

from __future__ import annotations

import argparse
import json
import sys

from benchmarks.fleet.arguments import number
from benchmarks.overlap.plan import Plan
from benchmarks.overlap.run import ARMS, measure
from benchmarks.overlap.summary import record, table


def main() -> None:
    """Do it; the last line of ``--json`` holds every figure."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.overlap", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one line of JSON instead of a table")
    parser.add_argument("--peers", type=number(2), default=2, help="processes (default 2)")
    parser.add_argument("--mib", type=_positive, default=100.0, help="size of the model, float32 (default 100)")
    parser.add_argument("--tensors", type=number(1), default=30, help="tensors it consists of (default 30)")
    parser.add_argument("--interval", type=number(1), default=200, help="batches between sync points (default 200)")
    parser.add_argument("--step-ms", type=_positive, default=10.0, help="milliseconds of a batch (default 10)")
    parser.add_argument("--work", choices=("sleep", "compute"), default="sleep", help="what a batch does (sleep)")
    parser.add_argument("--rounds", type=number(2), default=10, help="rounds that count (default 10)")
    parser.add_argument("--warmup", type=number(0), default=2, help="rounds before them that do not (default 2)")
    parser.add_argument("--invocations", type=number(1), default=3, help="each with new processes (default 3)")
    options = parser.parse_args()
    plan = Plan(
        peers=options.peers,
        mib=options.mib,
        tensors=options.tensors,
        interval=options.interval,
        step=options.step_ms / 1e3,
        work=options.work,
        warmup=options.warmup,
        rounds=options.rounds,
    )
    try:
        invocations = [measure(plan, ARMS[:: -1 if turn % 2 else 1]) for turn in range(options.invocations)]
    except RuntimeError as error:
        sys.exit(f"not measured: {error}")
    result = record(plan, invocations)
    print(json.dumps(result) if options.json else table(result))


def _positive(text: str) -> float:
    if not float(text) > 0:
        raise argparse.ArgumentTypeError(f"{text} is not allowed: allowed is a number above 0")
    return float(text)


if __name__ == "__main__":
    main()
