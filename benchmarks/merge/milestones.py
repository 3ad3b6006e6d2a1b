"""Notes when a peer comes to which phase of a round: seen by its model, by a plugin, and in what it sends."""

from __future__ import annotations

import time

from benchmarks.merge.arrays import RandomModel
from benchmarks.merge.phases import APPLIED, CAPTURED, DECIDED, OFFERED, READY, STARTED
from swarm import hookimpl
from swarm.config import Settings
from swarm.messages import Envelope
from swarm.plugins import PluginRegistry
from swarm.records import RoundStarted
from swarm.session.wiring import Network, network_of
from swarm.tensors.state import ModelState

_MESSAGES = {"Offer": OFFERED, "Ready": READY}


class Milestones:
    """A plugin that notes the first time of each milestone since ``clear``."""

    def __init__(self) -> None:
        self.marks: dict[str, float] = {}

    def clear(self) -> None:
        """A new round begins."""
        self.marks = {}

    def note(self, milestone: str) -> None:
        """It is reached now."""
        self.marks.setdefault(milestone, time.monotonic())

    @hookimpl
    def swarm_round_started(self, event: RoundStarted) -> None:
        """The exchange begins."""
        self.note(STARTED)

    def network(self, settings: Settings, plugins: PluginRegistry) -> Network:
        """The usual network; what its transport sends is noted."""
        network = network_of(settings, plugins)
        send = network.transport.send

        def noted(address: str, envelope: Envelope) -> None:
            milestone = _MESSAGES.get(type(envelope.message).__name__)
            if milestone:
                self.note(milestone)
            send(address, envelope)

        # Not a transport around the transport: that would have to follow every change of the interface.
        network.transport.send = noted  # type: ignore[method-assign]
        return network


class NotedModel(RandomModel):
    """Notes when it is read and written."""

    milestones: Milestones

    def read(self, into: ModelState) -> None:
        super().read(into)
        self.milestones.note(CAPTURED)

    def write(self, state: ModelState) -> None:
        self.milestones.note(DECIDED)
        super().write(state)
        self.milestones.note(APPLIED)
