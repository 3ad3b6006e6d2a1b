"""Messages to and from the other peers of a session, and their arrival and departure."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING

from swarm.addresses import name_of
from swarm.consensus.effects import Fail
from swarm.errors import UntrustedPeerError
from swarm.messages import Envelope, Hello, Leave, Message, Refuse
from swarm.peer.allowance import Allowance
from swarm.peer.declared import Declared
from swarm.peer.given import MOST, GivenAddresses
from swarm.peer.grants import within_grant
from swarm.peer.greeter import Greeter, Met, NameTaken, TurnedAway
from swarm.records import Commit, Credential, PeerId, PeerInfo, PeerLeft

if TYPE_CHECKING:
    from swarm.clock import Clock
    from swarm.consensus.effects import Effect
    from swarm.consensus.machine import RoundMachine
    from swarm.identity import Identity
    from swarm.peer.exchanger import Exchanger
    from swarm.peer.limited_log import LimitedLog
    from swarm.plugins import PluginRegistry
    from swarm.transport.base import Transport


IN_A_ROW = 16
"""Greetings of one peer that are taken in a row, and greetings that answer other messages of one that has not joined.
Each may be answered with the whole schema."""
EVERY = 2.0
"""Seconds after which one more of either counts."""


class Sender:
    """Sends messages under this peer's name."""

    def __init__(self, me: PeerInfo, transport: Transport) -> None:
        self._me = me
        self._transport = transport

    def send(self, address: str, message: Message) -> None:
        """Send ``message`` to the peer at ``address``."""
        me = self._me
        self._transport.send(address, Envelope(me.session, me.name, me.incarnation, me.address, message))

    def forget(self, address: str) -> None:
        """Close the link to a peer that has left."""
        self._transport.forget(address)


