"""The same training with blocking and with overlapped rounds."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from benchmarks.harness.command import Benchmark, Record, add_repetitions, integer, positive
from benchmarks.harness.figures import aligned, order, shown, spread, verdict
from benchmarks.harness.workers import Workers, user_environment
from swarm.cli.environment import ONE_THREAD

ARMS = ("blocking", "overlapped")
DEADLINE = 600.0
"""Seconds for one training."""
GOAL = 0.1
"""The largest ratio of an overlapped stall to a blocking one."""

Arms = Mapping[str, Mapping[str, Sequence[float]]]
"""By arm: ``stall`` and ``seconds`` of ``benchmarks.overlap.peer.Samples``."""


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--peers", type=integer(2), default=2, help="processes (default 2)")
    parser.add_argument("--mib", type=positive, default=100.0, help="size of the model, float32 (default 100)")
    parser.add_argument("--tensors", type=integer(1), default=30, help="tensors it consists of (default 30)")
    parser.add_argument("--interval", type=integer(1), default=200, help="batches between sync points (default 200)")
    parser.add_argument("--step-ms", type=positive, default=10.0, help="milliseconds of a batch (default 10)")
    parser.add_argument("--work", choices=("sleep", "compute"), default="sleep", help="what a batch does (sleep)")
    add_repetitions(parser, rounds=10, warmup=2, invocations=3)


def _measure(options: argparse.Namespace) -> Record:
    names = ("peers", "mib", "tensors", "interval", "work", "warmup", "rounds")
    plan = {**{name: getattr(options, name) for name in names}, "step": options.step_ms / 1e3}
    return figures(plan, [compare(plan, order(ARMS, number)) for number in range(options.invocations)])


def compare(plan: Record, arms: Sequence[str] = ARMS) -> Arms:
    """New processes train with each arm, in this order; returns the samples of all peers together.

    Args:
        plan: the fields of ``benchmarks.overlap.peer.Plan``.
        arms: of ``ARMS``.

    Raises:
        RuntimeError: a peer failed, or did not finish in time.
    """
    environment = {**user_environment(), **ONE_THREAD}
    with Workers("benchmarks.overlap.peer", plan["peers"], environment=environment, deadline=DEADLINE) as peers:
        common = {"plan": plan, "rendezvous": str(peers.directory)}
        taken = {
            arm: peers.each([{**common, "rank": rank, "arm": arm} for rank in range(plan["peers"])]) for arm in arms
        }
    return {
        arm: {what: [value for peer in each for value in peer[what]] for what in ("stall", "seconds")}
        for arm, each in taken.items()
    }


def figures(plan: Record, invocations: Sequence[Arms]) -> dict[str, Any]:
    """The record."""
    ratios = [median(each["overlapped"]["stall"]) / median(each["blocking"]["stall"]) for each in invocations]
    return {
        "peers": plan["peers"],
        "mib": plan["mib"],
        "work": plan["work"],
        "interval_seconds": round(plan["interval"] * plan["step"], 3),
        "rounds": plan["rounds"],
        "invocations": len(invocations),
        **{arm: _of_arm([each[arm] for each in invocations]) for arm in ARMS},
        "ratio": {"median": round(median(ratios), 4), "by_invocation": [round(ratio, 4) for ratio in ratios]},
        "goal": {"ratio": GOAL, "met": median(ratios) <= GOAL},
    }


def _of_arm(invocations: Sequence[Mapping[str, Sequence[float]]]) -> dict[str, Any]:
    stalls = [value for each in invocations for value in each["stall"]]
    rounds = [value for each in invocations for value in each["seconds"]]
    return {
        "stall_ms": spread([1e3 * value for value in stalls], 2),
        "round_ms": spread([1e3 * value for value in rounds], 2),
        "share": spread([stall / taken for stall, taken in zip(stalls, rounds, strict=True)]),
    }


def table(record: Record) -> str:
    """The figures for people."""
    rows = [("", "training stands still, ms", "a round takes, ms", "share")]
    for arm in ARMS:
        each = record[arm]
        share = f"{100 * each['share']['median']:.1f} %"
        rows.append((arm, shown(each["stall_ms"], 1), shown(each["round_ms"], 1), share))
    size = f"{record['peers']} peers, {record['mib']:g} MiB, batches {record['work']}"
    ratio = f"{record['ratio']['median']:.3f}; goal, at most {GOAL}: {verdict(record['goal']['met'])}"
    return "\n".join(
        [
            f"{size}: median (quartiles) of {record['rounds']} rounds x {record['invocations']} invocations",
            f"sync points {record['interval_seconds']:g} s apart",
            *aligned(rows),
            f"overlapped over blocking: {ratio}",
        ]
    )


OVERLAP = Benchmark(name="overlap", description=__doc__, add_options=_options, measure=_measure, table=table)

if __name__ == "__main__":
    OVERLAP.main()
