"""From samples to a record, and to a table for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median, quantiles
from typing import Any

from benchmarks.overlap.plan import Plan
from benchmarks.overlap.run import ARMS, Arms

GOAL = 0.1
"""Most that an overlapped stall may be of a blocking one."""


def record(plan: Plan, invocations: Sequence[Arms]) -> dict[str, Any]:
    """All figures of all invocations."""
    ratios = [median(each["overlapped"]["stall"]) / median(each["blocking"]["stall"]) for each in invocations]
    return {
        "benchmark": "overlap",
        "peers": plan.peers,
        "mib": plan.mib,
        "work": plan.work,
        "interval_seconds": round(plan.interval * plan.step, 3),
        "rounds": plan.rounds,
        "invocations": len(invocations),
        **{arm: _figures([each[arm] for each in invocations]) for arm in ARMS},
        "ratio": {"median": round(median(ratios), 4), "by_invocation": [round(ratio, 4) for ratio in ratios]},
        "goal": {"ratio": GOAL, "met": median(ratios) <= GOAL},
    }


def table(result: Mapping[str, Any]) -> str:
    """The figures for people."""
    counted = f"median (quartiles) of {result['rounds']} rounds x {result['invocations']} invocations"
    lines = [
        f"{result['peers']} peers, {result['mib']:g} MiB, batches {result['work']}: {counted}",
        f"sync points {result['interval_seconds']:g} s apart",
        f"{'':<12}{'training stands still':<32}{'a round takes':<32}share",
    ]
    for arm in ARMS:
        each = result[arm]
        share = f"{100 * each['share']['median']:.1f} %"
        lines.append(f"{arm:<12}{_shown(each['stall_ms']):<32}{_shown(each['round_ms']):<32}{share}")
    met = "met" if result["goal"]["met"] else "missed"
    lines.append(f"overlapped over blocking: {result['ratio']['median']:.3f}; goal, at most {GOAL}: {met}")
    return "\n".join(lines)


def _figures(arms: Sequence[Mapping[str, Sequence[float]]]) -> dict[str, Any]:
    stalls = [value for arm in arms for value in arm["stall"]]
    rounds = [value for arm in arms for value in arm["seconds"]]
    return {
        "stall_ms": _spread([1e3 * value for value in stalls], 2),
        "round_ms": _spread([1e3 * value for value in rounds], 2),
        "share": _spread([stall / taken for stall, taken in zip(stalls, rounds, strict=True)], 4),
    }


def _spread(values: Sequence[float], digits: int) -> dict[str, float]:
    q1, middle, q3 = (round(cut, digits) for cut in quantiles(values, n=4, method="inclusive"))
    return {"median": middle, "q1": q1, "q3": q3}


def _shown(spread: Mapping[str, float]) -> str:
    return f"{spread['median']:.1f} ({spread['q1']:.1f} to {spread['q3']:.1f}) ms"
