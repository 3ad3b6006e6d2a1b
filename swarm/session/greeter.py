"""Finds the other peers, and tells compatible ones from the rest."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from swarm.membership.roster import Roster, schema_lines
from swarm.messages import Envelope, Hello, Message, Refuse
from swarm.records import PeerId, PeerJoined

if TYPE_CHECKING:
    from swarm.membership.base import Membership
    from swarm.plugins import PluginRegistry
    from swarm.records import Commit, PeerInfo
    from swarm.state import Schema

FIRST_RETRY = 0.5
LONGEST_RETRY = 5.0
"""Seconds between greetings to an address that does not answer: doubled from the first to the longest."""


@dataclass(frozen=True, slots=True)
class Met:
    """A compatible peer can be reached."""

    peer: PeerId


@dataclass(frozen=True, slots=True)
class TurnedAway:
    """A peer of the session is not compatible with this one."""

    peer: PeerId


class Greeter:
    """Dials addresses that may hold a peer, with growing pauses, and answers greetings."""

    def __init__(
        self,
        *,
        me: PeerInfo,
        schema: Schema,
        memberships: Sequence[Membership],
        plugins: PluginRegistry,
        logger: logging.Logger,
        send: Callable[[str, Message], None],
    ) -> None:
        """Announce this peer. ``send`` takes an address and a message."""
        self.roster = Roster(me, schema)
        self.refusal = ""
        """Why a peer last refused this one."""
        self._refused_since: float | None = None
        self._turned_away: set[tuple[PeerId, str]] = set()
        self._reported: set[str] = set()
        self._refused_by: set[str] = set()
        """Incarnations of the peers that refuse this one: only their answer to a greeting says that they changed."""
        self._me = me
        self._schema = schema_lines(schema)
        self._memberships = memberships
        self._plugins = plugins
        self._log = logger
        self._send = send
        self._next: dict[str, tuple[float, float]] = {}
        """For each address, when to greet it again and the pause after that."""
        for membership in memberships:
            membership.announce(me.name, me.address, me.incarnation)

    def dial(self, now: float, commit: Commit | None) -> None:
        """Greet the addresses whose time has come."""
        live = {info.address for info in self.roster.live()}
        found = {address for membership in self._memberships for address in membership.discover()}
        for address in sorted((found | self.roster.addresses()) - live - {self._me.address}):
            at, pause = self._next.get(address, (now, FIRST_RETRY))
            if at <= now:
                self._next[address] = now + pause, min(2 * pause, LONGEST_RETRY)
                self.greet(address, commit, wants_reply=True)
        for address in live:
            self._next.pop(address, None)

    def greet(self, address: str, commit: Commit | None, *, wants_reply: bool) -> None:
        """Send this peer's greeting."""
        self._send(address, Hello(self._me, self._schema, self.roster.everyone(), commit, wants_reply))

    @property
    def silent(self) -> tuple[str, ...]:
        """Addresses that were greeted and where no peer of any session has answered."""
        answered = {info.address for info in self.roster.everyone()}
        answered |= {known.info.address for known in self.roster.known()}
        return tuple(sorted({*tuple(self._next)} - answered))

    def unanswered(self, address: str, reason: str) -> None:
        """Nothing reaches ``address``: say so once where the user or a rendezvous named it."""
        if address in self.silent and address not in self._reported:
            self._reported.add(address)
            self._log.warning("no answer yet, trying again: %s", reason)

    def greeted(self, envelope: Envelope, hello: Hello, commit: Commit | None) -> Met | TurnedAway | None:
        """Answer a greeting; None where it does not concern this session."""
        peer, roster = hello.peer, self.roster
        if peer.incarnation == self._me.incarnation:
            return None
        for info in hello.roster:
            roster.stranger(info)
        if peer.session != self._me.session:
            roster.stranger(peer)
            if hello.wants_reply:
                self.greet(envelope.address, None, wants_reply=False)
            return None
        refusal = self._refusal(hello)
        if refusal:
            self.refusal = self.refusal or refusal.reason
            if (peer.name, peer.incarnation) not in self._turned_away:
                self._turned_away.add((peer.name, peer.incarnation))
                self._log.warning("refused %s at %s: %s", peer.name, peer.address, refusal.reason)
            self._send(envelope.address, refusal)
            return TurnedAway(peer.name) if refusal.final and peer.name != self._me.name else None
        if peer.incarnation in self._refused_by and hello.wants_reply:
            self.greet(envelope.address, commit, wants_reply=True)
            return None
        self._refused_by.discard(peer.incarnation)
        returned = roster.info(peer.name) is not None
        fresh = roster.meet(peer)
        if hello.wants_reply:
            self.greet(envelope.address, commit, wants_reply=False)
        if fresh:
            self._log.info("%s %s at %s", peer.name, "is back" if returned else "joined", peer.address)
            self._plugins.peer_joined(PeerJoined(peer=peer, returned=returned))
        return Met(peer.name)

    def refused(self, envelope: Envelope, refusal: Refuse, now: float, patience: float) -> TurnedAway | None:
        """A peer refuses this one; what is not final counts as such after ``patience`` seconds."""
        text = f"{envelope.sender} at {envelope.address} refused this peer: {refusal.reason}"
        self._refused_by.add(envelope.incarnation)
        if text != self.refusal:
            self.refusal = text
            self._log.warning("%s", text)
        if self._refused_since is None:
            self._refused_since = now
        lasting = refusal.final or now > self._refused_since + patience
        return TurnedAway(envelope.sender) if lasting else None

    def withdraw(self) -> None:
        """Take this peer's announcement back."""
        for membership in self._memberships:
            membership.withdraw()

    def _refusal(self, hello: Hello) -> Refuse | None:
        clash = self.roster.clash(hello)
        if clash is not None:
            return clash
        reason = self._plugins.accept_peer(hello.peer)
        return Refuse(f"{self._me.name} does not accept {hello.peer.name}: {reason}", final=True) if reason else None
