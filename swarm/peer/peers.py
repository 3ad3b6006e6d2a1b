"""The other peers of a session, as they come and go, and what is sent to them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from swarm.consensus.effects import Fail
from swarm.messages import Envelope, Hello, Leave, Message, Refuse
from swarm.peer.greeter import Greeter, Met, NameTaken, TurnedAway
from swarm.records import Commit, PeerId, PeerInfo, PeerLeft

if TYPE_CHECKING:
    from swarm.clock import Clock
    from swarm.consensus.effects import Effect
    from swarm.consensus.machine import RoundMachine
    from swarm.peer.exchanger import Exchanger
    from swarm.plugins import PluginRegistry
    from swarm.transport.base import Transport


class SendQueue:
    """Sends messages under this peer's name."""

    def __init__(self, me: PeerInfo, transport: Transport) -> None:
        self._me = me
        self._transport = transport

    def send(self, address: str, message: Message) -> None:
        """Send ``message`` to whoever is at ``address``."""
        me = self._me
        self._transport.send(address, Envelope(me.session, me.name, me.incarnation, me.address, message))


class Peers:
    """Tells the round machine, the exchange and the plugins who can be reached; the worker's alone."""

    def __init__(
        self,
        *,
        me: PeerInfo,
        machine: RoundMachine,
        greeter: Greeter,
        exchanger: Exchanger,
        send_queue: SendQueue,
        plugins: PluginRegistry,
        clock: Clock,
        timeout: float,
        logger: logging.Logger,
        do: Callable[[Iterable[Effect]], None],
        name_patience: float,
    ) -> None:
        """``do`` carries out what the machine asks for; ``timeout`` is the seconds after which a peer is lost.

        ``name_patience`` is for how many seconds this peer asks for its name where others know a live peer of it.
        """
        self._name_patience = name_patience
        self._me = me
        self._machine = machine
        self._greeter = greeter
        self._exchanger = exchanger
        self._send_queue = send_queue
        self._plugins = plugins
        self._clock = clock
        self._timeout = timeout
        self._log = logger
        self._do = do

    def tell(self, peers: Iterable[PeerId], message: Message) -> None:
        """Send ``message`` to those of ``peers`` whose address is known."""
        for peer in sorted(peers):
            info = self._greeter.roster.info(peer)
            if info:
                self._send_queue.send(info.address, message)

    def greeted(self, envelope: Envelope, hello: Hello) -> None:
        """A peer says who it is."""
        meeting = self._greeter.greeted(envelope, hello, self._machine.commit, self._clock.now())
        self._meet(meeting, hello.commit)

    def refused(self, envelope: Envelope, refusal: Refuse) -> None:
        """A peer will not go together with this one."""
        patience = self._name_patience if refusal.about_name else 2 * self._timeout
        meeting = self._greeter.refused(envelope, refusal, self._clock.now(), patience)
        peer = self._greeter.roster.lose(envelope.address)
        if peer:
            self._gone(peer, refusal.reason, polite=False)
        if self._machine.commit is None or isinstance(meeting, NameTaken):
            self._meet(meeting, None)

    def left(self, peer: PeerId, leave: Leave) -> None:
        """A peer has said that it leaves."""
        self._greeter.roster.leave(peer)
        self._gone(peer, leave.reason, polite=True, warn=leave.unintended)

    def lost(self, address: str, reason: str) -> None:
        """Whoever is at ``address`` cannot be reached."""
        peer = self._greeter.roster.lose(address)
        if peer:
            self._gone(peer, reason, polite=False)
        else:
            self._greeter.unanswered(address, reason)

    def _meet(self, meeting: Met | TurnedAway | NameTaken | None, commit: Commit | None) -> None:
        if isinstance(meeting, Met):
            self._exchanger.met(meeting.peer)
            info = self._greeter.roster.info(meeting.peer)
            weight = info.weight if info else None
            self._do(self._machine.peer_up(meeting.peer, commit, self._clock.now(), weight=weight))
        elif isinstance(meeting, NameTaken):
            self._do([Fail(meeting.reason)])
        elif meeting is not None:
            self._do(self._machine.peer_refused(meeting.peer, self._clock.now()))

    def _gone(self, peer: PeerId, reason: str, *, polite: bool, warn: bool = True) -> None:
        if not self._machine.closed:
            self._log.log(
                logging.WARNING if warn else logging.INFO,
                "%s %s (%s); peers that remain: %d",
                peer,
                "left" if polite else "is gone",
                reason,
                len(self._greeter.roster.live()) + 1,
            )
        self._plugins.peer_left(PeerLeft(session=self._me.session, peer=peer, reason=reason, polite=polite))
        self._do(self._machine.peer_down(peer, self._clock.now()))
