"""Weights over a NATS server on this machine, encrypted between two peers, in turns with nats-py alone."""

from __future__ import annotations

import argparse

from benchmarks.harness.command import Benchmark, Record, add_repetitions, integer
from benchmarks.harness.figures import aligned, in_turn, shown, spread, verdict
from benchmarks.harness.workers import Workers, user_environment
from benchmarks.nats.server import nats_server
from swarm.identity.throwaway import make_identities

GOAL = 0.5
"""The smallest part of the speed of nats-py alone."""
MIB = 2**20


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--mib", type=integer(4), default=256, help="sent in one repetition (default 256)")
    add_repetitions(parser, rounds=9, warmup=2)


def _measure(options: argparse.Namespace) -> Record:
    speeds: dict[str, list[float]] = {"alone": [], "swarm": []}
    with Workers("benchmarks.nats.peer", 2, environment=user_environment()) as peers:
        identities = {name: peers.directory / name for name in ("sender", "receiver")}
        make_identities(identities)
        with nats_server(peers.directory / "hub") as server:
            _, address = peers.each(
                [
                    {"server": server, "identity": str(place), "receives": name == "receiver"}
                    for name, place in identities.items()
                ]
            )
            for arm, counts in in_turn(tuple(speeds), options.rounds, options.warmup):
                size = options.mib * MIB
                sent, received = peers.each(
                    [{"do": f"send_{arm}", "size": size, "address": address}, {"do": f"receive_{arm}", "size": size}]
                )
                if counts:
                    speeds[arm].append(options.mib / (max(sent["ended"], received["ended"]) - sent["began"]))
            peers.all("close")
    ratios = [swarm / alone for swarm, alone in zip(speeds["swarm"], speeds["alone"], strict=True)]
    ratio = spread(ratios, 3)
    return {
        "mib": options.mib,
        **{arm: spread(each, 1) for arm, each in speeds.items()},
        "ratio": ratio,
        "goal": {"ratio": GOAL, "met": ratio["median"] >= GOAL},
    }


def _table(record: Record) -> str:
    rows = [("", "MiB/s"), ("nats-py alone", shown(record["alone"], 0)), ("swarm-nats", shown(record["swarm"], 0))]
    goal = record["goal"]
    said = f"{record['mib']} MiB each time: median (quartiles); ratio {shown(record['ratio'], 2)}"
    return "\n".join([*aligned(rows), f"{said}; goal, at least {goal['ratio']}: {verdict(goal['met'])}"])


BENCHMARK = Benchmark(name="nats", description=__doc__, add_options=_options, measure=_measure, table=_table)

if __name__ == "__main__":
    BENCHMARK.main()
