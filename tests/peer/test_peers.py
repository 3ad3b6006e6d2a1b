"""Which addresses a peer may give where its name is verified."""

from __future__ import annotations

import logging
from types import SimpleNamespace

import pytest

from swarm.clock import ManualClock
from swarm.identity import Identity
from swarm.identity.throwaway import make_identities
from swarm.messages import Envelope, Leave
from swarm.peer.given import KEPT, MOST
from swarm.peer.limited_log import LimitedLog
from swarm.peer.peers import Peers
from swarm.records import PeerInfo


class Greeted:
    """Counts the addresses that are greeted; nobody is known yet."""

    def __init__(self) -> None:
        self.addresses: list[str] = []
        self.roster = SimpleNamespace(is_live=lambda *_: False)

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
    make_identities({name: tmp_path / name for name in ("berlin", "paris")})
    others = dict.fromkeys(("exchanger", "sender", "plugins"))
    return Peers(
        me=PeerInfo(name="berlin", incarnation="i", address="berlin@10.0.0.1:7700", session="s"),
        machine=SimpleNamespace(commit=None),
        greeter=greeter,
        clock=clock,
        timeout=1.0,
        limited=LimitedLog(logging.getLogger("swarm"), clock),
        name_patience=1.0,
        identity=Identity(tmp_path / "berlin"),
        **others,
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
