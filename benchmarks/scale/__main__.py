"""The command: swarms of growing size in this process, then a table or a line of JSON."""

from __future__ import annotations

import argparse
import json
import sys
import threading

from benchmarks.fleet.arguments import number
from benchmarks.scale.run import Swarm
from benchmarks.scale.summary import record, table

STACK = 256 * 1024
"""Bytes of a thread's stack: 64 peers have 4000 streams."""


def main() -> None:
    """Do it; the last line of ``--json`` holds every figure."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one line of JSON instead of a table")
    parser.add_argument("--peers", type=_sizes, default=(2, 4, 8, 16, 32, 64), help="(default 2,4,8,16,32,64)")
    parser.add_argument("--kib", type=number(1), default=256, help="size of the model, float32 (default 256)")
    parser.add_argument("--rounds", type=number(1), default=5, help="rounds that count (default 5)")
    parser.add_argument("--warmup", type=number(1), default=2, help="rounds before them that do not (default 2)")
    options = parser.parse_args()
    threading.stack_size(STACK)
    samples = []
    for peers in options.peers:
        print(f"{peers} peers", file=sys.stderr, flush=True)
        samples.append(Swarm(peers, options.kib * 256).measure(options.rounds, options.warmup))
    result = record(samples)
    print(json.dumps(result) if options.json else table(result))


def _sizes(text: str) -> tuple[int, ...]:
    sizes = tuple(number(2)(size) for size in text.split(","))
    if list(sizes) != sorted(set(sizes)):
        raise argparse.ArgumentTypeError(f"{text} is not allowed: allowed are numbers that grow")
    return sizes


if __name__ == "__main__":
    main()