class Peers:
    """Tells the state machine, the exchange and the plugins which peers can be reached; on the worker's thread only."""

    def __init__(
        self,
        *,
        me: PeerInfo,
        machine: RoundMachine,
        greeter: Greeter,
        exchanger: Exchanger,
        sender: Sender,
        plugins: PluginRegistry,
        clock: Clock,
        timeout: float,
        limited: LimitedLog,
        name_patience: float,
        identity: Identity | None,
    ) -> None:
        """No peer is known yet.

        Args:
            me: what this peer declares.
            machine: is told which peers can be reached.
            greeter: answers greetings.
            exchanger: is told which peers were met.
            sender: sends messages.
            plugins: are told which peers left.
            clock: times greetings.
            timeout: seconds after which a peer counts as lost.
            limited: where it reports.
            name_patience: seconds for which this peer asks for its name while others know a live peer of that name.
            identity: of this peer, which knows what the others may do.
        """
        self._identity = identity
        self._given = GivenAddresses()
        self._declared = Declared()
        self._greetings = Allowance(IN_A_ROW, EVERY)
        self._answers = Allowance(IN_A_ROW, EVERY)
        self._name_patience = name_patience
        self._me = me
        self._machine = machine
        self._greeter = greeter
        self._exchanger = exchanger
        self._sender = sender
        self._plugins = plugins
        self._clock = clock
        self._timeout = timeout
        self._log = limited

    def tell(self, peers: Iterable[PeerId], message: Message) -> None:
        """Send ``message`` to those of ``peers`` whose address is known."""
        for peer in sorted(peers):
            info = self._greeter.roster.info(peer)
            if info:
                self._sender.send(info.address, message)

    def receive(self, envelope: Envelope) -> list[Effect]:
        """Handle a message. A peer speaks for itself only: under its own name, from the address that it joined with."""
        sender = envelope.sender
        wrong = self._wrong_address(envelope) if self._identity is not None else ""
        if wrong:
            self._log.log(logging.WARNING, sender, "unusable address", f"{wrong}; its message is ignored")
            return []
        message = within_grant(envelope.message, sender, self._identity, by_samples=self._me.by_samples)
        now, source = self._clock.now(), sender if self._identity is not None else envelope.address
        if isinstance(message, Hello):
            if self._greetings.take(source, now):
                # What the consortium grants may change; what the peer has declared may not.
                declared = envelope.message if isinstance(envelope.message, Hello) else message
                return self._greeted(envelope, message, declared)
            self._log.log(logging.WARNING, sender, "greets too often", f"{sender} greets too often; some are ignored")
            return []
        if envelope.session != self._me.session:
            self._log.log(
                logging.DEBUG, sender, "stray", f"a stray message of session {envelope.session} from {sender}"
            )
        elif isinstance(message, Refuse):
            return self._refused(envelope, message)
        elif not self._greeter.roster.is_live(sender, envelope.incarnation):
            if self._answers.take(source, now):
                self._greeter.greet(envelope.address, self._machine.commit, wants_reply=True)
        elif self._greeter.roster.at(envelope.address) != sender:
            text = f"a message of {sender} came from {envelope.address}, where {sender} is not; it is ignored"
            self._log.log(logging.WARNING, sender, "address", text)
        elif isinstance(message, Leave):
            return self._left(envelope, message)
        else:
            return self._machine.receive(sender, message, now)
        return []

    def _wrong_address(self, envelope: Envelope) -> str:
        """What is wrong with the address that a peer gives, whose name is verified; empty if nothing is."""
        sender, address = envelope.sender, envelope.address
        if name_of(address) != sender:
            # Any member could be there, also once the sender is revoked, and it may be the address of another one.
            return f"{sender} gives the address {address}, which is not of the form {sender}@host:port"
        if not self._given.admit(sender, address, self._clock.now()):
            return f"{sender} gives more than {MOST} addresses, such as {address}"
        return ""

    def _greeted(self, envelope: Envelope, hello: Hello, declared: Hello) -> list[Effect]:
        peer = hello.peer
        stated = peer.session, peer.name, peer.incarnation, peer.address
        named = name_of(peer.address) or peer.name
        if stated != (envelope.session, envelope.sender, envelope.incarnation, envelope.address) or named != peer.name:
            text = f"{envelope.sender} at {envelope.address} sent a greeting in the name of {peer.name}; it is ignored"
            self._log.log(logging.WARNING, envelope.sender, "greeting", text)
            return []
        change = self._declared.change(declared)
        if change:
            text = f"{peer.name} declares {change}, which stands until it is started anew; its greeting is ignored"
            self._log.log(logging.WARNING, peer.name, "declares", text)
            return []
        meeting = self._greeter.greeted(envelope, hello, self._machine.commit, self._clock.now())
        if isinstance(meeting, Met):
            restarted = self._declared.met(declared)
            if restarted:
                text = f"{peer.name} was started anew, and joins with {restarted}"
                self._log.log(logging.WARNING, peer.name, "declares anew", text)
        return self._meet(meeting, hello.commit, hello.credential)

    def _refused(self, envelope: Envelope, refusal: Refuse) -> list[Effect]:
        patience = self._name_patience if refusal.about_name else 2 * self._timeout
        commit = self._machine.commit
        meeting = self._greeter.refused(envelope, refusal, commit, self._clock.now(), patience)
        effects: list[Effect] = []
        if self._greeter.roster.at(envelope.address) == envelope.sender:
            self._greeter.roster.lose(envelope.address)
            effects = self._gone(envelope.sender, refusal.reason, polite=False)
        if self._machine.commit is None or isinstance(meeting, NameTaken):
            effects += self._meet(meeting, None, None)
        return effects

    def _left(self, envelope: Envelope, leave: Leave) -> list[Effect]:
        self._sender.forget(envelope.address)  # the one that it joined with, as for every message
        self._greeter.roster.leave(envelope.sender)
        return self._gone(envelope.sender, leave.reason, polite=True, warn=leave.unintended)

    def lost(self, address: str, reason: str) -> list[Effect]:
        """The peer at ``address`` cannot be reached any more."""
        peer = self._greeter.roster.lose(address)
        if peer:
            return self._gone(peer, reason, polite=False)
        self._greeter.unanswered(address, reason)
        return []

    def _meet(
        self, meeting: Met | TurnedAway | NameTaken | None, commit: Commit | None, credential: Credential | None
    ) -> list[Effect]:
        match meeting:
            case Met(peer):
                self._exchanger.met(peer)
                info = self._greeter.roster.info(peer)
                weight = info.weight if info else None
                newest = info.versions.newest if info and info.versions else 0
                now = self._clock.now()
                return self._machine.peer_up(peer, commit, now, weight=weight, newest=newest, credential=credential)
            case NameTaken(reason):
                return [Fail(reason)]
            case TurnedAway(peer):
                return self._machine.peer_refused(peer, self._clock.now())
        return []

    def _gone(self, peer: PeerId, reason: str, *, polite: bool, warn: bool = True) -> list[Effect]:
        left = PeerLeft(session=self._me.session, peer=peer, reason=reason, polite=polite)
        if not self._machine.closed:
            how, remain = "left" if polite else "is gone", len(self._greeter.roster.live()) + 1
            text = f"{peer} {how} ({reason}); peers that remain: {remain}"
            self._log.log(logging.WARNING if warn else logging.INFO, peer, "gone", text, told=left)
        self._plugins.peer_left(left)
        return self._machine.peer_down(peer, self._clock.now(), revoked=self._revoked(peer))

    def _revoked(self, peer: PeerId) -> bool:
        """Whether a peer is no member of the consortium any more."""
        try:
            if self._identity is not None:
                self._identity.require_member(peer)
        except UntrustedPeerError:
            return True
        return False
