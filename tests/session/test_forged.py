"""Messages in the name of another peer, and floods of messages."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from swarm import messages
from swarm.messages import Envelope, Hello, Leave, Message, Offer, Refuse
from swarm.records import ContributionStats, PeerInfo
from swarm.testing.nodes import eventually
from swarm.testing.swarm import MemorySwarm, SwarmPeer, together

WEIGHTS = {"w": np.zeros(3, np.float32)}
SESSION = "swarm_model"


def step(peer: SwarmPeer) -> None:
    peer.arrays["w"] += 1


class Wire:
    """A network of which a test sees every message, and into which it puts its own."""

    def __init__(self, **settings: object) -> None:
        self.swarm = MemorySwarm(**settings)
        self.seen: list[Envelope] = []
        self.swarm.network.passes = self._passes

    def _passes(self, _address: str, envelope: Envelope) -> bool:
        self.seen.append(envelope)
        return True

    def of(self, name: str) -> Envelope:
        """A message that the peer ``name`` has sent."""
        return next(envelope for envelope in tuple(self.seen) if envelope.sender == name)

    def deliver(self, to: str, envelope: Envelope) -> None:
        address = self.swarm.addresses[f"{SESSION}/{to}"]
        source = next(at for at in self.swarm.addresses.values() if at != address)
        self.swarm.network.reach(source, address).report(lambda handler: handler.on_envelope(envelope))


@contextmanager
def two_peers() -> Iterator[tuple[Wire, SwarmPeer, SwarmPeer]]:
    wire = Wire(world_size=2, sync_interval=2)
    ada, bob = (wire.swarm.peer(name, WEIGHTS) for name in ("ada", "bob"))
    together(ada.session.begin, bob.session.begin)
    yield wire, ada, bob
    together(ada.session.end, bob.session.end)


FORGED: dict[str, Callable[[Envelope], Envelope]] = {
    "leave": lambda bob: replace(bob, address="memory:99", message=Leave("training is over")),
    "an offer": lambda bob: replace(
        bob, address="memory:99", message=Offer("", "", True, ContributionStats(peer="bob", round=0, weight=1))
    ),
    "a refusal": lambda bob: replace(bob, address="memory:99", message=Refuse("no", final=True)),
    "a refusal under another name": lambda bob: replace(bob, sender="x", message=Refuse("no", final=True)),
    "leave of another process": lambda bob: replace(bob, incarnation="x", message=Leave("training is over")),
}


@pytest.mark.parametrize("forge", FORGED.values(), ids=FORGED)
def test_a_peer_stays_if_somebody_else_speaks_for_it(forge: Callable[[Envelope], Envelope]) -> None:
    with two_peers() as (wire, ada, bob):
        for _ in range(3):
            wire.deliver("ada", forge(wire.of("bob")))
        together(partial(ada.go_on, 2, step), partial(bob.go_on, 2, step))
        assert ada.reports[0].group == ("ada", "bob")
        assert not any("bob left" in line or "bob is gone" in line for line in ada.lines)


@pytest.mark.parametrize("field", ["name", "session", "incarnation", "address"])
def test_a_greeting_in_the_name_of_another_peer_is_ignored(field: str) -> None:
    with two_peers() as (wire, ada, bob):
        before = len(wire.seen)
        info = PeerInfo(name="eve", incarnation="e1", address="memory:99", session=SESSION)
        greeting = Hello(replace(info, **{field: "other"}), (), (), None, wants_reply=True)
        for _ in range(3):
            wire.deliver("ada", Envelope(SESSION, "eve", "e1", "memory:99", greeting))
        together(partial(ada.go_on, 2, step), partial(bob.go_on, 2, step))
        assert len([line for line in ada.lines if "sent a greeting in the name of" in line]) == 1
        sent = [envelope for envelope in wire.seen[before:] if envelope.sender == "ada"]
        assert not any(isinstance(envelope.message, Refuse | Hello) for envelope in sent)


def test_forged_refusals_do_not_end_a_start() -> None:
    wire = Wire(world_size=4, min_peers=3, sync_interval=2, straggler_timeout=0.5)
    peers = [wire.swarm.peer(name, WEIGHTS) for name in ("ada", "bob", "cyd")]

    def forge() -> None:
        eventually(lambda: len(wire.swarm.addresses) == 3, "all have begun")
        for name in "xyz":
            for reason in (Refuse("no", final=True), Refuse("taken", final=True, about_name=True)):
                wire.deliver("ada", Envelope(SESSION, name, "1", f"memory:{name}", reason))

    together(forge, *(partial(peer.train, 2, step) for peer in peers))
    assert all(peer.reports[0].group == ("ada", "bob", "cyd") for peer in peers)


def test_a_flood_of_messages_leaves_few_lines() -> None:
    with two_peers() as (wire, ada, bob):
        envelope = wire.of("bob")
        hello = next(each for each in wire.seen if each.sender == "bob" and isinstance(each.message, Hello))
        before = len(ada.lines)
        flood: list[Message] = [
            Offer("", "", True, ContributionStats(peer="ada", round=0, weight=1)),
            messages.Propose(None),  # an error in handling it
        ]
        for number in range(200):
            for message in flood:
                wire.deliver("ada", replace(envelope, message=message))
            wire.deliver("ada", replace(envelope, session=f"s{number}", message=Leave("x")))
            wire.deliver("ada", replace(envelope, message=Leave("x" * 10**5, unintended=True)))
            wire.deliver("ada", hello)
        done = Offer("", "", True, ContributionStats(peer="bob", round=0, weight=1))
        wire.deliver("ada", replace(envelope, message=done))
        together(partial(ada.go_on, 2, step), partial(bob.go_on, 2, step))
        written = ada.lines[before:]
        assert len(written) < 20
        assert all(len(line) < 1300 for line in written)
