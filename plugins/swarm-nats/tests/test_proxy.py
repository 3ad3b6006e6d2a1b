"""The hub through an HTTP proxy."""

from __future__ import annotations

import pytest

from swarm import proxy as proxies
from swarm.errors import AddressError
from swarm.proxy import Proxies, Proxy
from swarm.testing.nodes import Node, eventually
from swarm_nats.discovery import NatsDiscovery
from swarm_nats.settings import HubSettings
from swarm_nats.transport import NatsTransport
from tests.transport.connect_proxy import ConnectProxy


@pytest.fixture
def proxy():
    made = ConnectProxy(credentials="ada:secret")
    yield made
    made.close()


@pytest.fixture(autouse=True)
def the_hub_is_elsewhere(monkeypatch, shared_server):
    """A host of this machine is never reached through a proxy; the peers' own ports stay where they are."""
    for name in (*proxies.VARIABLES, *proxies.EXCEPT):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(proxies, "is_loopback", lambda host: host != "localhost")


def through(proxy, server, password="secret"):
    given = Proxies(Proxy("127.0.0.1", proxy.port, "ada", password))
    return HubSettings((f"nats://localhost:{server.port}",), proxies=given)


def test_messages_weights_and_announcements_go_through_it(proxy, shared_server):
    ada, bob = Node(NatsTransport(through(proxy, shared_server))), Node(NatsTransport(shared_server.settings))
    discovery = NatsDiscovery(through(proxy, shared_server), "over a proxy")
    other = NatsDiscovery(shared_server.settings, "over a proxy")
    try:
        ada.say(bob.address, "hello")
        eventually(lambda: bob.handler.texts, "the message arrives")
        assert ada.upload(bob.address, [[bytes(2**20)]]).wait() is None
        discovery.announce("ada", ada.address, "1")
        eventually(lambda: other.discover() == (ada.address,), "it is found")
    finally:
        discovery.withdraw()
        other.withdraw()
        ada.transport.close(0.0)
        bob.transport.close(0.0)
    assert proxy.connected == [f"localhost:{shared_server.port}"] * 2


def test_one_that_refuses_is_named_and_its_password_is_not(proxy, shared_server):
    transport = NatsTransport(through(proxy, shared_server, "wrong"), failure_timeout=2.0)
    told = rf"the proxy 127.0.0.1:{proxy.port} refuses to connect to localhost:{shared_server.port} \(407 Proxy"
    with pytest.raises(AddressError, match=told) as caught:
        Node(transport)
    assert "wrong" not in str(caught.value)
    assert not proxy.connected
