"""Changed inputs for every decoder and for a whole peer, and what goes wrong: ``python -m benchmarks.fuzz``."""

from __future__ import annotations

import argparse
import base64
import os
import secrets
import socket
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.fuzz import whole
from benchmarks.harness.command import Benchmark, Record, integer, positive
from benchmarks.harness.figures import aligned, verdict
from benchmarks.harness.workers import Workers, user_environment
from swarm.cli.environment import ONE_THREAD
from tests.fuzz.targets import TARGETS
from tests.fuzz.trial import LARGE, SLOW

GOAL = 5000.0
"""Inputs a second on decoders, of all processes together."""
FAILURES = ("crashes", "hangs", "oversized")
SHARE = 0.8
"""Of the time, for decoders."""
ENDING = 120.0
"""Seconds that a process may take longer."""


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seconds", type=positive, default=60.0, help="for decoders and a whole peer (default 60)")
    text = "decides all inputs of a process in their order (default: random)"
    parser.add_argument("--seed", type=integer(0), help=text)
    parser.add_argument("--jobs", type=integer(1), default=os.cpu_count() or 1, help="processes (default: the cores)")
    parser.add_argument("--target", action="append", choices=TARGETS, help="this decoder alone; may be repeated")


def _measure(options: argparse.Namespace) -> Record:
    names = options.target or [*TARGETS]
    seed = secrets.randbelow(1 << 32) if options.seed is None else options.seed
    seconds = options.seconds if options.target else SHARE * options.seconds
    found = _decoders(names, seconds, seed, options.jobs)
    served = None if options.target else whole.fuzz(options.seconds - seconds, seed, _free_port())
    return figures(names, found, served, seed=seed)


def _decoders(names: Sequence[str], seconds: float, seed: int, jobs: int) -> list[Record]:
    environment = {**user_environment(), **ONE_THREAD}
    with Workers("benchmarks.fuzz.decoders", jobs, environment=environment, deadline=seconds + ENDING) as workers:
        # Seeds that no other process or run with a seed nearby uses.
        orders = [{"targets": names, "seconds": seconds, "seed": 1000 * seed + job} for job in range(jobs)]
        return workers.each(orders)


def figures(names: Sequence[str], found: Sequence[Record], served: Record | None, *, seed: int) -> dict[str, Any]:
    """The record; what was found is written to a new directory."""
    counts: Counter[str] = Counter()
    for each in found:
        for target in each["targets"].values():
            counts.update(target["counts"])
    findings = {finding["name"]: finding for each in found for finding in each["findings"]}
    executions = sum(target["executions"] for each in found for target in each["targets"].values())
    seconds = max(each["seconds"] for each in found)
    errors, unanswered = (len(served["errors"]), len(served["failures"])) if served else (0, 0)
    return {
        "seed": seed,
        "jobs": len(found),
        "decoder_seconds": round(seconds, 1),
        "executions": executions,
        "executions_per_second": round(executions / seconds),
        "crashes": counts["crash"] + errors,
        "hangs": counts["hang"] + unanswered,
        "oversized": counts["oversized"] + bool(served and served["growth"] > whole.BOUND),
        "max_rss": max(each["max_rss"] for each in found),
        "targets": {name: _of_target(name, found) for name in names},
        "whole_peer": served,
        "findings": [{key: finding[key] for key in ("name", "kind", "what")} for finding in findings.values()],
        "kept_in": _kept(findings),
        "limits": {"seconds": SLOW, "bytes": LARGE, "growth": whole.BOUND},
        "goal": {"executions_per_second": GOAL, "met": executions / seconds >= GOAL},
    }


def _of_target(name: str, found: Sequence[Record]) -> dict[str, Any]:
    each = [process["targets"][name] for process in found]
    executions, seconds = (sum(target[key] for target in each) for key in ("executions", "seconds"))
    return {
        "executions": executions,
        "per_second_and_job": round(executions / seconds) if seconds else None,
        "lines": max(target["lines"] for target in each),
    }


def _kept(findings: Mapping[str, Record]) -> str | None:
    """A new directory with the inputs that were found; None if there are none."""
    if not findings:
        return None
    directory = Path(tempfile.mkdtemp(prefix="swarm-fuzz-"))
    for name, finding in findings.items():
        (directory / name).write_bytes(base64.b64decode(finding["data"]))
        (directory / f"{name}.txt").write_text(finding["what"], encoding="utf-8")
    return str(directory)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def failed(record: Record) -> bool:
    """Whether there was a crash, a hang or an oversized input."""
    return any(record[name] for name in FAILURES)


def table(record: Record) -> str:
    """The figures for people."""
    rows = [("target", "inputs", "a second and process", "lines")]
    for name, figures in record["targets"].items():
        rows.append((name, *(str(figures[key]) for key in ("executions", "per_second_and_job", "lines"))))
    served = record["whole_peer"]
    if served:
        rows.append(
            ("a whole peer", str(served["executions"]), str(round(served["executions"] / served["seconds"])), "")
        )
    lines = aligned(rows)
    lines += [f"{finding['kind']}: {finding['name']}: {finding['what']}" for finding in record["findings"]]
    lines += [*served["errors"], *served["failures"]] if served else []
    lines += [f"inputs that failed are in {record['kept_in']}"] if record["kept_in"] else []
    goal = record["goal"]
    rate = f"{record['executions_per_second']} inputs a second on decoders"
    lines.append(f"{rate}; goal, at least {goal['executions_per_second']:.0f}: {verdict(goal['met'])}")
    counts = ", ".join(f"{record[name]} {name}" for name in FAILURES)
    memory = f"most memory of a process with decoders {record['max_rss'] >> 20} MiB"
    lines.append(f"{counts}; {memory}" + (f", of a peer {served['max_rss'] >> 20} MiB" if served else ""))
    return "\n".join(lines)


FUZZ = Benchmark(name="fuzz", description=__doc__, add_options=_options, measure=_measure, table=table, failed=failed)

if __name__ == "__main__":
    FUZZ.main()
