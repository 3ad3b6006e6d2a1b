"""Rounds of peers behind capped links."""

from __future__ import annotations

from dataclasses import dataclass, field

from benchmarks.link.network import LINK, CappedNetwork
from benchmarks.merge.conductor import Conductor
from benchmarks.merge.loopback import Count, count
from benchmarks.merge.plan import Plan
from benchmarks.merge.run import Samples, merged


@dataclass(slots=True, kw_only=True)
class LinkSamples:
    """One number a round, of those that count."""

    rounds: Samples = field(default_factory=Samples)
    busiest: list[int] = field(default_factory=list)
    """Bytes that went through the busiest link in its busier direction, with all headers."""


def measure(plan: Plan, mbit: float, rounds: int, warmup: int) -> LinkSamples:
    """Let peers merge over links of ``mbit`` Mbit/s in each direction.

    Raises:
        NetworkError: the links could not be made.
        RuntimeError: a result is wrong, or a round was not what it should be.
    """
    samples = LinkSamples()
    with CappedNetwork(plan.peers, mbit) as network:

        def place(rank: int) -> dict[str, object]:
            return {"listen": f"{network.address(rank)}:0", "insecure": True}

        with Conductor(plan, gloo=False, place=place, prefix=network.prefix) as peers:
            peers.all("begin")
            for number in range(warmup + rounds):
                taken = samples if number >= warmup else LinkSamples()
                before = _counts(peers, plan)
                merged(peers, plan, number, taken.rounds, lambda: sum(each.sent for each in _counts(peers, plan)))
                taken.busiest.append(_busiest(before, _counts(peers, plan)))
            peers.all("end")
    return samples


def _counts(peers: Conductor, plan: Plan) -> list[Count]:
    return [count(LINK, peers.pid(rank)) for rank in range(plan.peers)]


def _busiest(before: list[Count], after: list[Count]) -> int:
    pairs = zip(before, after, strict=True)
    return max(max(now.sent - then.sent, now.received - then.received) for then, now in pairs)
