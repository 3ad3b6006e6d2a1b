"""What one bad member can do to a swarm, over TLS: ``python -m benchmarks.hostile``."""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.fleet.training import report
from benchmarks.harness.command import Benchmark, Record, integer
from benchmarks.hostile.attack import SIZES, Attack
from benchmarks.hostile.case import Case, run
from benchmarks.hostile.liar import LIAR
from benchmarks.hostile.peers import honest_names
from benchmarks.hostile.plan import ATTACKS, described
from benchmarks.hostile.report import FOUND, figures, table
from swarm.identity.throwaway import make_identities

CASE_SECONDS = 150.0
"""After so long the process of a case counts as hung, and is killed."""


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--only", nargs="+", choices=ATTACKS, metavar="NAME", help="attacks by name (default: all)")
    parser.add_argument(
        "--sizes", nargs="+", type=int, choices=SIZES, default=SIZES, help="numbers of peers (default 2 3 4 5)"
    )
    parser.add_argument("--rounds", type=integer(1), default=10, help="of each attack (default 10)")
    parser.add_argument("--jobs", type=integer(1), default=2, help="swarms at the same time (default 2)")
    parser.add_argument(
        "--no-bites", action="store_true", help="do not try the attacks without the checks against them"
    )
    parser.add_argument("--list", action="store_true", help="print the attacks and what they do, and try none")


def _measure(options: argparse.Namespace) -> Record:
    attacks = [attack for name, attack in ATTACKS.items() if name in (options.only or ATTACKS)]
    if options.list:
        print("\n".join(described(attacks)))
        sys.exit(0)
    started = time.monotonic()
    usual = [Case("", size, off=False, rounds=options.rounds) for size in options.sizes]
    cases = [case for attack in attacks for case in _cases(attack, options)]
    with tempfile.TemporaryDirectory(prefix="swarm-hostile-") as temporary, ThreadPoolExecutor(options.jobs) as pool:
        identities = Path(temporary)
        make_identities({name: identities / name for name in (*honest_names(max(SIZES)), LIAR)})
        results = list(pool.map(partial(_result, identities=identities), [*usual, *cases]))
    record = figures(attacks, results[: len(usual)], results[len(usual) :])
    return {**record, "seconds": round(time.monotonic() - started, 1)}


def _cases(attack: Attack, options: argparse.Namespace) -> Sequence[Case]:
    sizes = [size for size in attack.sizes if size in options.sizes]
    rounds = attack.rounds * options.rounds
    cases = [Case(attack.name, size, off=False, rounds=rounds) for size in sizes]
    if attack.bites_at in sizes and attack.checks and not options.no_bites:
        cases.append(Case(attack.name, attack.bites_at, off=True, rounds=rounds))
    return cases


def _result(case: Case, identities: Path) -> dict[str, Any]:
    """Run a case in a process of its own.

    Raises:
        RuntimeError: it ended without a verdict.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["benchmarks.hostile.case"])
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=run, args=(case, identities, sender), daemon=True)
    process.start()
    sender.close()
    try:
        result: dict[str, Any] | None = receiver.recv() if receiver.poll(CASE_SECONDS) else None
    except EOFError:
        result = None
    process.kill()
    process.join()
    if result is None:
        raise RuntimeError(f"{case} ended without a verdict, with {process.exitcode}")
    what = ", ".join([*(name for name in FOUND if result[name]), *result["harms"]]) or "no harm"
    off = " without its checks" if case.off else ""
    slower = result["seconds"] / result["usual"]
    report(f"n={case.size} {case.attack or 'nobody lies'}{off}: {what}; {result['lies']} lies, {slower:.1f}x as long")
    for line in result.pop("log")[:4]:
        report(f"    {line}")
    return result


HOSTILE = Benchmark(
    name="hostile",
    description=__doc__,
    add_options=_options,
    measure=_measure,
    table=table,
    failed=lambda record: any(record[what] for what in FOUND),
)

if __name__ == "__main__":
    HOSTILE.main()
