"""Asks peers for their status again and again, and the peers that these know of."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from swarm.addresses import Address, name_of, place_of
from swarm.cli.answers import parse, plain, sessions
from swarm.cli.statuses import ANSWER_SECONDS
from swarm.clock import Clock, MonotonicClock
from swarm.errors import SwarmError, TransportError
from swarm.identity import identity_at
from swarm.text import MAX_SHOWN, printable

Places = Mapping[str, Path | None]
"""Addresses of peers, each with the identity to ask it with, if it is asked over TLS."""
Fetch = Callable[[str, float, Path | None], Mapping[str, Any]]
"""Asks the peer at an address, within seconds, with an identity; raises ``SwarmError``."""

AT_ONCE = 8
"""Peers that are asked in one turn: so 64 peers are asked less often each, and training does not notice it."""
MOST_PEERS = 64
"""Peers that are asked at all."""
AGAIN = 5.0
"""Seconds after which a peer is asked again that has not answered."""


@dataclass(slots=True)
class _Asked:
    identity: Path | None
    told: bool = False
    """Whether only another peer has told of it."""
    due: float = 0.0
    asked_at: float = float("-inf")
    statuses: tuple[Mapping[str, Any], ...] = ()
    problem: str = ""


class Watch:
    """What all peers of a swarm tell; ``turn`` asks those whose turn it is."""

    def __init__(self, find: Callable[[], Places], fetch: Fetch, clock: Clock | None = None) -> None:
        """Nobody is asked before ``turn``.

        Args:
            find: the addresses that are known from elsewhere, each time anew.
            fetch: asks one.
            clock: tells whose turn it is.
        """
        self._find = find
        self._fetch = fetch
        self._clock = clock or MonotonicClock()
        self._asked: dict[str, _Asked] = {}

    def turn(self) -> dict[str, Any]:
        """Ask some peers; all that is known by now, in JSON types, as ``swarm status --json`` has it.

        ``peers`` holds the status of each session of each peer, with the address that was ``asked``; ``unreachable``
        the addresses that did not answer the last time, with the reason.
        """
        self._note_places()
        now = self._clock.now()
        due = [address for address, each in self._asked.items() if now >= each.due]
        due = sorted(due, key=lambda address: self._asked[address].asked_at)[:AT_ONCE]
        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(self._ask, due))
        for address in due:
            self._follow(address)
        return {
            "time": time.time(),
            "peers": [
                {"asked": printable(address), **status}
                for address, each in self._asked.items()
                for status in each.statuses
            ],
            "unreachable": [
                {"address": printable(address), "reason": each.problem}
                for address, each in self._asked.items()
                if each.problem
            ],
        }

    def _note_places(self) -> None:
        """Follow what is found: peers come, and withdraw their addresses when they leave."""
        places = self._find()
        for address in [address for address, each in self._asked.items() if not each.told and address not in places]:
            del self._asked[address]
        for address, identity in places.items():
            if len(self._asked) < MOST_PEERS:
                self._asked.setdefault(address, _Asked(identity))

    def _ask(self, address: str) -> None:
        asked = self._asked[address]
        asked.asked_at = self._clock.now()
        try:
            found = sessions(self._fetch(address, ANSWER_SECONDS, asked.identity))
            names = {parse(status).name for status in found}
            if name_of(address) and names - {name_of(address), "?"}:
                raise TransportError(f"it calls itself {', '.join(sorted(names))}")
            asked.statuses = tuple(plain(status) for status in found)
            asked.problem, asked.due = "", 0.0
        except SwarmError as error:
            asked.statuses, asked.problem = (), printable(str(error), MAX_SHOWN)
            asked.due = asked.asked_at + AGAIN

    def _follow(self, address: str) -> None:
        """Ask the peers too that this one knows, if a certificate will tell whether they are who it says."""
        asked = self._asked[address]
        known = {name_of(each) for each in self._asked} | {place_of(each) for each in self._asked}
        for status in asked.statuses:
            for peer in parse(status).peers:
                new = not {peer.name, place_of(peer.address)} & known
                if new and len(self._asked) < MOST_PEERS and _may_ask(peer.name, peer.address, asked.identity):
                    known |= {peer.name, place_of(peer.address)}
                    self._asked[peer.address] = _Asked(asked.identity, told=True)


def _may_ask(name: str, address: str, identity: Path | None) -> bool:
    """Whether an address that a peer has told is worth asking: without identities, only one of this machine."""
    try:
        parsed = Address.parse(address)
        if identity is None:
            return parsed.is_loopback
        identity_at(identity).require_member(name)
    except SwarmError:
        return False
    return parsed.name == name
