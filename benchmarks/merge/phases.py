"""How long each phase of a round takes, from the times at which each peer reaches its milestones."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from benchmarks.merge.model import RandomModel
from benchmarks.merge.plan import Plan
from swarm import hookimpl
from swarm.config import Settings
from swarm.messages import Envelope
from swarm.plugins import PluginRegistry
from swarm.records import RoundStarted
from swarm.session.wiring import Network, network_of
from swarm.tensors.state import Array, ModelState, Schema

PHASES = {
    "capture": "captured",
    "offer": "offered",
    "form": "started",
    "exchange": "ready",
    "decide": "decided",
    "apply": "applied",
}
"""In their order, each with the milestone that ends it; benchmarks/README.md describes them."""
_MESSAGES = {"Offer": "offered", "Ready": "ready"}

Times = Mapping[str, float]
"""By milestone: when one peer reached it, in seconds of ``time.monotonic``."""


def phases(began: float, peers: Sequence[Times]) -> dict[str, float]:
    """Seconds of each phase of one round: from when the last peer ended the phase before to when it ended this one.

    The leader sends itself neither offer nor ready; only the other peers have these milestones.
    """
    seconds, since = {}, began
    for phase, milestone in PHASES.items():
        reached = max((times[milestone] for times in peers if milestone in times), default=since)
        seconds[phase] = max(reached - since, 0.0)
        since = max(reached, since)
    return seconds


def medians(rounds: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Median seconds of each phase."""
    return {phase: round(median(each[phase] for each in rounds), 4) for phase in PHASES}


def rows_of(record: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Rows of a table: the phases, if the record has them."""
    return [(f"  {phase}", f"{seconds:.4f} s") for phase, seconds in record.get("phases", {}).items()]


class Milestones:
    """A plugin that records the first time of each milestone since ``clear``."""

    def __init__(self) -> None:
        self.times: dict[str, float] = {}

    def clear(self) -> None:
        """Begin a new round."""
        self.times = {}

    def reached(self, milestone: str) -> None:
        """Record a milestone."""
        self.times.setdefault(milestone, time.monotonic())

    @hookimpl
    def swarm_round_started(self, event: RoundStarted) -> None:
        """The exchange begins."""
        self.reached("started")

    def network(self, settings: Settings, plugins: PluginRegistry) -> Network:
        """The usual network, whose transport also records what it sends."""
        network = network_of(settings, plugins)
        send = network.transport.send

        def recorded(address: str, envelope: Envelope) -> None:
            if milestone := _MESSAGES.get(type(envelope.message).__name__):
                self.reached(milestone)
            send(address, envelope)

        # Not a transport around the transport: that would have to follow every change of the interface.
        network.transport.send = recorded  # type: ignore[method-assign]
        return network


class RecordedModel(RandomModel):
    """Records when it is read and written."""

    def __init__(self, plan: Plan, rank: int, milestones: Milestones) -> None:
        super().__init__(plan, rank)
        self._milestones = milestones

    def read(self, into: ModelState) -> None:
        super().read(into)
        self._milestones.reached("captured")

    def borrow(self, schema: Schema) -> list[Array]:
        # Stated here too: a class that overrides ``read`` alone does not inherit it, and would be measured with a copy.
        borrowed = super().borrow(schema)
        self._milestones.reached("captured")
        return borrowed

    def write(self, state: ModelState) -> None:
        self._milestones.reached("decided")
        super().write(state)
        self._milestones.reached("applied")
