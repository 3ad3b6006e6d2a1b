"""The command: peers behind capped links, then a table or a line of JSON."""

from __future__ import annotations

import argparse
import json
import signal
import sys
from types import FrameType

from benchmarks.fleet.arguments import number
from benchmarks.link.network import NetworkError, require_root
from benchmarks.link.run import measure
from benchmarks.link.summary import record, table
from benchmarks.merge.options import add_options, plan_of


def main() -> None:
    """Do it; the last line of ``--json`` holds every figure."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.link", description=__doc__)
    add_options(parser, mib=20.0)
    parser.add_argument("--mbit", type=_rate, default=100.0, help="of each link, each way (default 100)")
    parser.add_argument("--rounds", type=number(2), default=5, help="rounds that count (default 5)")
    parser.add_argument("--warmup", type=number(0), default=1, help="rounds before them that do not (default 1)")
    options = parser.parse_args()
    plan = plan_of(options)
    signal.signal(signal.SIGTERM, _interrupt)  # so that the namespaces go, as on Ctrl-C
    try:
        require_root()
        samples = measure(plan, options.mbit, options.rounds, options.warmup)
    except (NetworkError, RuntimeError) as error:
        sys.exit(f"not measured: {error}")
    result = record(plan, options.mbit, samples)
    print(json.dumps(result) if options.json else table(result))


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _rate(text: str) -> float:
    if not float(text) > 0:
        raise argparse.ArgumentTypeError(f"{text} is not allowed: allowed is a rate above 0")
    return float(text)


if __name__ == "__main__":
    main()
