"""A greeter on a clock of the test's, and what it sent."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Collection
from types import SimpleNamespace

from swarm.discovery.base import Discovery
from swarm.messages import Envelope, Hello, Message, Refuse
from swarm.peer.greeter import Greeter
from swarm.peer.limited_log import LimitedLog
from swarm.plugins import PluginRegistry
from swarm.records import Credential, PeerInfo
from swarm.tensors.state import Schema

SCHEMA = Schema(())


def info(name: str, address: str, *, session: str = "s") -> PeerInfo:
    return PeerInfo(name=name, incarnation=f"{name}1", address=address, session=session, fingerprint=SCHEMA.fingerprint)


def credential(name: str) -> Credential:
    return Credential(name, hashlib.sha256(name.encode()).hexdigest())


class Places(Discovery):
    """Addresses that the user gave."""

    def __init__(self, *addresses: str) -> None:
        self.addresses = addresses

    def announce(self, name: str, address: str, incarnation: str) -> None:
        """Nobody is told."""

    def discover(self) -> tuple[str, ...]:
        return self.addresses

    def withdraw(self) -> None:
        """Nothing was announced."""


class Desk:
    """A greeter on a clock of the test's, and what it sent."""

    def __init__(self, *given: str, address: str = "memory:1", members: Collection[str] = ()) -> None:
        self.sent: list[tuple[float, str, Message]] = []
        self.now = 0.0
        self.unreachable = True
        """Whether the network says that nobody is at an address that is dialled."""
        self.places = Places(*given)
        self.doubt = ""
        """Why the key of whoever greets is not its own."""
        self.greeter = Greeter(
            me=info("me", address),
            schema=SCHEMA,
            discoveries=[self.places],
            plugins=PluginRegistry(),
            logger=logging.getLogger("swarm.test"),
            limited=LimitedLog(logging.getLogger("swarm.test"), SimpleNamespace(now=lambda: self.now)),
            send=lambda to, message: self.sent.append((self.now, to, message)),
            credential=credential("me"),
            vouch=lambda given, current: self.doubt,
            members=members,
        )

    def hear(self, peer: PeerInfo, *told: PeerInfo, given: Credential | None = None) -> None:
        envelope = Envelope(peer.session, peer.name, peer.incarnation, peer.address, None)
        hello = Hello(peer, (), told, None, wants_reply=True, credential=given or credential(peer.name))
        self.greeter.greeted(envelope, hello, None, self.now)

    def refuse(self, peer: PeerInfo) -> None:
        refusal = Refuse("no", final=False)
        envelope = Envelope(peer.session, peer.name, peer.incarnation, peer.address, refusal)
        self.greeter.refused(envelope, refusal, None, self.now, 10.0)

    def wait(self, seconds: float) -> None:
        end = self.now + seconds
        while self.now < end:
            self.now += 0.5
            said = len(self.sent)
            self.greeter.dial(self.now, None)
            for _, address, _ in self.sent[said:]:
                if self.unreachable:
                    self.greeter.unanswered(address, "connection refused")

    def dialled(self, address: str) -> list[float]:
        return [at for at, to, message in self.sent if to == address and isinstance(message, Hello)]

    def told_to(self, address: str) -> list[str]:
        """Names in the last greeting to this address."""
        last = [message for _, to, message in self.sent if to == address and isinstance(message, Hello)][-1]
        return [each.name for each in last.roster]
