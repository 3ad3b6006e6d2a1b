"""The peers of a session: what they declared, whether they can be reached, and whether they are compatible."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from swarm import versions
from swarm.addresses import name_of, place_of
from swarm.config import agreement
from swarm.config.settings import SETTINGS
from swarm.errors import ModelError
from swarm.messages import MAX_PEERS, MAX_TENSOR_NAME, MAX_TENSORS, Hello, Refuse, TensorLine
from swarm.peer.gossip import whereabouts_of
from swarm.records import PeerId, PeerInfo
from swarm.tensors.state import Schema, TensorKind, TensorSpec
from swarm.text import printable

NAMES_BYTES = 7 * 2**18
"""Of the names of all tensors in a greeting, so that one of a large model stays below its limit."""
SHOWN_VALUE = 200
"""Characters of a setting's value in a message."""


@dataclass(slots=True)
class Known:
    """A peer of this session that was met."""

    info: PeerInfo
    whereabouts: PeerInfo
    """The part of ``info`` that other peers are told."""
    live: bool = True
    left: bool = False


def in_use(name: PeerId, by: str) -> str:
    """Why a peer cannot be called ``name``, and what to do."""
    return f"the name {name!r} is in use by {by}; choose another (name, SWARM_NAME, `swarm run --name`)"


def first_at(address: str) -> str:
    """The peer at ``address``, in a message about a name."""
    return f"the peer at {address}, which was there first"


class Reachable(Protocol):
    """Which peers an exchange reaches, and where."""

    def info(self, peer: PeerId) -> PeerInfo | None:
        """What ``peer`` declared, if it was met."""

    def live(self) -> tuple[PeerInfo, ...]:
        """Peers that can be reached, by name."""

    def is_live(self, peer: PeerId, incarnation: str) -> bool:
        """Whether ``peer`` is reachable and still the same process."""


