"""From samples to a record, and to a line for people."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import median, quantiles
from typing import Any

from benchmarks.link.run import LinkSamples
from benchmarks.merge.phases import usual
from benchmarks.merge.plan import MIB, Plan

GOALS = {"exact": 1.15, "int8": 1.25}
"""The most that a round may take over its limit, by codec."""


def record(plan: Plan, mbit: float, samples: LinkSamples) -> dict[str, Any]:
    """All figures; seconds and ratio are medians, with quartiles of the ratio."""
    limits = [8 * each / (mbit * 1e6) for each in samples.busiest]
    seconds = samples.rounds.seconds
    q1, ratio, q3 = quantiles(
        [took / limit for took, limit in zip(seconds, limits, strict=True)], n=4, method="inclusive"
    )
    goal, sent = GOALS.get(plan.codec), median(samples.rounds.bytes_sent)
    return {
        "benchmark": "link",
        "peers": plan.peers,
        "mib": plan.mib,
        "codec": plan.codec,
        "settings": dict(plan.settings),
        "mbit": mbit,
        "rounds": len(seconds),
        "seconds": round(median(seconds), 4),
        "limit_seconds": round(median(limits), 4),
        "ratio": round(ratio, 3),
        "ratio_q1": round(q1, 3),
        "ratio_q3": round(q3, 3),
        "bytes": round(median(samples.busiest)),
        "bytes_sent_per_peer": round(sent),
        "bytes_over_bound": round(sent / plan.bound, 4),
        "max_error": samples.rounds.error,
        "goal": {"at_most": goal, "met": None if goal is None else ratio <= goal},
        **({"phases": usual(samples.rounds.phases)} if samples.rounds.phases else {}),
    }


def table(result: Mapping[str, Any]) -> str:
    """The figures for people."""
    run = f"{result['peers']} peers, {result['mib']:g} MiB, {result['codec']}, {result['mbit']:g} Mbit/s each way"
    lines = [
        f"{run}: median (quartiles) of {result['rounds']} rounds",
        f"a round         {result['seconds']:.3f} s",
        f"the link's own  {result['limit_seconds']:.3f} s for {result['bytes'] / MIB:.1f} MiB on the wire",
        f"ratio           {result['ratio']:.3f} ({result['ratio_q1']:.3f} to {result['ratio_q3']:.3f})",
        f"sent by a peer  {result['bytes_sent_per_peer'] / MIB:.1f} MiB, {result['bytes_over_bound']:.3f} of the bound",
    ]
    lines += [f"  {phase:<12}  {value:.4f} s" for phase, value in result.get("phases", {}).items()]
    return "\n".join(lines)
