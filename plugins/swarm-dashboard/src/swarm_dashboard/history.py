"""What was seen of a swarm. Every change has a number, so that each browser is told only what it does not know yet."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from typing import Any

from swarm_dashboard.events import Events
from swarm_dashboard.peers import Peer, state_of
from swarm_dashboard.reading import Fields, count, mappings, text
from swarm_dashboard.reports import records_of
from swarm_dashboard.rounds import Records
from swarm_dashboard.versioned import Versions, newer

FORMAT = "swarm-dashboard/1"
"""Of what browsers are told, and of saved files."""
MOST_SESSIONS = 16
TOGETHER = 15.0
"""Seconds for which it is no news that all peers are silent: most often they have ended, which is told next."""
MOST_PEERS = 256
"""In one session; there are at most 64 unless somebody invents them."""


class Session:
    """One training, as all of its peers tell it."""

    def __init__(self, name: str, versions: Versions) -> None:
        self.name = name
        self.events = Events(versions)
        self.records = Records(versions, self.events)
        self._versions = versions
        self._peers: dict[str, Peer] = {}
        self._heard = float("-inf")
        """When a peer has answered last."""

    def take(self, statuses: Iterable[Fields], unreachable: Mapping[str, str], now: float) -> None:
        """What the peers of this session have told by now, and the addresses at which nobody answered, with why."""
        statuses = list(statuses)
        if statuses:
            self._heard = now
        elif now - self._heard < TOGETHER:
            return
        answered: set[str] = set()
        views: dict[str, list[Fields]] = {}
        for status in statuses:
            peer = self._peer(text(status, "name"))
            if peer is None or peer.name in answered:
                continue
            answered.add(peer.name)
            peer.answered(status, now)
            for record in mappings(status, "records"):
                self.records.take(record, now)
            self.events.warnings(peer.name, mappings(status, "warnings"))
            for other in mappings(status, "peers"):
                if known := self._peer(text(other, "name")):
                    known.address = known.address or text(other, "address")
                    views.setdefault(known.name, []).append(other)
        self.events.came([name for name, peer in self._peers.items() if not peer.state and name in answered], now)
        for peer in self._peers.values():
            silent = peer.name not in answered
            told = peer.status if not silent else None
            state = state_of(peer, told, views.get(peer.name, []), unreachable.get(peer.asked or peer.address))
            peer.left_out = any(view.get("left_out") is True for view in views.get(peer.name, []))
            if state != peer.state:
                self.events.changed(peer, state, now)
                peer.state, peer.since = state, now
            peer.settle()

    def ended(self, peers: Iterable[Fields], now: float) -> None:
        """The processes of these peers have ended, as ``swarm up --json`` tells it."""
        for fields in peers:
            for result in mappings(fields, "sessions"):
                if text(result, "session") == self.name and (peer := self._peer(text(fields, "name"))):
                    state = text(fields, "state")
                    peer.result = dict(result)
                    self.events.ended(peer, state, result, now)
                    peer.state, peer.since = "ended" if state == "done" else state, now
                    peer.settle()
        # Of the others nothing is told: those of the last round that nobody has lost have ended with it.
        last = self.records.group
        for peer in self._peers.values():
            if not peer.result and peer.name in last and peer.state not in {"gone", "left"}:
                peer.state, peer.since = "ended", now
                peer.settle()

    def reported(self, report: Fields, now: float) -> None:
        """A peer has written its report: it has ended, most often before it was asked about its last rounds."""
        peer = self._peer(text(report, "site"))
        if peer is None:
            return
        peer.reported(report)
        for record in records_of(report, self.records.last):
            self.records.take(record, now)
        if not peer.result:
            peer.result = {name: report.get(name) for name in ("closing", "reason", "round", "digest", "file")}
            self.events.ended(peer, "done", peer.result, now)
        if peer.state != "ended":
            peer.state, peer.since = "ended", now
        peer.settle()

    def since(self, version: int) -> dict[str, Any]:
        """What is newer than a version."""
        return {
            "name": self.name,
            "peers": [peer.shown.value for peer in self._peers.values() if peer.shown.version > version],
            "rounds": [
                {"peer": peer.name, **each} for peer in self._peers.values() for each in newer(peer.rounds, version)
            ],
            "records": newer(self.records.all, version),
            "events": newer(self.events.all, version),
        }

    def _peer(self, name: str) -> Peer | None:
        if name and name not in self._peers and len(self._peers) < MOST_PEERS:
            self._peers[name] = Peer(name, self._versions)
        return self._peers.get(name)


class History:
    """All sessions that were seen. Used on one thread."""

    def __init__(self) -> None:
        self.id = secrets.token_hex(4)
        """Tells the versions of this history from those of another one, as of an earlier page at the same address."""
        self._versions = Versions()
        self._sessions: dict[str, Session] = {}
        self.time = 0.0
        """When peers were asked last."""
        self._end: Mapping[str, Any] | None = None
        self._nobody: list[dict[str, str]] = []
        """Who does not answer, with why, while nobody ever has."""

    @property
    def version(self) -> int:
        """The number of the last change."""
        return self._versions.last

    def take(self, told: Fields) -> None:
        """What peers have told, as ``Watch.turn`` returns it."""
        self.time = now = float(told["time"])
        unreachable = {text(each, "address"): text(each, "reason") for each in mappings(told, "unreachable")}
        by_session: dict[str, list[Fields]] = {}
        for status in mappings(told, "peers"):
            by_session.setdefault(text(status, "session"), []).append(status)
        for name in by_session:
            self._session(name)
        for name, session in self._sessions.items():
            session.take(by_session.get(name, []), unreachable, now)
        nobody = [] if self._sessions else [{"address": at, "reason": why} for at, why in unreachable.items()]
        if nobody[:MOST_PEERS] != self._nobody:
            self._nobody = nobody[:MOST_PEERS]
            self._versions.next()

    def report(self, reports: Iterable[Fields], now: float) -> None:
        """Peers have written these reports, in JSON types."""
        for each in reports:
            if session := self._session(text(each, "session")):
                session.reported(each, now)

    def end(self, end: Mapping[str, Any], now: float) -> None:
        """The run has ended, as ``swarm up --json`` tells it; empty if nothing more is known."""
        self.time, self._end = now, {"time": now, "exit_code": count(end, "exit_code") if end else None}
        self._versions.next()
        for session in self._sessions.values():
            session.ended(mappings(end, "peers"), now)

    def _session(self, name: str) -> Session | None:
        if name and name not in self._sessions and len(self._sessions) < MOST_SESSIONS:
            self._sessions[name] = Session(name, self._versions)
        return self._sessions.get(name)

    def since(self, version: int) -> dict[str, Any]:
        """What is newer than ``version``, 0 for all, in JSON types."""
        return {
            "format": FORMAT,
            "id": self.id,
            "complete": version == 0,
            "version": self.version,
            "time": self.time,
            "end": self._end,
            "unreachable": self._nobody,
            "sessions": [session.since(version) for session in self._sessions.values()],
        }
