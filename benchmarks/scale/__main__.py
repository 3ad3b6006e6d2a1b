"""Rounds of swarms of growing size: what one peer sends, and the power of n with which that grows."""

from __future__ import annotations

import argparse
import math
import sys
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from benchmarks.harness.command import Benchmark, Record, add_repetitions, integer
from benchmarks.harness.figures import aligned
from benchmarks.scale.swarm import Sample, Swarm

STACK = 256 * 1024
"""Bytes of a thread's stack: 64 peers have 4000 streams, with one thread each."""
LINEAR = 1.15
"""The largest power, fitted to few points, that counts as at most linear growth."""
FLAT = 1.05
"""The largest ratio of a peer's data to 2(n-1)/n of the model that counts as no growth."""

COLUMNS = {
    "peers": "{peers}",
    "messages": "{control_messages:.1f}",
    "most messages": "{control_messages_most:.1f}",
    "retransmitted": "{repeated_messages:.1f}",
    "bytes": "{control_bytes:.0f}",
    "most bytes": "{control_bytes_most:.0f}",
    "data, bytes": "{data_bytes:.0f}",
    "of bound": "{data_over_bound:.3f}",
    "CPU s": "{cpu_seconds:.4f}",
    "round s": "{seconds:.2f}",
    "joining, bytes": "{joining[bytes]:.0f}",
}
"""Of the table: headings, and how a size is shown."""


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--peers", type=_sizes, default=(2, 4, 8, 16, 32, 64), help="(default 2,4,8,16,32,64)")
    parser.add_argument("--kib", type=integer(1), default=256, help="size of the model, float32 (default 256)")
    add_repetitions(parser, rounds=5, warmup=2, least=(1, 1))


def _sizes(text: str) -> tuple[int, ...]:
    sizes = tuple(integer(2)(size) for size in text.split(","))
    if list(sizes) != sorted(set(sizes)):
        raise argparse.ArgumentTypeError(f"{text} is not allowed: allowed are numbers in increasing order")
    return sizes


def _measure(options: argparse.Namespace) -> Record:
    threading.stack_size(STACK)
    samples = []
    for peers in options.peers:
        print(f"{peers} peers", file=sys.stderr, flush=True)
        samples.append(Swarm(peers, options.kib * 256).measure(options.rounds, options.warmup))
    return figures(samples)


def figures(samples: Sequence[Sample]) -> dict[str, Any]:
    """The record; what needs at least two swarms is None for one."""
    sizes = [_of_size(sample) for sample in samples]
    kinds = sorted({kind for size in sizes for kind in size["messages_by_kind"]})
    by_kind = {
        f"{what}_by_kind": {
            kind: _power(sizes, [_total(sample, what)[kind] / len(sample.sent) for sample in samples]) for kind in kinds
        }
        for what in ("messages", "bytes")
    }
    messages = _power(sizes, [size["control_messages"] for size in sizes])
    octets = _power(sizes, [size["control_bytes"] for size in sizes])
    return {
        "unit": "per peer and round",
        "model_bytes": samples[0].model_bytes,
        "rounds": samples[0].rounds,
        "sizes": sizes,
        "growth": {"control_messages": messages, "control_bytes": octets, **by_kind},
        "goal": {
            "control_messages_at_most_linear": None if messages is None else messages <= LINEAR,
            "control_bytes_at_most_linear": None if octets is None else octets <= LINEAR,
            "data_flat": all(size["data_over_bound"] <= FLAT for size in sizes),
        },
    }


def _of_size(sample: Sample) -> dict[str, Any]:
    """Figures of the average peer in one round; ``..._most`` of the peer that sent most."""
    peers, rounds = len(sample.sent), sample.rounds
    bound = 2 * (peers - 1) / peers * sample.model_bytes
    messages, octets, repeated, repeated_octets, data = (
        [getattr(each, name).total() / rounds for each in sample.sent]
        for name in ("messages", "bytes", "repeated", "repeated_bytes", "data")
    )
    joining = sample.joining
    return {
        "peers": peers,
        "control_messages": round(fmean(messages), 2),
        "control_messages_most": round(max(messages), 2),
        "repeated_messages": round(fmean(repeated), 2),
        "repeated_bytes": round(fmean(repeated_octets), 1),
        "control_bytes": round(fmean(octets), 1),
        "control_bytes_most": round(max(octets), 1),
        "data_bytes": round(fmean(data)),
        "data_bytes_most": round(max(data)),
        "data_over_bound": round(max(data) / bound, 4),
        "cpu_seconds": round(sample.cpu_seconds / peers / rounds, 5),
        "seconds": round(sample.seconds / rounds, 4),
        **{
            f"{what}_by_kind": {
                kind: round(count / peers / rounds, digits) for kind, count in sorted(_total(sample, what).items())
            }
            for what, digits in (("messages", 3), ("bytes", 1))
        },
        "joining": {
            "messages": round(fmean(each.messages.total() + each.repeated.total() for each in joining), 1),
            "bytes": round(fmean(each.bytes.total() + each.repeated_bytes.total() for each in joining)),
            "seconds": round(sample.joining_seconds, 3),
        },
    }


def _total(sample: Sample, what: str) -> Counter[str]:
    return sum((getattr(each, what) for each in sample.sent), Counter())


def _power(sizes: Sequence[Mapping[str, Any]], values: Sequence[float]) -> float | None:
    """The slope of log value over log n between the two largest swarms; None where it cannot be computed.

    Between the largest ones, because constant parts hide the growth of small swarms.
    """
    if len(sizes) < 2 or not values[-1] or not values[-2]:
        return None
    return round(math.log(values[-1] / values[-2]) / math.log(sizes[-1]["peers"] / sizes[-2]["peers"]), 2)


def table(record: Record) -> str:
    """The figures for people."""
    rows = [tuple(COLUMNS)] + [tuple(form.format(**size) for form in COLUMNS.values()) for size in record["sizes"]]
    growth = record["growth"]
    lines = aligned(rows)
    lines.append(f"per peer and round, {record['rounds']} rounds, a model of {record['model_bytes'] / 1e6:.2f} MB")
    if growth["control_messages"] is not None:
        lines.append(f"messages grow as n^{growth['control_messages']}, bytes as n^{growth['control_bytes']}")
        worst = {kind: power for kind, power in growth["bytes_by_kind"].items() if power and power > LINEAR}
        lines += [f"  faster than n: the bytes of {kind}, as n^{power}" for kind, power in worst.items()]
    return "\n".join(lines)


SCALE = Benchmark(name="scale", description=__doc__, add_options=_options, measure=_measure, table=table)

if __name__ == "__main__":
    SCALE.main()
