"""Peers that others reported, and peers of other sessions: addresses to try for a limited time."""

from __future__ import annotations

from dataclasses import dataclass, replace

from swarm.records import PeerId, PeerInfo

MOST = 1000
"""Upper bound on the peers that are remembered."""
FORGOTTEN_AFTER = 3600.0
"""Seconds after the first report of a peer, or after its last message, until it is forgotten."""


@dataclass(frozen=True, slots=True)
class GossipEntry:
    """A peer that was not met in this session."""

    info: PeerInfo
    since: float
    """Time of its last message, or of the first report if it has sent none."""
    spoke: bool
    """Whether it has sent a message itself. Only such peers are reported to others; otherwise no entry would expire."""


class Gossip:
    """The peers that one peer has not met in its session."""

    def __init__(self) -> None:
        self._entries: dict[tuple[str, PeerId], GossipEntry] = {}

    def told(self, info: PeerInfo, now: float) -> None:
        """Another peer has reported this one. A second report does not extend the time."""
        key = info.session, info.name
        known = self._entries.get(key)
        if known is None:
            self._keep(key, GossipEntry(info, now, spoke=False))
        elif not known.spoke:
            self._keep(key, replace(known, info=info))

    def spoke(self, info: PeerInfo, now: float) -> None:
        """A peer of another session has sent a message."""
        self._keep((info.session, info.name), GossipEntry(info, now, spoke=True))

    def _keep(self, key: tuple[str, PeerId], entry: GossipEntry) -> None:
        if key in self._entries or len(self._entries) < MOST:
            self._entries[key] = entry

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
