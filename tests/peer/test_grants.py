from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from swarm.config import Settings
from swarm.config.granted import share_of
from swarm.identity import Identity, Member
from swarm.identity.throwaway import make_identities
from swarm.messages import Hello, Leave, Offer
from swarm.peer.grants import within_grant
from swarm.records import ContributionStats, PeerInfo
from swarm.testing.swarm import MemorySwarm
from swarm.transport.memory import MemoryTransport


@pytest.fixture
def identity(tmp_path):
    make_identities({"berlin": tmp_path / "berlin", "paris": tmp_path / "paris"})
    return Identity(tmp_path / "berlin")


def offer(weight):
    return Offer("l", "p", votes=True, stats=ContributionStats(peer="paris", round=1, weight=weight))


def hello(weight):
    paris = PeerInfo(name="paris", incarnation="i", address="a", session="s", weight=weight)
    return Hello(paris, (), (), None, wants_reply=False)


def test_more_than_is_granted_does_not_count(identity):
    assert within_grant(offer(10**6), "paris", identity).stats.weight == 100
    assert within_grant(hello(10**6), "paris", identity).peer.weight == 100


def test_the_own_weights_count_no_more_than_is_granted_now(identity, monkeypatch):
    granted = {"berlin": 100}
    monkeypatch.setattr(identity, "member", lambda name: Member(name, granted[name]))
    monkeypatch.setattr(MemoryTransport, "identity", identity)
    peer = MemorySwarm(sync_interval=1, min_peers=1, world_size=1, node_weightage=50).peer("berlin", {"w": np.zeros(2)})
    peer.session.begin()
    peer.advance()
    before = peer.session.commit.weights
    granted["berlin"] = 7
    peer.advance()
    assert (before, peer.session.commit.weights) == ((50,), (7,))
    peer.session.end()


def test_less_than_is_granted_is_as_declared(identity):
    for message in (offer(3), hello(3), Leave("bye")):
        assert within_grant(message, "paris", identity) == message


def test_a_number_of_samples_is_limited_only_by_a_grant_of_nothing(identity, monkeypatch):
    assert within_grant(offer(10**6), "paris", identity, by_samples=True) == offer(10**6)
    monkeypatch.setattr(type(identity), "member", lambda _, name: Member(name, weight=0))
    assert within_grant(offer(10**6), "paris", identity, by_samples=True).stats.weight == 0


def test_a_grant_is_the_largest_share_of_a_round_by_samples(identity, monkeypatch):
    monkeypatch.setattr(type(identity), "member", lambda _, name: Member(name, weight=20))
    by_samples, plain = (replace(Settings(), node_weightage=each, largest_share=0.5) for each in ("samples", 3))
    assert share_of(identity, by_samples)("paris") == Fraction(1, 5)
    assert share_of(identity, plain)("paris") == share_of(None, by_samples)("paris") == Fraction(1, 2)


def test_without_an_identity_nothing_is_granted_or_denied():
    assert within_grant(offer(10**6), "paris", None) == offer(10**6)
