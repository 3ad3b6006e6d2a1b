"""Finds the other peers, and decides which of them are compatible."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from swarm.addresses import Address, name_of, place_of
from swarm.messages import MAX_ROSTER, Envelope, Hello, Message, Refuse
from swarm.peer.gossip import Gossip, place_and_process, source_of
from swarm.peer.refusals import Refusals
from swarm.peer.roster import Roster, first_at, in_use, schema_lines
from swarm.records import PeerId, PeerJoined
from swarm.text import MAX_SHOWN, printable

if TYPE_CHECKING:
    from swarm.discovery.base import Discovery
    from swarm.peer.limited_log import LimitedLog
    from swarm.plugins import PluginRegistry
    from swarm.records import Commit, Credential, PeerInfo
    from swarm.tensors.state import Schema

FIRST_RETRY = 0.5
LONGEST_RETRY = 5.0
"""Seconds between greetings to an address that cannot be reached, or refuses: doubled from the first to the longest.
An address that receives greetings and does not answer yet is greeted after the longest: when many peers start at once,
answers take a while, and more greetings would slow them down."""
LONGEST_GOSSIP_RETRY = 60.0
"""The longest for an address that only other peers reported."""
MOST_AT_ONCE = 64
"""Addresses that are greeted in one look; those that have waited longest come first."""

TOLD_AGAIN = 3600.0
"""Seconds after which the same refusal is logged again."""
RETURNS_TOLD = 10
"""Lines a minute about one peer that joins or returns."""
NAMED = 10
"""Peers or addresses in one list of a message."""


@dataclass(frozen=True, slots=True)
class Dialled:
    """An address that was greeted."""

    at: float
    """When to greet it again."""
    if_lost: float
    """When to do so if it cannot be reached or refuses."""
    pause: float
    """Seconds after that."""


@dataclass(frozen=True, slots=True)
class Met:
    """A compatible peer can be reached."""

    peer: PeerId


@dataclass(frozen=True, slots=True)
class TurnedAway:
    """A peer of the session is not compatible with this one."""

    peer: PeerId


@dataclass(frozen=True, slots=True)
class NameTaken:
    """An earlier peer has the name of this one."""

    reason: str


class Greeter:
    """Sends greetings to addresses of possible peers, with growing pauses, and answers greetings."""

    def __init__(
        self,
        *,
        me: PeerInfo,
        schema: Schema,
        discoveries: Sequence[Discovery],
        plugins: PluginRegistry,
        logger: logging.Logger,
        limited: LimitedLog,
        send: Callable[[str, Message], None],
        credential: Credential,
        vouch: Callable[[Credential, bool], str],
        members: Collection[PeerId] = (),
        random_port: bool = False,
    ) -> None:
        """Announce this peer.

        Args:
            me: what this peer declares.
            schema: of its model.
            discoveries: where addresses are found.
            plugins: may refuse a peer.
            logger: where it reports.
            limited: for lines about what other peers send.
            send: takes an address and a message.
            credential: of this peer.
            vouch: tells why a credential is not that of its peer.
            members: names of the peers that are expected, as far as the settings give them.
            random_port: whether the port of this peer was chosen at random, and nothing tells it to others before they
                are greeted.
        """
        self.joined = False
        """Whether this peer is in the session: from then on it keeps its name."""
        self.name_taken = ""
        """Why this peer cannot have its name; empty if it can."""
        self._members = frozenset(members)
        self._random_port = random_port
        self.roster = Roster(me, schema)
        self._gossip = Gossip()
        self._refusals = Refusals()
        self._reported: set[str] = set()
        self._unanswered: dict[str, str] = {}
        """Addresses that could not be reached for a known reason, with it."""
        self._me = me
        self._local = _on_this_machine(me.address)
        self._verified = bool(name_of(me.address))
        """Whether the names of peers are proven: then only a process with this peer's own identity has its name."""
        self._schema = schema_lines(schema)
        self._discoveries = discoveries
        self._plugins = plugins
        self._log = logger
        self._limited = limited
        self._send = send
        self._credential = credential
        self._vouch = vouch
        self._next: dict[str, Dialled] = {}
        for discovery in discoveries:
            discovery.announce(me.name, me.address, me.incarnation)

    def dial(self, now: float, commit: Commit | None) -> None:
        """Greet the addresses that are due."""
        self._gossip.expire(now)
        found = {address for discovery in self._discoveries for address in discovery.discover()}
        sure = found | self.roster.away()
        reached = {info.address for info in (*self.roster.live(), self._me)}
        wanted = (sure | self._gossip.addresses(self._me.session)) - reached
        if wanted:
            # A user may have given an address without the name that its peer says before it.
            places = {*map(place_of, reached)}
            wanted = {address for address in wanted if place_of(address) not in places}
        self._next = {address: due for address, due in self._next.items() if address in wanted}
        self._unanswered = {address: reason for address, reason in self._unanswered.items() if address in wanted}
        self._reported &= wanted
        for address in wanted - self._next.keys():
            self._next[address] = Dialled(now, now, FIRST_RETRY)
        due = [(self._next[address].at, address) for address in wanted if self._next[address].at <= now]
        for _, address in sorted(each for each in due if self._may_reach(each[1]))[:MOST_AT_ONCE]:
            longest, pause = LONGEST_RETRY if address in sure else LONGEST_GOSSIP_RETRY, self._next[address].pause
            self._next[address] = Dialled(now + max(pause, LONGEST_RETRY), now + pause, min(2 * pause, longest))
            self._refusals.greeted(address, now)
            self.greet(address, commit, wants_reply=True)

    def ended(self) -> list[PeerId]:
        """Peers that will not come, as the discoveries say, by name."""
        found = {name for discovery in self._discoveries for name in discovery.ended()}
        return sorted(found - {info.name for info in (*self.roster.live(), self._me)})

    def _may_reach(self, address: str) -> bool:
        """Whether the address is on this machine, or this peer listens to other machines too."""
        return not self._local or _on_this_machine(address)

    def _soon(self, address: str) -> None:
        """The greeting to this address failed: greet again sooner."""
        due = self._next.get(address)
        if due:
            self._next[address] = replace(due, at=due.if_lost)

    def greet(self, address: str, commit: Commit | None, *, wants_reply: bool, told: Collection[PeerInfo] = ()) -> None:
        """Send this peer's greeting, with all known peers except those that the other peer has ``told``."""
        known = {place_and_process(info) for info in told}
        roster = [info for info in self._everyone() if place_and_process(info) not in known]
        hello = Hello(self._me, self._schema, tuple(roster[:MAX_ROSTER]), commit, wants_reply, self._credential)
        self._send(address, hello)

    def _everyone(self) -> tuple[PeerInfo, ...]:
        """Where the peers of any session are, this one first; a newcomer gets this list."""
        return self.roster.present() + self._gossip.first_hand()

    @property
    def refusal(self) -> str:
        """Why this peer and another one are not compatible; empty if all met peers are."""
        return self.name_taken or self._refusals.reason

    @property
    def names(self) -> frozenset[PeerId]:
        """Names of the peers of this session that were met, or that others reported."""
        return self._gossip.names(self._me.session) | {known.info.name for known in self.roster.known()}

    @property
    def silent(self) -> tuple[str, ...]:
        """Addresses that were greeted and from which no peer of any session has answered."""
        told = {known.info.address for known in self.roster.known()} | self._gossip.addresses()
        places = {*map(place_of, told), *self._refusals.places}
        return tuple(sorted(address for address in tuple(self._next) if place_of(address) not in places))

    def whereabouts(self, live: Collection[PeerId]) -> str:
        """What is known about peers that are not ``live`` in this session, as the end of a sentence; empty if nothing.

        Only peers without any message are called missing: not those of another session, those that are incompatible,
        or those that have left.
        """
        others = sorted((info.name, info.session) for info in self._gossip.first_hand())
        left = [known.info.name for known in self.roster.known() if known.left]
        lost = [known.info for known in self.roster.known() if not known.left and known.info.name not in live]
        heard = {*live, *self._refusals.peers, self._me.name, *left, *(name for name, _ in others)}
        heard.update(info.name for info in lost)
        parts = {
            f"peers of other sessions (to train with them, set the same --model-name, here {self._me.session}):": [
                f"{name} (session {session})" for name, session in others
            ],
            "no answer from": [self._unanswered.get(address, address) for address in self.silent],
            "left:": left,
            "ended, or cannot be reached at the address they gave (set advertise on that peer):": [
                f"{info.name} at {info.address}" for info in lost
            ],
            "missing:": sorted(self._members - heard),
        }
        return "".join(f"; {what} {_listed(names)}" for what, names in parts.items() if names)

    @property
    def port_advice(self) -> str:
        """What to do where no peer was met and none can know the port of this one, as ``whereabouts``; else empty."""
        if not self._random_port or self.roster.known() or self._gossip.first_hand() or self._refusals.peers:
            return ""
        return (
            f"; this peer listens at {self._me.address}, a port that was chosen at random: give it --listen HOST:PORT, "
            "so that others can name it with --peer"
        )

    def unanswered(self, address: str, reason: str) -> None:
        """Nothing reaches ``address``: log it once, after some seconds, if the user or a rendezvous named the address.

        Peers that are started together are not ready at the same time.
        """
        self._soon(address)
        self._refusals.unreachable(address)
        if address in self._next and not reason.startswith(address):
            # More than that nothing listens there.
            self._unanswered[address] = f"{address} ({printable(reason, MAX_SHOWN)})"
        due = self._next.get(address)
        if due and due.pause >= LONGEST_RETRY and address in self.silent and address not in self._reported:
            self._reported.add(address)
            text = f"no answer yet, trying again: {printable(reason, MAX_SHOWN)}"
            self._limited.log(logging.WARNING, address, "no answer", text)

    def greeted(
        self, envelope: Envelope, hello: Hello, commit: Commit | None, now: float
    ) -> Met | TurnedAway | NameTaken | None:
        """Answer a greeting; None if it does not change who is in this session."""
        peer, roster = hello.peer, self.roster
        told = (peer, *hello.roster)
        if peer.incarnation == self._me.incarnation:
            return None
        for info in hello.roster:
            self._told_of(info, source_of(peer), now)
        if peer.session != self._me.session:
            self._gossip.spoke(peer, now)
            if hello.wants_reply:
                self.greet(envelope.address, None, wants_reply=False, told=told)
            return None
        namesake = peer.name == self._me.name
        if namesake and not self.joined and peer.incarnation < self._me.incarnation:
            return self._yield_name(in_use(peer.name, first_at(peer.address)))
        refusal = self._refusal(hello)
        if refusal:
            level = logging.INFO if namesake else logging.WARNING
            text = f"refused {peer.name} at {peer.address}: {refusal.reason}"
            self._limited.log(level, peer.name, "refused", text, again=TOLD_AGAIN)
            self._send(envelope.address, refusal)
            if namesake or not self._refusals.vote(peer.address, peer.name):
                return None  # of two peers with one name, the other one is at fault
            self._refusals.add(peer.name, refusal.reason)
            return TurnedAway(peer.name) if refusal.final else None
        self._refusals.greeted(envelope.address, now)
        if hello.wants_reply and self._refusals.refuses(peer.name, peer.incarnation):
            self.greet(envelope.address, commit, wants_reply=True)
            return None
        self._refusals.met(peer.address, peer.name)
        returned = roster.info(peer.name) is not None
        fresh = roster.meet(peer)
        self._next.pop(envelope.address, None)
        self._gossip.met(peer)
        if hello.wants_reply:
            self.greet(envelope.address, commit, wants_reply=False, told=told)
        if fresh:
            text = f"{peer.name} {'is back' if returned else 'joined'} at {peer.address}"
            joined = PeerJoined(peer=peer, returned=returned)
            self._limited.log(logging.INFO, peer.name, "joined", text, most=RETURNS_TOLD, told=joined)
            self._plugins.peer_joined(joined)
        return Met(peer.name)

    def _told_of(self, info: PeerInfo, source: str, now: float) -> None:
        ours = info.session == self._me.session
        if not ours or (info.name != self._me.name and self.roster.info(info.name) is None):
            self._gossip.told(info, source, now)

    def _yield_name(self, reason: str) -> NameTaken:
        if not self.name_taken:
            self.name_taken = reason
            self._log.info("%s", printable(reason, MAX_SHOWN))
        return NameTaken(reason)

    def refused(
        self, envelope: Envelope, refusal: Refuse, commit: Commit | None, now: float, patience: float
    ) -> TurnedAway | NameTaken | None:
        """A peer refuses this one; a refusal that is not final becomes final after ``patience`` seconds.

        It concerns the two peers only. Where names are not proven, it may also tell that this peer needs another name;
        where they are, only a peer of the same name can know that, as it has shown this peer's own certificate.

        It does not count if this peer has sent no greeting to that address: then it sends one, and waits whether it is
        refused again. Nor does it if another peer is there, or has refused from there.
        """
        address, sender = envelope.address, envelope.sender
        if self._refusals.unexpected(address, now):
            self.greet(address, commit, wants_reply=True)
        if not self._refusals.counts(address, now):
            return None
        if self.roster.at(address) not in (None, sender) or not self._refusals.vote(address, sender):
            return None
        text = f"{sender} at {address} refused this peer: {refusal.reason}"
        self._refusals.refused_by(sender, envelope.incarnation)
        self._soon(address)
        lasting = refusal.final or now >= self._refusals.since(sender, now) + patience
        knows = sender == self._me.name or not self._verified
        if lasting and not self.joined and refusal.about_name and knows:
            return self._yield_name(f"{refusal.reason} (as {sender} at {address} says)")
        self._refusals.add(sender, text)
        self._limited.log(logging.WARNING, sender, "refused this peer", text, again=TOLD_AGAIN)
        return TurnedAway(sender) if lasting else None

    def withdraw(self) -> None:
        """Withdraw this peer's announcement."""
        for discovery in self._discoveries:
            discovery.withdraw()

    def _refusal(self, hello: Hello) -> Refuse | None:
        clash = self.roster.clash(hello)
        if clash is not None:
            return clash
        given = hello.credential
        if given is None or given.peer != hello.peer.name:
            return Refuse(f"{hello.peer.name} gave no key of its own to sign with", final=True)
        doubt = self._vouch(given, True)
        if doubt:
            return Refuse(f"the key of {given.peer} is not its own: {doubt}", final=True)
        reason = self._plugins.accept_peer(hello.peer)
        return Refuse(f"{self._me.name} does not accept {hello.peer.name}: {reason}", final=True) if reason else None


def _listed(names: Sequence[str]) -> str:
    more = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {more} more" if more > 0 else "")


def _on_this_machine(address: str) -> bool:
    """Whether ``address`` is a loopback one; an address that only a plugin's transport understands is not."""
    try:
        return Address.parse(address).is_loopback
    except ValueError:
        return False
