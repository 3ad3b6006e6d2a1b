"""The command: rounds of real peers and gloo's sums of the same size in turn, then a table or a line of JSON."""

from __future__ import annotations

import argparse
import json
import sys

from benchmarks.fleet.arguments import number
from benchmarks.merge.loopback import take_private_loopback
from benchmarks.merge.options import add_options, plan_of
from benchmarks.merge.run import measure
from benchmarks.merge.summary import record, table


def main() -> None:
    """Do it; the last line of ``--json`` holds every figure."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.merge", description=__doc__)
    add_options(parser, mib=100.0)
    parser.add_argument("--rounds", type=number(2), default=20, help="rounds that count (default 20)")
    parser.add_argument("--warmup", type=number(0), default=3, help="rounds before them that do not (default 3)")
    parser.add_argument("--invocations", type=number(1), default=3, help="each with new processes (default 3)")
    options = parser.parse_args()
    plan, private = plan_of(options), take_private_loopback()
    try:
        invocations = [measure(plan, options.rounds, options.warmup) for _ in range(options.invocations)]
    except RuntimeError as error:
        sys.exit(f"not measured: {error}")
    result = record(plan, invocations, private=private)
    print(json.dumps(result) if options.json else table(result))


if __name__ == "__main__":
    main()
