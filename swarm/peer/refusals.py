"""Which peers refuse this one or are refused by it, and whose refusal counts."""

from __future__ import annotations

from typing import TypeVar

from swarm.addresses import place_of
from swarm.records import PeerId

PROBATION = 10.0
"""Seconds after which a refusal counts that came from an address to which no greeting was sent. A peer may give another
address than the one that it was greeted at; a greeting to the other one then shows whether anybody is there."""
MOST = 1024
"""Addresses, and peers, that are remembered."""

Value = TypeVar("Value")


class Refusals:
    """The refusals of one session. Each address has one vote: that of the first name that refuses from there.

    An address with the name of its peer and one without are the same here: a user may have given either.
    """

    def __init__(self) -> None:
        self._reasons: dict[PeerId, str] = {}
        self._greeted: dict[str, float] = {}
        """From when on a refusal from each address counts."""
        self._voters: dict[str, PeerId] = {}
        """Who has refused from each address, or was refused there."""
        self._refused_by: dict[PeerId, str] = {}
        """Incarnations of the peers that refuse this one; only their answer to a greeting ends that."""
        self._since: dict[PeerId, float] = {}
        """When each of them has refused it first."""

    @property
    def reason(self) -> str:
        """Why one of the incompatible peers and this one do not match; empty if all met peers are compatible."""
        return next(iter(self._reasons.values()), "")

    @property
    def peers(self) -> frozenset[PeerId]:
        """The incompatible peers."""
        return frozenset(self._reasons)

    @property
    def places(self) -> frozenset[str]:
        """Where they are, or were: addresses without names."""
        return frozenset(self._voters)

    def greeted(self, address: str, now: float) -> None:
        """A greeting is sent to ``address``."""
        if place_of(address) not in self._greeted:
            _keep(self._greeted, place_of(address), now)

    def unreachable(self, address: str) -> None:
        """Nothing reaches ``address``."""
        self._greeted.pop(place_of(address), None)

    def unexpected(self, address: str, now: float) -> bool:
        """Whether a refusal comes from an address that was not greeted; later ones may count."""
        if place_of(address) in self._greeted:
            return False
        _keep(self._greeted, place_of(address), now + PROBATION)
        return True

    def counts(self, address: str, now: float) -> bool:
        """Whether a refusal from ``address`` may count."""
        return now >= self._greeted.get(place_of(address), now)

    def vote(self, address: str, peer: PeerId) -> bool:
        """Whether ``peer`` has the vote of ``address``."""
        place = place_of(address)
        if place not in self._voters:
            _keep(self._voters, place, peer)
        return self._voters[place] == peer

    def add(self, peer: PeerId, reason: str) -> None:
        """``peer`` is incompatible."""
        if self._reasons.get(peer) != reason:
            _keep(self._reasons, peer, reason)

    def refused_by(self, peer: PeerId, incarnation: str) -> None:
        """This process of ``peer`` refuses this peer."""
        _keep(self._refused_by, peer, incarnation)

    def since(self, peer: PeerId, now: float) -> float:
        """Since when ``peer`` refuses this one: other peers do not shorten the time for which it is asked again."""
        if peer not in self._since:
            _keep(self._since, peer, now)
        return self._since[peer]

    def refuses(self, peer: PeerId, incarnation: str) -> bool:
        """Whether this process of ``peer`` has refused this peer, and has not answered a greeting since."""
        return self._refused_by.get(peer) == incarnation

    def met(self, address: str, peer: PeerId) -> None:
        """The peer is compatible now."""
        for store in (self._reasons, self._refused_by, self._since):
            store.pop(peer, None)
        self._voters.pop(place_of(address), None)


def _keep(store: dict[str, Value], key: str, value: Value) -> None:
    """Remember a value; without room for it, forget the oldest."""
    if key not in store and len(store) >= MOST:
        del store[next(iter(store))]
    store[key] = value
