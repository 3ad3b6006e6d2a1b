"""Peers that others reported, and peers of other sessions: addresses to try for a limited time."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace

from swarm.addresses import name_of
from swarm.records import PeerId, PeerInfo

MOST = 1000
"""Upper bound on the peers that are remembered."""
MOST_REPORTED = 64
"""Upper bound on those of them that one peer reported."""
FORGOTTEN_AFTER = 3600.0
"""Seconds after the first report of a peer, or after its last message, until it is forgotten."""


@dataclass(frozen=True, slots=True)
class GossipEntry:
    """A peer that was not met in this session."""

    info: PeerInfo
    since: float
    """Time of its last message, or of the first report if it has sent none."""
    source: str
    """The peer that reported it first, itself if it has sent a message: the name in its address, which its certificate
    has too, or an address without name."""
    spoke: bool
    """Whether it has sent a message itself. Only such peers are reported to others; otherwise no entry would expire."""


def whereabouts_of(info: PeerInfo) -> PeerInfo:
    """Who and where a peer is, without what it declares about its model and settings."""
    return PeerInfo(name=info.name, incarnation=info.incarnation, address=info.address, session=info.session)


def place_and_process(info: PeerInfo) -> tuple[str, PeerId, str, str]:
    """What ``whereabouts_of`` keeps, to be compared and looked up."""
    return info.session, info.name, info.incarnation, info.address


def source_of(info: PeerInfo) -> str:
    """Who ``info`` is as a source: under as many names or addresses as it likes, it is one."""
    return name_of(info.address) or info.address


class Gossip:
    """The peers that one peer has not met in its session."""

    def __init__(self) -> None:
        self._entries: dict[tuple[str, PeerId], GossipEntry] = {}
        """The oldest first."""

    def told(self, info: PeerInfo, source: str, now: float) -> None:
        """The peer ``source`` has reported this one. A second report does not extend the time."""
        key = info.session, info.name
        known = self._entries.get(key)
        if known is None:
            self._make_room(source)
            self._entries[key] = GossipEntry(whereabouts_of(info), now, source, spoke=False)
        elif not known.spoke:
            self._entries[key] = replace(known, info=whereabouts_of(info))

    def spoke(self, info: PeerInfo, now: float) -> None:
        """A peer of another session has sent a message. It is always kept."""
        key = info.session, info.name
        self._entries.pop(key, None)
        source = source_of(info)
        self._make_room(source)
        self._entries[key] = GossipEntry(whereabouts_of(info), now, source, spoke=True)

    def _make_room(self, source: str) -> None:
        """Remove an entry of ``source`` if it has too many, else one of the largest source if there are too many."""
        reported = Counter(entry.source for entry in self._entries.values())
        if reported[source] >= MOST_REPORTED:
            self._remove_oldest(source)
        elif len(self._entries) >= MOST:
            self._remove_oldest(max(reported, key=lambda each: reported[each]))

    def _remove_oldest(self, source: str) -> None:
        del self._entries[next(key for key, entry in self._entries.items() if entry.source == source)]

    def met(self, info: PeerInfo) -> None:
        """This peer was met in the session: remove its entry."""
        self._entries.pop((info.session, info.name), None)

    def expire(self, now: float) -> None:
        """Remove the entries whose time is over."""
        oldest = now - FORGOTTEN_AFTER
        self._entries = {key: entry for key, entry in self._entries.items() if entry.since > oldest}

    def first_hand(self) -> tuple[PeerInfo, ...]:
        """Peers that have sent a message themselves."""
        return tuple(entry.info for entry in self._entries.values() if entry.spoke)

    def names(self, session: str) -> frozenset[PeerId]:
        """Names of the peers of ``session``."""
        return frozenset(name for of, name in self._entries if of == session)

    def addresses(self, session: str | None = None) -> frozenset[str]:
        """Their addresses; if ``session`` is given, only those of its peers."""
        infos = (entry.info for entry in self._entries.values())
        return frozenset(info.address for info in infos if session is None or info.session == session)
