from __future__ import annotations

import pytest

from swarm.records import (
    Outcome,
    PeerInfo,
    PeerJoined,
    PeerLeft,
    RoundFinished,
    RoundReport,
    SessionClosed,
    SessionStarted,
)
from swarm_alerts.watcher import Watcher


@pytest.fixture
def watcher():
    watcher = Watcher(after=60.0)
    watcher.started(SessionStarted(session="heart", peer="paris"))
    return watcher


def left(peer="oslo", session="heart", reason="the connection was lost"):
    return PeerLeft(session=session, peer=peer, reason=reason, polite=False)


def joined(peer="oslo", session="heart"):
    return PeerJoined(peer=PeerInfo(name=peer, incarnation="1", address="h:1", session=session), returned=True)


def finished(number, **refused):
    return RoundFinished(session="heart", report=RoundReport(outcome=Outcome.MERGED, round=number, refused=refused))


def texts(alerts):
    return [alert.text for alert in alerts]


def test_a_site_that_is_gone_for_long_is_told_once(watcher):
    watcher.left(left(), 10.0)
    assert watcher.next_due == 70.0
    assert watcher.due(69.0) == []
    (alert,) = watcher.due(70.0)
    assert (alert.kind, alert.peer) == ("gone", "oslo")
    assert alert.text == "Swarm session heart: oslo is gone for 60 s (the connection was lost)"
    assert watcher.due(500.0) == []
    assert watcher.next_due is None


def test_a_site_that_comes_back_soon_is_not_told(watcher):
    watcher.left(left(), 10.0)
    assert watcher.joined(joined(), 50.0) == []
    assert watcher.due(500.0) == []


def test_a_site_that_comes_back_late_is_told(watcher):
    watcher.left(left(), 10.0)
    watcher.due(70.0)
    (alert,) = watcher.joined(joined(), 100.0)
    assert (alert.kind, alert.peer) == ("back", "oslo")
    assert "is back after" in alert.text


def test_sessions_are_told_apart(watcher):
    watcher.left(left(session="lungs"), 10.0)
    watcher.joined(joined(session="heart"), 20.0)
    assert [alert.session for alert in watcher.due(100.0)] == ["lungs"]


def test_a_refused_contribution_is_told_at_the_first_of_rounds_in_a_row(watcher):
    assert texts(watcher.finished(finished(1, oslo="too far"))) == [
        "Swarm session heart: the contribution of oslo to round 1 was left out: too far"
    ]
    assert watcher.finished(finished(2, oslo="too far")) == []
    assert [alert.peer for alert in watcher.finished(finished(3, oslo="too far", rome="NaN"))] == ["rome"]
    watcher.finished(finished(4))
    assert len(watcher.finished(finished(5, oslo="again"))) == 1


def test_the_end_is_told_with_what_it_left(watcher):
    ended = SessionClosed(session="heart", rounds=3, digest="d", closing=True, all_rounds=61)
    (alert,) = watcher.closed(ended)
    assert alert.text == "Swarm session heart: the run has ended at paris with the closing model, after 61 rounds"
    (alert,) = watcher.closed(SessionClosed(session="heart", rounds=3, digest="", closing=False, reason="Ctrl-C"))
    assert alert.text.endswith("without a closing model: Ctrl-C")


def test_after_the_end_nobody_is_missed(watcher):
    watcher.left(left(), 10.0)
    watcher.closed(SessionClosed(session="heart", rounds=3, digest="", closing=True))
    assert watcher.due(500.0) == []
    assert watcher.next_due is None


def test_text_of_other_sites_is_one_printable_line(watcher):
    watcher.left(left(reason="gone\n\x1b[2J" + "x" * 5000), 0.0)
    (alert,) = watcher.due(100.0)
    assert "\n" not in alert.text
    assert "\x1b" not in alert.text
    assert len(alert.text) < 1300
