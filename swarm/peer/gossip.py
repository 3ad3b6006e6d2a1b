"""Peers that others tell of, and peers of other sessions: where one may knock, for a while."""

from __future__ import annotations

from dataclasses import dataclass, replace

from swarm.records import PeerId, PeerInfo

MOST = 1000
"""Bounds what a babbling peer can make us remember."""
FORGOTTEN_AFTER = 3600.0
"""Seconds after which a peer that was only told of, or was last heard so long ago, is forgotten."""


@dataclass(frozen=True, slots=True)
class GossipEntry:
    """A peer that is not known to be in the session with us."""

    info: PeerInfo
    since: float
    """When it was first told of; when it last spoke, where it has."""
    spoke: bool
    """Whether it has spoken for itself. Only of such a peer others are told, or gossip would live for ever."""


class Gossip:
    """One peer's record of those that it has not met in its session."""

    def __init__(self) -> None:
        self._entries: dict[tuple[str, PeerId], GossipEntry] = {}

    def told(self, info: PeerInfo, now: float) -> None:
        """Another peer has told of this one. Being told again does not prolong its stay."""
        key = info.session, info.name
        known = self._entries.get(key)
        if known is None:
            self._keep(key, GossipEntry(info, now, spoke=False))
        elif not known.spoke:
            self._keep(key, replace(known, info=info))

    def spoke(self, info: PeerInfo, now: float) -> None:
        """A peer of another session has spoken."""
        self._keep((info.session, info.name), GossipEntry(info, now, spoke=True))

    def _keep(self, key: tuple[str, PeerId], entry: GossipEntry) -> None:
        if key in self._entries or len(self._entries) < MOST:
            self._entries[key] = entry

    def met(self, info: PeerInfo) -> None:
        """This one is in the session with us: it is gossip no more."""
        self._entries.pop((info.session, info.name), None)

    def expire(self, now: float) -> None:
        """Forget those whose time is over."""
        oldest = now - FORGOTTEN_AFTER
        self._entries = {key: entry for key, entry in self._entries.items() if entry.since > oldest}

    def first_hand(self) -> tuple[PeerInfo, ...]:
        """Those that have spoken for themselves."""
        return tuple(entry.info for entry in self._entries.values() if entry.spoke)

    def names(self, session: str) -> frozenset[PeerId]:
        """Names of the peers of ``session``."""
        return frozenset(name for of, name in self._entries if of == session)

    def addresses(self, session: str | None = None) -> frozenset[str]:
        """Where they listen, those of ``session`` only if it is given."""
        infos = (entry.info for entry in self._entries.values())
        return frozenset(info.address for info in infos if session is None or info.session == session)
