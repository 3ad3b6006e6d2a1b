"""Rounds of real peers and gloo's sums of the same size, in turn."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from statistics import median
from typing import Any

from benchmarks.harness.command import Benchmark, Record, add_repetitions
from benchmarks.harness.figures import aligned, shown, spread
from benchmarks.merge.counters import take_private_loopback
from benchmarks.merge.encrypted import compare_encrypted, encrypted_figures, encrypted_rows
from benchmarks.merge.phases import medians, rows_of
from benchmarks.merge.plan import MIB, Plan, add_options, plan_of
from benchmarks.merge.rounds import Samples, compare


def _options(parser: argparse.ArgumentParser) -> None:
    add_options(parser, mib=100.0)
    add_repetitions(parser, rounds=20, warmup=3, invocations=3)
    parser.add_argument(
        "--tls", action="store_true", help="rounds over TLS, compared with the same ones without it too"
    )


def _measure(options: argparse.Namespace) -> Record:
    plan, private = plan_of(options), take_private_loopback()
    if options.tls:
        encrypted = [compare_encrypted(plan, options.rounds, options.warmup) for _ in range(options.invocations)]
        return {**figures(plan, encrypted, private=private), **encrypted_figures(encrypted)}
    invocations = [compare(plan, options.rounds, options.warmup) for _ in range(options.invocations)]
    return figures(plan, invocations, private=private)


def figures(plan: Plan, invocations: Sequence[Samples], *, private: bool) -> dict[str, Any]:
    """The record; ``private`` says whether the loopback interface had no other traffic."""
    ratios = [
        [ours / theirs for ours, theirs in zip(samples.seconds, samples.gloo_seconds, strict=True)]
        for samples in invocations
    ]
    sent = median(value for samples in invocations for value in samples.bytes_sent)
    extra = max(value for samples in invocations for value in samples.extra)
    phases = [each for samples in invocations for each in samples.phases]
    seconds = {
        name: spread([value for samples in invocations for value in getattr(samples, name)])
        for name in ("seconds", "peer_seconds", "gloo_seconds")
    }
    return {
        "peers": plan.peers,
        "mib": plan.mib,
        "dtype": plan.dtype,
        "codec": plan.codec,
        "settings": dict(plan.settings),
        "rounds": len(invocations[0].seconds),
        "invocations": len(invocations),
        **seconds,
        "ratio": {
            **spread([ratio for each in ratios for ratio in each]),
            "by_invocation": [round(median(each), 3) for each in ratios],
        },
        "bytes_sent_per_peer": round(sent),
        "bytes_over_bound": round(sent / plan.bound, 4),
        "private_loopback": private,
        "peak_extra_rss": extra,
        "peak_extra_rss_over_model": round(extra / (plan.values * plan.itemsize), 3),
        "max_error": max(samples.error for samples in invocations),
        **({"phases": medians(phases)} if phases else {}),
    }


def table(record: Record) -> str:
    """The figures for people."""
    encrypted = ", over TLS" if record.get("tls") else ""
    size = f"{record['peers']} peers, {record['mib']:g} MiB of {record['dtype']}, {record['codec']}{encrypted}"
    shared = "" if record["private_loopback"] else ", with all other traffic on the loopback"
    over = f"{record['bytes_over_bound']:.3f}"
    rows = [
        ("a round", f"{shown(record['seconds'])} s"),
        ("gloo", f"{shown(record['gloo_seconds'])} s"),
        ("ratio", f"{shown(record['ratio'])}; by invocation {record['ratio']['by_invocation']}"),
        ("sent by a peer", f"{record['bytes_sent_per_peer'] / MIB:.1f} MiB, {over} of the bound{shared}"),
        ("extra memory at most", f"{record['peak_extra_rss_over_model']:.2f} models"),
        *encrypted_rows(record),
        *rows_of(record),
    ]
    repeated = f"median (quartiles) of {record['rounds']} rounds x {record['invocations']} invocations"
    return "\n".join([f"{size}: {repeated}", *aligned(rows, right=False)])


MERGE = Benchmark(name="merge", description=__doc__, add_options=_options, measure=_measure, table=table)

if __name__ == "__main__":
    MERGE.main()
