"""Decides which events of a session are worth an alert. It sends nothing and reads no clock."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from swarm.text import MAX_SHOWN, printable

if TYPE_CHECKING:
    from swarm.records import PeerId, PeerJoined, PeerLeft, RoundFinished, SessionClosed, SessionStarted


@dataclass(frozen=True, slots=True)
class Alert:
    """One message."""

    kind: str
    """``gone``, ``back``, ``refused`` or ``ended``."""
    session: str
    peer: str
    """Whom it is about; empty if it is about this site."""
    text: str
    """A sentence on one line, printable."""


@dataclass(slots=True)
class _Absence:
    since: float
    reason: str
    told: bool = False


@dataclass(slots=True)
class _Session:
    """What is known of one session."""

    own: str = ""
    away: dict[PeerId, _Absence] = field(default_factory=dict)
    refused: frozenset[PeerId] = frozenset()


class Watcher:
    """Follows the sessions of one process."""

    def __init__(self, after: float) -> None:
        """Nothing has happened yet.

        Args:
            after: seconds for which a site must be gone.
        """
        self._after = after
        self._sessions: dict[str, _Session] = {}

    def started(self, event: SessionStarted) -> None:
        """This site has joined a session."""
        self._sessions[event.session] = _Session(event.peer)

    def joined(self, event: PeerJoined, now: float) -> list[Alert]:
        """A site is there: an alert if one has said that it was gone."""
        session, peer = event.peer.session, event.peer.name
        absence = self._of(session).away.pop(peer, None)
        if absence is None or not absence.told:
            return []
        return [_alert("back", session, peer, f"{peer} is back after {_long(now - absence.since)}")]

    def left(self, event: PeerLeft, now: float) -> None:
        """A site has left or is lost: an alert is due later, unless it comes back."""
        self._of(event.session).away[event.peer] = _Absence(now, event.reason)

    @property
    def next_due(self) -> float | None:
        """When ``due`` has something to say, if nothing else happens; None: never."""
        waiting = [each.since for session in self._sessions.values() for each in session.away.values() if not each.told]
        return min(waiting) + self._after if waiting else None

    def due(self, now: float) -> list[Alert]:
        """The alerts on sites that are gone for long enough by now."""
        alerts = []
        for name, session in self._sessions.items():
            for peer, absence in session.away.items():
                if not absence.told and now - absence.since >= self._after:
                    absence.told = True
                    what = f"{peer} is gone for {_long(now - absence.since)} ({absence.reason})"
                    alerts.append(_alert("gone", name, peer, what))
        return alerts

    def finished(self, event: RoundFinished) -> list[Alert]:
        """A round is committed: an alert for each contribution that it left out and the round before did not."""
        session, report = self._of(event.session), event.report
        new: Collection[PeerId] = sorted(report.refused.keys() - session.refused)
        session.refused = frozenset(report.refused)
        return [
            _alert(
                "refused",
                event.session,
                peer,
                f"the contribution of {peer} to round {report.round} was left out: {report.refused[peer]}",
            )
            for peer in new
        ]

    def closed(self, event: SessionClosed) -> list[Alert]:
        """The session is over here."""
        own = self._sessions.pop(event.session, _Session()).own or "this site"
        if event.closing:
            what = f"the run has ended at {own} with the closing model, after {event.all_rounds or event.rounds} rounds"
        else:
            what = f"the run has ended at {own} without a closing model: {event.reason or 'no reason is known'}"
        return [_alert("ended", event.session, "", what)]

    def _of(self, session: str) -> _Session:
        return self._sessions.setdefault(session, _Session())


def _long(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def _alert(kind: str, session: str, peer: str, what: str) -> Alert:
    return Alert(kind, session, peer, printable(f"Swarm session {session}: {what}", MAX_SHOWN))