class Roster:
    """One peer's record of the others. It decides whether they are compatible; it sends nothing."""

    def __init__(self, me: PeerInfo, schema: Schema) -> None:
        self.me = me
        self._here = whereabouts_of(me)
        self._schema = schema
        self._known: dict[PeerId, Known] = {}

    def info(self, peer: PeerId) -> PeerInfo | None:
        """What ``peer`` declared, if it was met."""
        known = self._known.get(peer)
        return known.info if known else None

    def live(self) -> tuple[PeerInfo, ...]:
        """Peers that can be reached, by name."""
        return tuple(known.info for _, known in sorted(self._known.items()) if known.live)

    def known(self) -> tuple[Known, ...]:
        """All peers of this session that were met, by name."""
        return tuple(self._known[peer] for peer in sorted(self._known))

    def present(self) -> tuple[PeerInfo, ...]:
        """Where all peers of this session are but those that have left, this one first."""
        return (self._here, *(known.whereabouts for known in self._known.values() if not known.left))

    def away(self) -> frozenset[str]:
        """Addresses of peers of this session that are lost and have not left."""
        return frozenset(known.info.address for known in self._known.values() if not known.live and not known.left)

    def is_live(self, peer: PeerId, incarnation: str) -> bool:
        """Whether ``peer`` is reachable and still the same process."""
        known = self._known.get(peer)
        return known is not None and known.live and known.info.incarnation == incarnation

    def clash(self, hello: Hello) -> Refuse | None:
        """Why the sender is not compatible with this peer; None if it is."""
        theirs = hello.peer
        if theirs.name == self.me.name:
            return Refuse(in_use(theirs.name, first_at(self.me.address)), final=True, about_name=True)
        known = self._known.get(theirs.name)
        process = theirs.incarnation, theirs.address
        if known and known.live and (known.info.incarnation, known.info.address) != process:
            reason = in_use(theirs.name, f"the live peer at {known.info.address}")
            return Refuse(reason, final=False, about_name=True)
        obstacle = versions.obstacle({self.me.name: self.me.versions, theirs.name: theirs.versions})
        if obstacle:
            return Refuse(obstacle, final=True)
        # Where addresses have verified names, whoever gives the place of another peer cannot be reached there, and must
        # not keep that one out.
        verified = bool(name_of(self.me.address))
        place = place_of(theirs.address)
        neighbours = () if verified else (info for info in self.live() if place_of(info.address) == place)
        neighbour = next((info.name for info in neighbours), theirs.name)
        if neighbour != theirs.name:
            return Refuse(f"{neighbour} is at {theirs.address}, the address that {theirs.name} gives", final=False)
        if known is None and len(self.live()) + 1 >= MAX_PEERS:
            return Refuse(f"session {self.me.session} has {MAX_PEERS} peers already, which is the most", final=False)
        ours, others = dict(self.me.settings), dict(theirs.settings)
        for name in sorted(ours.keys() | others.keys()) if ours != others else ():
            values = {peer: _value(name, each) for peer, each in ((self.me.name, ours), (theirs.name, others))}
            if len(set(values.values())) > 1:
                return Refuse(
                    f"{_contradiction(name, values)}; peers of one session must agree on it{_advice(name)}", True
                )
        if len(theirs.ranks) != len(self.me.ranks):
            counts = f"{len(theirs.ranks)} and {self.me.name} {len(self.me.ranks)}"
            return Refuse(f"{theirs.name} gives the addresses of {counts} further processes of its site", final=True)
        if verified and any(name_of(address) != theirs.name for address in theirs.ranks):
            return Refuse(f"{theirs.name} gives an address of a further process under another name", final=True)
        if theirs.fingerprint != self.me.fingerprint:
            both = f"{self.me.name} (here) and {theirs.name} (there)"
            return Refuse(f"{both} train different models: {self._difference(hello)}", True)
        return None

    def _difference(self, hello: Hello) -> str:
        try:
            return self._schema.difference(schema_of(hello.schema)) or "their spectral normalisation differs"
        except (ValueError, ModelError) as error:
            return f"{hello.peer.name} declares what this version does not know ({error})"

    def meet(self, info: PeerInfo) -> bool:
        """A compatible peer can be reached. Returns whether it was not live before."""
        known = self._known.get(info.name)
        fresh = known is None or not known.live or known.info.incarnation != info.incarnation
        self._known[info.name] = Known(info, whereabouts_of(info))
        if len(self._known) > MAX_PEERS:
            gone = [name for name, known in self._known.items() if not known.live]
            left = (name for name in gone if self._known[name].left)
            del self._known[next(left, gone[0] if gone else info.name)]
        return fresh

    def at(self, address: str) -> PeerId | None:
        """The live peer at ``address``, if any."""
        for peer, known in self._known.items():
            if known.live and known.info.address == address:
                return peer
        return None

    def lose(self, address: str) -> PeerId | None:
        """Nothing reaches ``address``. Returns the live peer that was there, if any."""
        peer = self.at(address)
        if peer is not None:
            self._known[peer].live = False
        return peer

    def leave(self, peer: PeerId) -> None:
        """A peer has left: it is not dialled any more."""
        known = self._known.get(peer)
        if known:
            known.live, known.left = False, True


def _value(name: str, declared: Mapping[str, str]) -> str | None:
    """The value of a setting that a peer declares, or stands for if it declares none."""
    row = SETTINGS.get(name)
    return declared.get(name, row.before or None if row else None)


def _advice(name: str) -> str:
    """What to do about a contradiction, as the end of a sentence."""
    row = SETTINGS.get(name)
    return f": {row.advice}" if row and row.advice else ""


def _contradiction(name: str, values: Mapping[PeerId, str | None]) -> str:
    """How a setting differs between two peers, given as what each of them declares."""
    if agreement.is_fact(name):
        return agreement.difference(name, values)
    told = " and ".join(f"{printable(str(value), SHOWN_VALUE)} at {peer}" for peer, value in values.items())
    return f"{name} is {told}"


def schema_lines(schema: Schema) -> tuple[TensorLine, ...]:
    """A schema as it is declared on joining: the first tensors of a very large one, with short names."""
    specs = schema.tensors[:MAX_TENSORS]
    most = min(MAX_TENSOR_NAME, NAMES_BYTES // max(len(specs), 1))
    return tuple(TensorLine(_short(spec.name, most), spec.shape, spec.dtype, spec.kind.value) for spec in specs)


def _short(name: str, most: int) -> str:
    """The name of a tensor, escaped, in at most ``most`` bytes."""
    return printable(name).encode()[:most].decode(errors="ignore")


def schema_of(lines: tuple[TensorLine, ...]) -> Schema:
    """The schema that a peer declared.

    Raises:
        ValueError: a kind that this version does not know.
    """
    return Schema(tuple(TensorSpec(line.name, line.shape, line.dtype, TensorKind(line.kind)) for line in lines))
