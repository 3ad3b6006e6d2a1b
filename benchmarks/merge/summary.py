"""From samples to a record, and to a line for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median, quantiles
from typing import Any

from benchmarks.merge.phases import usual
from benchmarks.merge.plan import MIB, Plan
from benchmarks.merge.run import Samples


def record(plan: Plan, invocations: Sequence[Samples], *, private: bool) -> dict[str, Any]:
    """All figures of all invocations; ``private`` says whether the loopback carried nothing else."""
    ratios = [_ratios(samples) for samples in invocations]
    sent = median(_flat([samples.bytes_sent for samples in invocations]))
    extra = max(_flat([samples.extra for samples in invocations]))
    phases = [each for samples in invocations for each in samples.phases]
    return {
        "benchmark": "merge",
        "peers": plan.peers,
        "mib": plan.mib,
        "dtype": plan.dtype,
        "codec": plan.codec,
        "settings": dict(plan.settings),
        "rounds": len(invocations[0].seconds),
        "invocations": len(invocations),
        "seconds": _spread(_flat([samples.seconds for samples in invocations])),
        "peer_seconds": _spread(_flat([samples.peer_seconds for samples in invocations])),
        "gloo_seconds": _spread(_flat([samples.gloo_seconds for samples in invocations])),
        "ratio": {
            **_spread(_flat(ratios)),
            "by_invocation": [round(median(each), 3) for each in ratios],
        },
        "bytes_sent_per_peer": round(sent),
        "bytes_over_bound": round(sent / plan.bound, 4),
        "private_loopback": private,
        "peak_extra_rss": extra,
        "peak_extra_rss_over_model": round(extra / (plan.values * plan.itemsize), 3),
        "max_error": max(samples.error for samples in invocations),
        **({"phases": usual(phases)} if phases else {}),
    }


def table(result: Mapping[str, Any]) -> str:
    """The figures for people."""
    seconds, gloo, ratio = result["seconds"], result["gloo_seconds"], result["ratio"]
    counted = f"median (quartiles) of {result['rounds']} rounds x {result['invocations']} invocations"
    lines = [
        f"{result['peers']} peers, {result['mib']:g} MiB of {result['dtype']}, {result['codec']}: {counted}",
        f"a round         {_shown(seconds)} s",
        f"gloo            {_shown(gloo)} s",
        f"ratio           {_shown(ratio)}; by invocation {ratio['by_invocation']}",
        f"sent by a peer  {result['bytes_sent_per_peer'] / MIB:.1f} MiB, {result['bytes_over_bound']:.3f} of the bound"
        + ("" if result["private_loopback"] else ", with whatever else used the loopback"),
        f"memory at most  {result['peak_extra_rss_over_model']:.2f} models beside the model",
    ]
    lines += [f"  {phase:<12}  {value:.4f} s" for phase, value in result.get("phases", {}).items()]
    return "\n".join(lines)


def _ratios(samples: Samples) -> list[float]:
    return [ours / theirs for ours, theirs in zip(samples.seconds, samples.gloo_seconds, strict=True)]


def _flat(lists: Sequence[Sequence[float]]) -> list[float]:
    return [value for values in lists for value in values]


def _spread(values: Sequence[float]) -> dict[str, float]:
    q1, middle, q3 = (round(cut, 4) for cut in quantiles(values, n=4, method="inclusive"))
    return {"median": middle, "q1": q1, "q3": q3}


def _shown(spread: Mapping[str, float]) -> str:
    return f"{spread['median']:.3f} ({spread['q1']:.3f} to {spread['q3']:.3f})"
