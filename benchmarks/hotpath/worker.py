"""The process that measures one framework: ``python -m benchmarks.hotpath.worker``."""

from __future__ import annotations

from importlib import import_module

from benchmarks.harness.workers import connect
from benchmarks.hotpath.turns import Plan


def main() -> None:
    """Answer each order, which names a module of this package and has a plan, by the samples."""
    orders, answer = connect()
    for order in orders:
        answer(import_module(f"benchmarks.hotpath.{order['loop']}").measure(Plan(**order["plan"])))


if __name__ == "__main__":
    main()
