"""How one simulated process meets the others: the session's roster of production, and greetings as in production."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from swarm.messages import Envelope, Hello, Leave, Message, Refuse
from swarm.peer.greeter import FIRST_RETRY, LONGEST_RETRY
from swarm.peer.roster import Roster
from swarm.records import PeerId, PeerInfo
from swarm.tensors.state import Schema

if TYPE_CHECKING:
    from swarm.testing.simulation.peer import SimulatedPeer
    from swarm.testing.simulation.world import World

SCHEMA = Schema(())


class Contacts:
    """Whom a process knows. Mirrors the way messages take through the session's engine, its peers and greeter."""

    def __init__(self, world: World, process: SimulatedPeer, info: PeerInfo) -> None:
        self._world = world
        self._process = process
        self._info = info
        self._roster = Roster(info, SCHEMA)
        self._dialling: dict[PeerId, float] = {}

    def receive(self, envelope: Envelope) -> None:
        """A message has arrived."""
        message, roster, process = envelope.message, self._roster, self._process
        if isinstance(message, Hello):
            self._greeted(message)
        elif self.foreign(envelope.session) or isinstance(message, Refuse):
            pass
        elif not roster.is_live(envelope.sender, envelope.incarnation):
            self.send(envelope.sender, self._hello(wants_reply=True))
        elif isinstance(message, Leave):
            roster.leave(envelope.sender)
            process.perform(process.machine.peer_down(envelope.sender, process.now))
        else:
            self._world.witness.heard(process, envelope.sender, message)
            process.perform(process.machine.receive(envelope.sender, message, process.now))

    def foreign(self, session: str) -> bool:
        """Whether what comes from that session is none of this one's business."""
        return session != self._info.session

    def knows(self, name: PeerId, incarnation: str) -> bool:
        """Whether it is this process of that name that it believes to be there."""
        return self._roster.is_live(name, incarnation)

    def lost(self, name: PeerId, incarnation: str) -> None:
        """A process cannot be reached any more."""
        process = self._process
        if self._roster.is_live(name, incarnation) and self._roster.lose(name):
            self.dial_later(name, FIRST_RETRY)
            process.perform(process.machine.peer_down(name, process.now))

    def _greeted(self, hello: Hello) -> None:
        peer, process = hello.peer, self._process
        if self.foreign(peer.session):
            if hello.wants_reply:
                self.send(peer.name, self._hello(wants_reply=False))
            return
        clash = self._roster.clash(hello)
        if clash:
            self.send(peer.name, clash)
            return
        self._roster.meet(peer)
        if hello.wants_reply:
            self.send(peer.name, self._hello(wants_reply=False))
        process.perform(process.machine.peer_up(peer.name, hello.commit, process.now, weight=peer.weight))

    def _hello(self, *, wants_reply: bool) -> Hello:
        return Hello(self._info, (), (), self._process.machine.commit, wants_reply)

    def dial_later(self, name: PeerId, wait: float) -> None:
        """Greet whoever has that name, in a while and then again until it answers."""
        if name not in self._dialling:
            self._dialling[name] = max(wait, FIRST_RETRY)
            self._world.loop.after(wait, lambda: self._process.do(lambda: self._dial(name)))

    def _dial(self, name: PeerId) -> None:
        pause = self._dialling.pop(name)
        known = self._roster.info(name)
        if known and self._roster.is_live(name, known.incarnation):
            return
        if self._world.network.alive(name):
            self.send(name, self._hello(wants_reply=True))
        if self._world.may_come(name):
            self._dialling[name] = min(2 * pause, LONGEST_RETRY)
            self._world.loop.after(pause, lambda: self._process.do(lambda: self._dial(name)))

    def send(self, to: PeerId, message: Message) -> None:
        """Send a message to whoever has that name, as far as known."""
        me = self._info
        envelope = Envelope(me.session, me.name, me.incarnation, me.name, message)
        known = self._roster.info(to)
        incarnation = known.incarnation if known and self._roster.is_live(to, known.incarnation) else ""
        self._world.network.send(self._process, to, incarnation, envelope)

    def tell(self, peers: Iterable[PeerId], message: Message) -> None:
        """Send a message to each of ``peers`` in a fixed order."""
        for peer in sorted(peers):
            self.send(peer, message)
