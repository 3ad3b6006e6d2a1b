"""Which addresses a peer may give where its name is verified, and how often it may greet."""

from __future__ import annotations

import logging
from types import SimpleNamespace

import pytest

from swarm.clock import ManualClock
from swarm.identity import Identity
from swarm.identity.throwaway import make_identities
from swarm.messages import Envelope, Hello, Leave
from swarm.peer.given import KEPT, MOST
from swarm.peer.limited_log import LimitedLog
from swarm.peer.peers import EVERY, IN_A_ROW, Peers
from swarm.records import PeerInfo


class Greeted:
    """Counts the addresses that are greeted; nobody is known yet."""

    def __init__(self) -> None:
        self.addresses: list[str] = []
        self.greetings = 0
        self.roster = SimpleNamespace(is_live=lambda *_: False)

    def greeted(self, *_: object) -> None:
        self.greetings += 1

    def greet(self, address: str, *_: object, **__: object) -> None:
        self.addresses.append(address)


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def greeter():
    return Greeted()


@pytest.fixture
def peers(tmp_path, clock, greeter):
    return made(tmp_path, clock, greeter, SimpleNamespace(commit=None))


def made(tmp_path, clock, greeter, machine, plugins=None):
    """Those of berlin; paris is the only other member."""
    make_identities({name: tmp_path / name for name in ("berlin", "paris")})
    return Peers(
        me=PeerInfo(name="berlin", incarnation="i", address="berlin@10.0.0.1:7700", session="s"),
        machine=machine,
        greeter=greeter,
        plugins=plugins,
        clock=clock,
        timeout=1.0,
        limited=LimitedLog(logging.getLogger("swarm"), clock),
        name_patience=1.0,
        identity=Identity(tmp_path / "berlin"),
        **dict.fromkeys(("exchanger", "sender")),
    )


def said(address: str) -> Envelope:
    return Envelope("s", "paris", "i", address, Leave("x"))


@pytest.mark.parametrize("address", ["10.0.0.2:7700", "rome@10.0.0.2:7700", "@10.0.0.2:7700"])
def test_an_address_with_another_name_or_none_is_not_used(peers, greeter, caplog, address):
    peers.receive(said(address))
    assert greeter.addresses == []
    assert f"paris gives the address {address}, which is not of the form paris@host:port" in caplog.text
    peers.receive(said("paris@10.0.0.2:7700"))
    assert greeter.addresses == ["paris@10.0.0.2:7700"]


def test_a_peer_gives_few_addresses(peers, greeter, clock, caplog):
    given = [f"paris@10.0.0.2:{port}" for port in range(1, MOST + 3)]
    for address in (*given, given[0]):
        peers.receive(said(address))
    assert greeter.addresses == [*given[:MOST], given[0]]
    assert "paris gives more than 8 addresses" in caplog.text
    clock.advance(KEPT)
    peers.receive(said(given[-1]))
    assert greeter.addresses[-1] == given[-1]


def greeting() -> Envelope:
    peer = PeerInfo(name="paris", incarnation="i", address="paris@10.0.0.2:7700", session="s")
    return Envelope("s", "paris", "i", peer.address, Hello(peer, (), (), None, wants_reply=True))


def test_a_peer_that_joins_and_leaves_all_the_time_is_met_now_and_then(peers, greeter, clock, caplog):
    for _ in range(1000):
        peers.receive(greeting())
    assert greeter.greetings == IN_A_ROW
    for _ in range(1000):
        clock.advance(EVERY / 10)
        peers.receive(greeting())
    assert greeter.greetings - IN_A_ROW in {99, 100}  # 200 seconds, one every two
    assert len(caplog.messages) < 6
    assert "paris greets too often; some are ignored" in caplog.messages[0]


def test_messages_of_a_peer_that_has_not_joined_are_answered_now_and_then(peers, greeter, clock):
    for _ in range(1000):
        peers.receive(said("paris@10.0.0.2:7700"))
    assert len(greeter.addresses) == IN_A_ROW
    clock.advance(EVERY)
    peers.receive(said("paris@10.0.0.2:7700"))
    assert len(greeter.addresses) == IN_A_ROW + 1


@pytest.mark.parametrize(("peer", "revoked"), [("paris", False), ("rome", True)])
def test_the_loss_of_a_peer_that_is_no_member_any_more_is_told_as_that(tmp_path, clock, peer, revoked):
    downs = []

    def down(peer, now, *, revoked):
        downs.append((peer, revoked))
        return []

    greeter = SimpleNamespace(roster=SimpleNamespace(lose=lambda address: peer, live=tuple))
    machine = SimpleNamespace(closed=True, peer_down=down)
    peers = made(tmp_path, clock, greeter, machine, plugins=SimpleNamespace(peer_left=lambda left: None))
    peers.lost(f"{peer}@10.0.0.2:7700", "its connection is closed")
    assert downs == [(peer, revoked)]
