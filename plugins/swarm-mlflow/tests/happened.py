"""Events of a session that the tests tell the plugin."""

from __future__ import annotations

from swarm.records import Outcome, PeerInfo, PeerJoined, RoundFinished, RoundReport, SessionClosed, SessionStarted


def started(peer: str = "berlin", **about) -> SessionStarted:
    return SessionStarted(session="heart", peer=peer, **about)


def joined(*settings: tuple[str, str], session: str = "heart") -> PeerJoined:
    peer = PeerInfo(name="rome", incarnation="1", address="127.0.0.1:1", session=session, settings=settings)
    return PeerJoined(peer=peer)


def finished(number: int = 1, own_loss: float | None = None, **report) -> RoundFinished:
    report = {"group": ("rome", "berlin"), "lineage": "ab12", "seconds": 2.0, **report}
    made = RoundReport(outcome=Outcome.MERGED, round=number, **report)
    return RoundFinished(session="heart", report=made, own_loss=own_loss)


def closed(*, closing: bool = True, **about) -> SessionClosed:
    return SessionClosed(**{"session": "heart", "rounds": 2, "digest": "d1", "closing": closing, **about})
