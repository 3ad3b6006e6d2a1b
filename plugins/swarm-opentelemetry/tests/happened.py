"""Events of a session that the tests tell the plugin."""

from __future__ import annotations

from typing import Any

from swarm.records import Outcome, RoundFailed, RoundFinished, RoundReport, SessionClosed, SessionStarted

SECOND = 10**9


def started(session: str = "heart", peer: str = "berlin") -> SessionStarted:
    return SessionStarted(session=session, peer=peer)


def finished(session: str = "heart", own_loss: float | None = None, **report: Any) -> RoundFinished:
    report = {"round": 1, "group": ("rome", "berlin"), "seconds": 2.0, **report}
    return RoundFinished(session=session, report=RoundReport(outcome=Outcome.MERGED, **report), own_loss=own_loss)


def aborted(session: str = "heart") -> RoundFailed:
    return RoundFailed(session=session, round=2, reason="rome is lost")


def skipped(session: str = "heart") -> RoundFailed:
    report = RoundReport(outcome=Outcome.SKIPPED, round=2, seconds=3.0, reason="no quorum")
    return RoundFailed(session=session, round=2, reason="no quorum", report=report)


def closed(session: str = "heart", *, closing: bool = True, reason: str = "") -> SessionClosed:
    return SessionClosed(session=session, rounds=7, digest="d1", closing=closing, reason=reason)
