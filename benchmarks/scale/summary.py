"""From samples to growth: figures of one peer and round, and the power of n with which they grow."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.scale.run import Sample

LINEAR = 1.15
"""The most that a power fitted to few points may be for growth to count as at most linear."""
FLAT = 1.05
"""The most that a peer's data may be over 2(n-1)/n of the model to count as flat."""

_NAMES = ("peers", "messages", "(most)", "again", "bytes", "(most)", "data", "of bound", "CPU", "round", "joining")
_WIDTHS = (5, 10, 8, 8, 8, 9, 10, 10, 10, 9, 10)


def record(samples: Sequence[Sample]) -> dict[str, Any]:
    """All figures; ``growth`` and ``goal`` need two swarms at least, else they are null."""
    sizes = [_figures(sample) for sample in samples]
    kinds = sorted({kind for sample in samples for kind in sample.messages})
    messages = _power(samples, [size["control_messages"] for size in sizes])
    octets = _power(samples, [size["control_bytes"] for size in sizes])
    growth = {
        "control_messages": messages,
        "control_bytes": octets,
        "messages_by_kind": {
            kind: _power(samples, [each.messages[kind] / each.peers for each in samples]) for kind in kinds
        },
        "bytes_by_kind": {kind: _power(samples, [each.bytes[kind] / each.peers for each in samples]) for kind in kinds},
    }
    return {
        "benchmark": "scale",
        "unit": "per peer and round",
        "model_bytes": samples[0].model_bytes,
        "rounds": samples[0].rounds,
        "sizes": sizes,
        "growth": growth,
        "goal": {
            "control_messages_at_most_linear": None if messages is None else messages <= LINEAR,
            "control_bytes_at_most_linear": None if octets is None else octets <= LINEAR,
            "data_flat": all(size["data_over_bound"] <= FLAT for size in sizes),
        },
    }


def table(result: Mapping[str, Any]) -> str:
    """The figures for people."""
    names, widths = _NAMES, _WIDTHS
    lines = ["".join(f"{name:>{width}}" for name, width in zip(names, widths, strict=True))]
    for size in result["sizes"]:
        cells = (
            f"{size['peers']}",
            f"{size['control_messages']:.1f}",
            f"{size['control_messages_most']:.1f}",
            f"{size['repeated_messages']:.1f}",
            f"{size['control_bytes']:.0f}",
            f"{size['control_bytes_most']:.0f}",
            f"{size['data_bytes'] / 1e6:.2f} MB",
            f"{size['data_over_bound']:.3f}",
            f"{1e3 * size['cpu_seconds']:.1f} ms",
            f"{size['seconds']:.2f} s",
            f"{size['joining']['bytes'] / 1e3:.0f} kB",
        )
        lines.append("".join(f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=True)))
    growth = result["growth"]
    lines.append(f"per peer and round, {result['rounds']} rounds, a model of {result['model_bytes'] / 1e6:.2f} MB")
    if growth["control_messages"] is not None:
        lines.append(f"messages grow as n^{growth['control_messages']}, bytes as n^{growth['control_bytes']}")
        worst = {kind: power for kind, power in growth["bytes_by_kind"].items() if power and power > LINEAR}
        lines += [f"  faster than n: the bytes of {kind}, as n^{power}" for kind, power in worst.items()]
    return "\n".join(lines)


def _figures(sample: Sample) -> dict[str, Any]:
    """Of the average peer in one round, where not said otherwise."""
    shares = sample.peers * sample.rounds
    bound = 2 * (sample.peers - 1) / sample.peers * sample.model_bytes
    kinds = sorted(sample.messages)
    return {
        "peers": sample.peers,
        "control_messages": round(sample.messages.total() / shares, 2),
        "control_messages_most": round(sample.most_messages / sample.rounds, 2),
        "repeated_messages": round(sample.repeated / shares, 2),
        "repeated_bytes": round(sample.repeated_bytes / shares, 1),
        "control_bytes": round(sample.bytes.total() / shares, 1),
        "control_bytes_most": round(sample.most_bytes / sample.rounds, 1),
        "data_bytes": round(sample.data / shares),
        "data_bytes_most": round(sample.most_data / sample.rounds),
        "data_over_bound": round(sample.most_data / sample.rounds / bound, 4),
        "cpu_seconds": round(sample.cpu_seconds / shares, 5),
        "seconds": round(sample.seconds / sample.rounds, 4),
        "messages_by_kind": {kind: round(sample.messages[kind] / shares, 3) for kind in kinds},
        "bytes_by_kind": {kind: round(sample.bytes[kind] / shares, 1) for kind in kinds},
        "joining": {
            "messages": round(sample.joining_messages / sample.peers, 1),
            "bytes": round(sample.joining_bytes / sample.peers),
            "seconds": round(sample.joining_seconds, 3),
        },
    }


def _power(samples: Sequence[Sample], values: Sequence[float]) -> float | None:
    """The slope of log value over log n between the two largest swarms; None where there is no such thing.

    The largest, because constants that weigh in small swarms hide what grows.
    """
    if len(samples) < 2 or not values[-1] or not values[-2]:
        return None
    return round(math.log(values[-1] / values[-2]) / math.log(samples[-1].peers / samples[-2].peers), 2)
