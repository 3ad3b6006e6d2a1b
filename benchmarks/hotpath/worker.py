"""The process that measures one framework: ``python -m benchmarks.hotpath.worker LOOP BATCHES REPEATS WARMUP``."""

from __future__ import annotations

import importlib
import json
import sys

from benchmarks.hotpath.turns import Plan


def main(loop: str, *numbers: str) -> None:
    """Print the samples of ``loop``, a module of this package, as one line of JSON."""
    plan = Plan(*map(int, numbers))
    print(json.dumps(importlib.import_module(f"benchmarks.hotpath.{loop}").measure(plan)))


if __name__ == "__main__":
    main(*sys.argv[1:])
