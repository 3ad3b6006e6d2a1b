"""The simulated network: delays, loses, doubles and reorders messages, and is cut in two at times."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Protocol

from swarm.errors import UnreachablePeerError
from tests.simulator.faults import Fault, FaultKind

if TYPE_CHECKING:
    from swarm.messages import Envelope
    from swarm.records import PeerId
    from tests.simulator.loop import Loop
    from tests.simulator.plan import Schedule

RESET = 0.1
"""Seconds within which a broken connection is noticed where both ends can be reached."""
LOST_AT_TIMES = 0.33
"""Share of the messages that a lossy network loses."""
ASTRAY = 0.1
"""Share of the messages that reach a node of the other session as well."""
HELD_UP = 0.2
"""Seconds after which a frame is tried again that a partition holds up."""
BREAKS = 0.3
"""Probability that a stream fails while streams break."""


class Node(Protocol):
    """What a node listens with."""

    name: PeerId
    copy: int | None
    """The number of this copy of a lying member; None for an honest one."""
    session: str
    open: bool
    """Whether it listens."""

    def receive(self, envelope: Envelope) -> None:
        """A message has arrived."""
        ...

    def lose(self, address: str, reason: str) -> None:
        """A connection is lost."""
        ...


class Stream(Protocol):
    """Weights on their way."""

    to: PeerId
    number: int

    @property
    def source(self) -> Node:
        """Who sends them."""
        ...

    def arrive(self) -> None:
        """The next frame has reached the other side."""
        ...

    def stop(self) -> None:
        """Read and deliver nothing more, and tell nobody."""
        ...

    def break_(self, reason: str) -> None:
        """It fails."""
        ...


class Network:
    """Knows who listens at each address, who is connected to whom, and what happens to what is sent.

    A peer's address is its name.
    """

    def __init__(self, loop: Loop, schedule: Schedule, rng: random.Random) -> None:
        self._nodes: dict[PeerId, Node] = {}
        """Who listens at each address, or did so last."""
        self._copies: dict[tuple[PeerId, int], Node] = {}
        self._sides: dict[PeerId, int] = {}
        """Which copy of every lying member each honest peer reaches."""
        self._loop = loop
        self._schedule = schedule
        self._rng = rng
        self._links: dict[tuple[Node, PeerId], Node] = {}
        self._unanswered: set[tuple[Node, PeerId]] = set()
        self._streams: set[Stream] = set()
        self._cuts: list[Fault] = []
        self._deaf: list[Fault] = []
        self._lossy = [fault for fault in schedule.faults if fault.kind is FaultKind.LOSSY]
        self._astray = [fault for fault in schedule.faults if fault.kind is FaultKind.STRAYS]
        self._slow = [fault for fault in schedule.faults if fault.kind is FaultKind.SLOW]
        self._broken = [fault for fault in schedule.faults if fault.kind is FaultKind.BROKEN]

    # Who is where ----------------------------------------------------------------------------------------------------

    def listen(self, node: Node) -> None:
        """A node listens at its address from now on."""
        if node.copy is None:
            self._nodes[node.name] = node
        else:
            self._copies[node.name, node.copy] = node

    def listening(self, source: Node, name: PeerId) -> Node | None:
        """The node that listens at an address, as ``source`` sees it: a lying member has two, for different peers."""
        node = self._nodes.get(name)
        if node and source.copy is not None and self._side(name) != source.copy:
            return None
        if node is None and self._copies:
            node = self._copies.get((name, self._side(source.name) if source.copy is None else source.copy))
        return node if node and node.open else None

    def _side(self, name: PeerId) -> int:
        if name not in self._sides:
            self._sides[name] = self._rng.randrange(2) if self._schedule.twins else 0
        return self._sides[name]

    def turn(self, name: PeerId) -> None:
        """An honest peer reaches the other copy of every lying member from now on."""
        self._sides[name] = 1 - self._side(name)
        for (source, to), target in list(self._links.items()):
            if (source.name == name and target.copy is not None) or (to == name and source.copy is not None):
                self._lose_later(source, target, self._rng.random() * RESET)

    def connected(self, one: PeerId, two: PeerId) -> bool:
        """Whether no partition lies between two peers."""
        if not self._cuts:
            return True
        return not self._loop.during(cut for cut in self._cuts if (one in cut.peers) != (two in cut.peers))

    def hears(self, one: PeerId, two: PeerId) -> bool:
        """Whether messages pass between two peers."""
        if self._deaf and self._loop.during(fault for fault in self._deaf if one in fault.peers or two in fault.peers):
            return False
        return self.connected(one, two)

    def reach(self, source: Node, name: PeerId) -> Node:
        """The node at an address, connected from now on.

        Raises:
            UnreachablePeerError: nobody listens there.
        """
        node = self.listening(source, name)
        if node is None:
            raise UnreachablePeerError(f"nobody listens at {name}")
        return self._links.setdefault((source, name), node)

    def linked(self, source: Node, name: PeerId) -> Node | None:
        """The node that ``source`` is connected to at an address."""
        return self._links.get((source, name))

    def unlink(self, source: Node, name: PeerId) -> None:
        """Close a connection without a report of its loss."""
        self._links.pop((source, name), None)

    # Messages --------------------------------------------------------------------------------------------------------

    def send(self, source: Node, to: PeerId, envelope: Envelope) -> None:
        """Carry a message, perhaps."""
        rng, plan = self._rng, self._schedule
        loss = plan.loss
        if self._lossy and self._loop.during(self._lossy):
            loss = max(loss, LOST_AT_TIMES)
        for _ in range(2 if plan.duplicates and rng.random() < plan.duplicates else 1):
            wait = plan.delay * rng.expovariate(1.0)
            if not loss or rng.random() >= loss:
                self._loop.after(wait, lambda: self._deliver(source, to, envelope))
            elif (source, to) not in self._links:
                self._loop.after(wait, lambda: self._lose(source, to, "the connection could not be made"))
        if self._astray and rng.random() < ASTRAY and self._loop.during(self._astray):
            others = [name for name, other in self._nodes.items() if other.session != source.session]
            if others:
                stray = rng.choice(others)
                self._loop.after(plan.delay, lambda: self._deliver(source, stray, envelope))

    def _deliver(self, source: Node, to: PeerId, envelope: Envelope) -> None:
        if not source.open:
            return
        if not self.hears(source.name, to):
            self._time_out(source, to)
            return
        target = self.listening(source, to)
        link = self._links.get((source, to))
        if target is None or (link is not None and link is not target):
            self._lose(source, to, "the connection was refused")
            return
        self._links[source, to] = target
        target.receive(envelope)

    def _time_out(self, source: Node, to: PeerId) -> None:
        """Nothing passes: a new connection is given up after a while, an old one if nothing passes then either."""

        def look() -> None:
            self._unanswered.discard((source, to))
            if source.open and ((source, to) not in self._links or not self.hears(source.name, to)):
                self._lose(source, to, "no answer")

        if (source, to) not in self._unanswered:
            self._unanswered.add((source, to))
            self._loop.after(self._schedule.failure_timeout, look)

    # Losses ----------------------------------------------------------------------------------------------------------

    def vanished(self, node: Node) -> None:
        """A node has stopped listening: those connected to it notice, soon or by its silence."""
        for stream in self._streams_of(node):
            if stream.source is node:
                stream.stop()
        for other in self._connected_to(node):
            soon = self.connected(other.name, node.name) and self._rng.random() < 0.9
            self._lose_later(other, node, self._rng.random() * RESET if soon else self._schedule.failure_timeout)

    def silent(self, node: Node) -> None:
        """A process stands still for longer than the failure timeout: the others give it up."""
        for other in self._connected_to(node):
            self._lose_later(other, node, self._rng.random() * RESET)

    def woke(self, node: Node) -> None:
        """It finds some of its connections broken."""
        for other in self._connected_to(node):
            if self._rng.random() < 0.5:
                self._lose_later(node, other, self._rng.random() * RESET)

    def cut(self, fault: Fault) -> None:
        """From now on, and for a while, ``fault.peers`` and the others cannot reach each other."""
        self._cuts.append(fault)

        def notice() -> None:
            for (source, name), target in list(self._links.items()):
                if (source.name in fault.peers) != (name in fault.peers) and source.open:
                    self._lose_later(source, target, self._rng.random() * RESET)

        if fault.seconds > self._schedule.failure_timeout:
            self._loop.after(self._schedule.failure_timeout, notice)

    def deafen(self, fault: Fault) -> None:
        """From now on, ``fault.peers`` and the others do not hear each other for a while."""
        self._deaf.append(fault)
        for (source, name), target in list(self._links.items()):
            if {source.name, name} & {*fault.peers} and source.open:
                self._lose_later(source, target, self._rng.random() * fault.seconds)

    def _connected_to(self, node: Node) -> list[Node]:
        ends = {source: None for (source, _), target in self._links.items() if target is node}
        ends |= {target: None for (source, _), target in self._links.items() if source is node}
        return [end for end in ends if end.open]

    def _lose_later(self, observer: Node, lost: Node, wait: float) -> None:
        def lose() -> None:
            if self._links.get((observer, lost.name), lost) is lost:
                self._lose(observer, lost.name, "the connection was reset")

        self._loop.after(wait, lose)

    def _lose(self, observer: Node, name: PeerId, reason: str) -> None:
        self._links.pop((observer, name), None)
        for stream in self._streams_of(observer):
            if name in {stream.source.name, stream.to}:
                stream.break_(f"{name}: {reason}")
        observer.lose(name, reason)

    # Streams ---------------------------------------------------------------------------------------------------------

    def opened(self, stream: Stream) -> None:
        """A stream of weights begins; while streams break, it may fail after a while."""
        self._streams.add(stream)
        if self._broken and self._loop.during(self._broken) and self._rng.random() < BREAKS:
            self._loop.after(self.seconds(), lambda: stream.break_("the stream was reset"))

    def carry(self, stream: Stream, after: float) -> float:
        """Carry the next frame of a stream, no earlier than ``after``; when it arrives without a partition."""
        arrival = max(after, self._loop.now + self.seconds())

        def arrive() -> None:
            if self.connected(stream.source.name, stream.to):
                stream.arrive()
            else:
                self._loop.after(HELD_UP, arrive)

        self._loop.at(arrival, arrive)
        return arrival

    def ended(self, stream: Stream) -> None:
        """It is over."""
        self._streams.discard(stream)

    def _streams_of(self, node: Node) -> list[Stream]:
        found = [stream for stream in self._streams if node is stream.source or node.name == stream.to]
        return sorted(found, key=lambda stream: stream.number)

    def seconds(self) -> float:
        """How long the next frame takes: two of them make up an undisturbed exchange of small models."""
        slow = 10.0 if self._slow and self._loop.during(self._slow) else 1.0
        return self._schedule.transfer * slow * self._rng.random() / 2
