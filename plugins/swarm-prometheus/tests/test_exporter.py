from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from swarm.records import (
    Outcome,
    PeerInfo,
    PeerJoined,
    PeerLeft,
    RoundFailed,
    RoundFinished,
    RoundReport,
    SessionClosed,
)
from swarm_prometheus.exporter import Exporter


@pytest.fixture
def registry():
    return CollectorRegistry()


@pytest.fixture
def exporter(registry):
    return Exporter(registry)


def joined(name, session="hearts"):
    peer = PeerInfo(name=name, incarnation="1", address="127.0.0.1:1", session=session)
    return PeerJoined(peer=peer)


def finished(session="hearts", **report):
    return RoundFinished(session=session, report=RoundReport(outcome=Outcome.MERGED, round=1, **report))


def test_rounds_add_up(registry, exporter):
    exporter.round_finished(finished(seconds=0.25, stall=0.125, bytes_sent=100, bytes_received=40))
    exporter.round_finished(finished(seconds=0.5, stall=0.25, bytes_sent=10, bytes_received=4))
    value = {
        name: registry.get_sample_value(name, {"session": "hearts"})
        for name in (
            "swarm_rounds_total",
            "swarm_round_seconds_sum",
            "swarm_round_seconds_count",
            "swarm_stall_seconds_sum",
            "swarm_sent_bytes_total",
            "swarm_received_bytes_total",
        )
    }
    assert value == {
        "swarm_rounds_total": 2,
        "swarm_round_seconds_sum": 0.75,
        "swarm_round_seconds_count": 2,
        "swarm_stall_seconds_sum": 0.375,
        "swarm_sent_bytes_total": 110,
        "swarm_received_bytes_total": 44,
    }


def test_sessions_are_told_apart(registry, exporter):
    exporter.round_finished(finished("hearts"))
    exporter.round_failed(RoundFailed(session="lungs", round=1, reason="no quorum"))
    assert registry.get_sample_value("swarm_rounds_total", {"session": "hearts"}) == 1
    assert registry.get_sample_value("swarm_rounds_total", {"session": "lungs"}) is None
    assert registry.get_sample_value("swarm_round_failures_total", {"session": "lungs"}) == 1


def test_the_loss_is_the_last_one_known(registry, exporter):
    exporter.round_finished(finished())
    assert registry.get_sample_value("swarm_merged_loss", {"session": "hearts"}) is None
    exporter.round_finished(finished(loss=0.5))
    exporter.round_finished(finished())
    assert registry.get_sample_value("swarm_merged_loss", {"session": "hearts"}) == 0.5


def test_peers_come_and_go(registry, exporter):
    def peers():
        return registry.get_sample_value("swarm_peers", {"session": "hearts"})

    exporter.peer_joined(joined("b"))
    assert peers() == 1
    exporter.round_finished(finished(group=("a", "b", "c")))
    exporter.peer_joined(joined("b"))
    assert peers() == 3
    exporter.peer_left(PeerLeft(session="hearts", peer="c", reason="lost", polite=False))
    assert peers() == 2
    exporter.session_closed(SessionClosed(session="hearts", rounds=1, digest="", closing=True))
    assert peers() == 0


def test_a_peer_that_leaves_one_session_stays_in_another(registry, exporter):
    for session in ("hearts", "lungs"):
        exporter.round_finished(finished(session, group=("a", "b")))
    exporter.peer_left(PeerLeft(session="lungs", peer="b", reason="lost", polite=False))
    assert registry.get_sample_value("swarm_peers", {"session": "hearts"}) == 2
    assert registry.get_sample_value("swarm_peers", {"session": "lungs"}) == 1


def test_what_peers_are_called_adds_no_series_and_no_line(registry, exporter):
    exporter.peer_joined(joined("ann", session="hearts"))
    exporter.round_failed(RoundFailed(session="hearts", round=1, reason="no quorum"))
    lines = generate_latest(registry).decode().splitlines()
    for number in range(200):
        exporter.peer_joined(joined(f'x{number}"}} 1\nforged{{a="\x1b[2J\u202e'))
        exporter.peer_left(PeerLeft(session="hearts", peer="ann", reason="\nforged 1\n", polite=True))
    exporter.round_failed(RoundFailed(session="hearts", round=1, reason="\nforged 1\n"))
    after = generate_latest(registry).decode()
    assert "forged" not in after
    assert len(after.splitlines()) == len(lines)
