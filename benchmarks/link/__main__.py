"""Rounds of peers behind links of limited rate."""

from __future__ import annotations

import argparse
import signal
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from statistics import median
from typing import Any

from benchmarks.harness.command import Benchmark, Record, add_repetitions, positive
from benchmarks.harness.figures import aligned, in_turn, spread
from benchmarks.harness.workers import Workers
from benchmarks.link.network import LINK, address, limited_network, nats_in, prefix, proxy_in, require_root, shut
from benchmarks.merge.counters import Count, count
from benchmarks.merge.phases import medians, rows_of
from benchmarks.merge.plan import MIB, Plan, add_options, plan_of
from benchmarks.merge.rounds import Samples, begin, merged, peers_of, reduced

GOALS = {"direct": {"exact": 1.15, "int8": 1.25}, "nats": {"exact": 1.3}}
"""The largest ratio of a round to its limit, by how peers connect to each other and by codec."""
GLOO_GOALS = {"exact": 1.0, "bf16": 0.52, "int8": 0.28}
"""The same to gloo's sum of the exact values, over links of ``FAST`` and more."""
FAST = 1000.0
"""Mbit/s."""


def _options(parser: argparse.ArgumentParser) -> None:
    add_options(parser, mib=20.0)
    parser.add_argument("--mbit", type=positive, default=100.0, help="of each link, each way (default 100)")
    parser.add_argument("--one-way", action="store_true", help="nobody can connect to the last peer")
    ways, text = ("direct", "proxy", "nats"), "how peers connect to each other (default direct)"
    parser.add_argument("--via", choices=ways, default="direct", help=text)
    add_repetitions(parser, rounds=5, warmup=1)


def _measure(options: argparse.Namespace) -> Record:
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that the namespaces are removed, as on Ctrl-C
    require_root()
    plan = plan_of(options)
    way = Way(options.via, options.one_way)
    return figures(plan, options.mbit, _samples(plan, options.mbit, options.rounds, options.warmup, way), way)


@dataclass(frozen=True, slots=True)
class Way:
    """How the peers connect to each other."""

    via: str = "direct"
    """``direct``, ``proxy``, or ``nats``: through a server whose own link is not limited."""
    one_way: bool = False
    """Whether nobody can connect to the last peer."""


def _samples(plan: Plan, mbit: float, rounds: int, warmup: int, way: Way) -> Samples:
    """Let peers merge over links of ``mbit`` Mbit/s in each direction.

    Raises:
        RuntimeError: the links could not be made, or a result or a round is wrong.
    """
    samples = Samples()
    with limited_network(plan.peers, mbit) as namespaces, ExitStack() as used:
        if way.one_way:
            shut(namespaces.peers[-1])
        proxy = used.enter_context(proxy_in(namespaces)) if way.via == "proxy" else "none"
        hub = used.enter_context(nats_in(namespaces)) if way.via == "nats" else None

        def place(rank: int) -> dict[str, object]:
            if hub:
                return {"transport": "nats", "discovery": "nats", "insecure": True}
            return {"listen": f"{address(rank)}:0", "insecure": True, "proxy": proxy}

        def start(rank: int) -> Sequence[str]:
            variables = ("env", f"SWARM_NATS_SERVERS={hub}") if hub else ()
            return (*prefix(namespaces.peers[rank]), *variables)

        # gloo's processes cannot go through a proxy or a hub, nor to one that accepts no connection.
        gloo = way == Way()
        starts = {"place": place, "prefix": start, "interface": LINK}
        with peers_of(plan, gloo=gloo, **starts) as peers:
            if gloo:
                begin(peers, plan)
            else:
                peers.all("begin")
            for turn, (arm, counts) in enumerate(in_turn(("swarm", "gloo") if gloo else ("swarm",), rounds, warmup), 2):
                taken = samples if counts else Samples()
                if arm == "gloo":
                    taken.gloo_seconds.append(reduced(peers, turn))
                    continue
                before = _counts(peers, plan)
                merged(peers, plan, turn, taken, lambda: sum(each.sent for each in _counts(peers, plan)))
                taken.busiest.append(busiest(before, _counts(peers, plan)))
            peers.all("end")
    return samples


