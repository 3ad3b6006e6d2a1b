"""Which addresses a peer may give where its name is verified, how often it may greet, and what its greetings change."""

from __future__ import annotations

import logging
from dataclasses import replace
from types import SimpleNamespace

import pytest

from swarm.clock import ManualClock
from swarm.identity import Identity
from swarm.identity.consortium import Member
from swarm.identity.throwaway import make_identities
from swarm.messages import MAX_PEERS, Envelope, Hello, Leave
from swarm.peer.declared import Declared
from swarm.peer.given import KEPT, MOST
from swarm.peer.greeter import Met
from swarm.peer.limited_log import LimitedLog
from swarm.peer.peers import EVERY, IN_A_ROW, Peers
from swarm.records import Credential, PeerInfo
from swarm.versions import Versions


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


def made(tmp_path, clock, greeter, machine, plugins=None, exchanger=None):
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
        exchanger=exchanger,
        sender=None,
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


class Joined(Greeted):
    """Everybody who greets is met."""

    def __init__(self) -> None:
        super().__init__()
        self.known: dict[str, PeerInfo] = {}
        self.roster = SimpleNamespace(info=self.known.get)

    def greeted(self, envelope: Envelope, hello: Hello, *_: object) -> Met:
        self.known[hello.peer.name] = hello.peer
        return Met(hello.peer.name)


class Ups:
    """The facts with which the state machine hears of a peer."""

    commit = None

    def __init__(self) -> None:
        self.weights: list[int] = []

    def peer_up(self, peer: str, commit: object, now: float, *, weight: int, **_: object) -> list[object]:
        self.weights.append(weight)
        return []


@pytest.fixture
def ups():
    return Ups()


@pytest.fixture
def joined(tmp_path, clock, ups):
    return made(tmp_path, clock, Joined(), ups, exchanger=SimpleNamespace(met=lambda peer: None))


def hello(*, incarnation: str = "1", key: str = "a", **facts: object) -> Envelope:
    port = 7700 + int(incarnation)
    info = PeerInfo(
        name="paris", incarnation=incarnation, address=f"paris@10.0.0.2:{port}", session="s", **{"weight": 1, **facts}
    )
    message = Hello(info, (), (), None, wants_reply=True, credential=Credential("paris", key * 64))
    return Envelope("s", "paris", incarnation, info.address, message)


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"weight": 100}, "weight 100 in place of 1"),
        ({"weight": 0}, "weight 0 in place of 1"),
        ({"key": "b"}, "another key to sign with"),
        ({"versions": Versions(4, 3, "")}, "other versions"),
        ({"settings": (("share", "x"),), "ranks": ("paris@10.0.0.2:1",)}, "other ranks and other settings"),
        ({"incarnation": "2", "weight": 100}, "weight 100 in place of 1"),
    ],
)
def test_what_a_process_has_declared_stands(joined, ups, caplog, changed, told):
    joined.receive(hello())
    joined.receive(hello(**changed))
    assert ups.weights == [1]
    assert f"paris declares {told}, which stands until it is started anew; its greeting is ignored" in caplog.text
    joined.receive(hello())
    assert ups.weights == [1, 1]


def test_a_process_that_was_started_anew_may_declare_another_weight_and_that_is_said(joined, ups, caplog):
    joined.receive(hello())
    joined.receive(hello(incarnation="2", key="b", weight=3))
    assert ups.weights == [1, 3]
    assert "WARNING" in caplog.text
    assert "paris was started anew, and joins with weight 3 in place of 1" in caplog.text
    joined.receive(hello(incarnation="3", key="c", weight=3))
    assert len(caplog.messages) == 1


def test_a_weight_that_the_consortium_grants_anew_counts(joined, ups, monkeypatch, caplog):
    granted = iter((2, 5))
    monkeypatch.setattr(Identity, "member", lambda self, name: Member(name, weight=next(granted)))
    joined.receive(hello(weight=5))
    joined.receive(hello(weight=5))
    assert ups.weights == [2, 5]
    assert not caplog.messages


def test_few_peers_are_remembered():
    declared = Declared()
    for number in range(MAX_PEERS + 1):
        declared.met(Hello(PeerInfo(name=f"p{number}", incarnation="1", address="a", session="s"), (), (), None, True))
    other = PeerInfo(name="p0", incarnation="1", address="a", session="s", weight=2)
    assert not declared.change(Hello(other, (), (), None, True))
    assert declared.change(Hello(replace(other, name="p1"), (), (), None, True)) == "weight 2 in place of 1"
