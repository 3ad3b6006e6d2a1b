"""Messages in the name of another peer, and floods of messages."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from swarm import hookimpl, messages
from swarm.messages import Envelope, Hello, Leave, Message, Offer, Refuse
from swarm.peer.inbox import MOST_OF_ONE
from swarm.records import ContributionStats, PeerInfo, PeerJoined
from swarm.testing.nodes import DEADLINE, eventually
from swarm.testing.swarm import MemorySwarm, SwarmPeer, together
from swarm.transport.base import Handler

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
        self._tell(to, lambda handler: handler.on_envelope(envelope))

    def settle(self, name: str) -> None:
        """Wait until all that was delivered to a peer has reached its handler."""
        reached = threading.Event()
        self._tell(name, lambda _handler: reached.set())
        assert reached.wait(DEADLINE)

    def _tell(self, name: str, job: Callable[[Handler], None]) -> None:
        address = self.swarm.addresses[f"{SESSION}/{name}"]
        source = next(at for at in self.swarm.addresses.values() if at != address)
        self.swarm.network.reach(source, address).report(job)


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


def test_an_address_gives_the_name_of_its_peer_or_none() -> None:
    with two_peers() as (wire, ada, bob):
        for address in ("bob@memory:99", "eve@memory:99"):
            info = PeerInfo(name="eve", incarnation="e1", address=address, session=SESSION, fingerprint="x")
            wire.deliver("ada", Envelope(SESSION, "eve", "e1", address, Hello(info, (), (), None, wants_reply=True)))
        together(partial(ada.go_on, 2, step), partial(bob.go_on, 2, step))
        assert any("eve at bob@memory:99 sent a greeting in the name of" in line for line in ada.lines)
        assert any("refused eve at eve@memory:99" in line for line in ada.lines)


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


def test_messages_that_come_too_fast_are_dropped_and_others_wait_no_longer() -> None:
    busy, go_on = threading.Event(), threading.Event()

    class Slow:
        @hookimpl
        def swarm_peer_joined(self, event: PeerJoined) -> None:
            if event.peer.name == "slow":
                busy.set()
                assert go_on.wait(DEADLINE)

    wire = Wire(world_size=2, sync_interval=2)
    ada, bob = wire.swarm.peer("ada", WEIGHTS, plugins={"slow": Slow()}), wire.swarm.peer("bob", WEIGHTS)
    together(ada.session.begin, bob.session.begin)
    hello = next(each for each in wire.seen if each.sender == "bob" and isinstance(each.message, Hello))

    def again(name: str) -> Envelope:
        changes = {"name": name, "incarnation": f"{name}1", "address": f"memory:{name}"}
        key = replace(hello.message.credential, peer=name)
        peer = replace(hello.message.peer, **changes)
        greeting = replace(hello.message, peer=peer, wants_reply=False, credential=key)
        return Envelope(SESSION, name, f"{name}1", f"memory:{name}", greeting)

    wire.deliver("ada", again("slow"))
    assert busy.wait(DEADLINE)
    for _ in range(10 * MOST_OF_ONE):
        wire.deliver("ada", again("flood"))
    wire.deliver("ada", again("late"))
    wire.settle("ada")
    go_on.set()
    eventually(lambda: any("late joined" in line for line in ada.lines), "the other one got in")
    dropped = [line for line in ada.lines if "dropped" in line]
    assert dropped == [
        f"WARNING {9 * MOST_OF_ONE} messages of flood were dropped: they come faster than this peer handles them"
    ]
    ada.session.abort("the test is over")
    bob.session.abort("the test is over")


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