def _counts(peers: Workers, plan: Plan) -> list[Count]:
    return [count(LINK, peers.pid(rank)) for rank in range(plan.peers)]


def busiest(before: Sequence[Count], after: Sequence[Count]) -> int:
    """Bytes through the busiest link, in its busier direction, between two readings of all links."""
    pairs = zip(before, after, strict=True)
    return max(max(now.sent - then.sent, now.received - then.received) for then, now in pairs)


def figures(plan: Plan, mbit: float, samples: Samples, way: Way) -> dict[str, Any]:
    """The record."""
    limits = [8 * each / (mbit * 1e6) for each in samples.busiest]
    ratios = [took / limit for took, limit in zip(samples.seconds, limits, strict=True)]
    ratio = spread(ratios, 3)
    beside = [
        ours / theirs for ours, theirs in zip(samples.seconds, samples.gloo_seconds, strict=bool(samples.gloo_seconds))
    ]
    goal, each_sent = GOALS.get(way.via, {}).get(plan.codec), median(samples.bytes_sent)
    return {
        "peers": plan.peers,
        "mib": plan.mib,
        "codec": plan.codec,
        "settings": dict(plan.settings),
        "mbit": mbit,
        "via": way.via,
        "one_way": way.one_way,
        "rounds": len(samples.seconds),
        "seconds": round(median(samples.seconds), 4),
        "limit_seconds": round(median(limits), 4),
        "ratio": ratio["median"],
        "ratio_q1": ratio["q1"],
        "ratio_q3": ratio["q3"],
        "bytes": round(median(samples.busiest)),
        "bytes_sent_per_peer": round(each_sent),
        "bytes_over_bound": round(each_sent / plan.bound, 4),
        "max_error": samples.error,
        "goal": {"at_most": goal, "met": None if goal is None else median(ratios) <= goal},
        **(_beside_gloo(plan, mbit, samples, beside) if beside else {}),
        **({"phases": medians(samples.phases)} if samples.phases else {}),
    }


def _beside_gloo(plan: Plan, mbit: float, samples: Samples, ratios: Sequence[float]) -> dict[str, Any]:
    goal = GLOO_GOALS.get(plan.codec) if mbit >= FAST else None
    met = None if goal is None else median(ratios) <= goal
    return {
        "gloo_seconds": round(median(samples.gloo_seconds), 4),
        "gloo_ratio": round(median(ratios), 3),
        "gloo_goal": {"at_most": goal, "met": met},
    }


def table(record: Record) -> str:
    """The figures for people."""
    over = f"{record['bytes_over_bound']:.3f}"
    rows = [
        ("a round", f"{record['seconds']:.3f} s"),
        ("limit", f"{record['limit_seconds']:.3f} s for {record['bytes'] / MIB:.1f} MiB on the busiest link"),
        ("ratio", f"{record['ratio']:.3f} ({record['ratio_q1']:.3f} to {record['ratio_q3']:.3f})"),
        *(
            [("gloo", f"{record['gloo_seconds']:.3f} s, ratio {record['gloo_ratio']:.3f}")]
            if "gloo_ratio" in record
            else []
        ),
        ("sent by a peer", f"{record['bytes_sent_per_peer'] / MIB:.1f} MiB, {over} of the bound"),
        *rows_of(record),
    ]
    size = f"{record['peers']} peers, {record['mib']:g} MiB, {record['codec']}, {record['mbit']:g} Mbit/s each way"
    size += f", via {record['via']}{', one to which nobody can connect' if record['one_way'] else ''}"
    return "\n".join([f"{size}: median (quartiles) of {record['rounds']} rounds", *aligned(rows, right=False)])


LINKS = Benchmark(name="link", description=__doc__, add_options=_options, measure=_measure, table=table)

if __name__ == "__main__":
    LINKS.main()
