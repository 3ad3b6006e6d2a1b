"""What the hub, and others on it, see and can do."""

from __future__ import annotations

import asyncio
import threading
import time
from contextlib import contextmanager

import pytest
from nats.aio.client import Client

from swarm.errors import AddressError
from swarm.identity import Identity
from swarm.identity.throwaway import make_identities
from swarm.testing.nodes import Node, eventually
from swarm_nats import tunnel
from swarm_nats.discovery import NatsDiscovery
from swarm_nats.hub import Hub
from swarm_nats.settings import HubSettings
from swarm_nats.stream import HEADER, Kind, unpacked
from swarm_nats.transport import NatsTransport


@pytest.fixture
def nodes(shared_server):
    made: list[Node] = []

    def make(identity=None) -> Node:
        made.append(Node(NatsTransport(shared_server.settings, identity=identity, failure_timeout=3.0)))
        return made[-1]

    yield make
    for each in made:
        each.transport.close(0.0)


class Outsider:
    """A client of the hub that is no peer."""

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self.heard: list[tuple[str, bytes]] = []

    async def take(self, message) -> None:
        self.heard.append((message.subject, message.data))

    def send(self, subject: str, data: bytes, reply: str = "") -> None:
        self.hub.call(self.hub.publish(subject, data, reply), 5.0)


@contextmanager
def outsider(server, subject: str):
    hub = Hub(server.settings, "outsider", 5.0)
    client = Outsider(hub)
    hub.open(subject, client.take)
    try:
        yield client
    finally:
        hub.close()


def token_of(node: Node) -> str:
    return node.address.rpartition(":")[2]


def opened(client: Outsider, node: Node, number: int, sender: str = "b" * 32) -> None:
    identifier = f"{number:032x}"
    subject = f"swarm.{token_of(node)}.{identifier}"
    client.send(subject, HEADER.pack(Kind.OPEN, 0, 0, 2**20), f"swarm.{sender}.{identifier}")


def test_the_hub_sees_no_message_and_no_weights(shared_server, nodes, tmp_path):
    make_identities({"ada": tmp_path / "ada", "bob": tmp_path / "bob"})
    ada, bob = nodes(Identity(tmp_path / "ada")), nodes(Identity(tmp_path / "bob"))
    assert ada.address.startswith("ada@nats:")
    ada.handler.served = lambda: [[b"weights of ada" * 1000]]
    with outsider(shared_server, "swarm.>") as hub:
        served = []
        with pytest.raises(Exception, match="does not allow to speak for sender"):
            served = bob.fetch(ada.address)
        assert served == []
        eventually(lambda: len(hub.heard) > 4, "the hub carries something")
    everything = b"".join(data for _, data in hub.heard)
    assert b"session" not in everything
    assert b"sender" not in everything
    assert b"weights of ada" not in everything


def test_without_tls_the_same_test_finds_what_it_looks_for(shared_server, nodes):
    ada, bob = nodes(), nodes()
    ada.handler.served = lambda: [[b"weights of ada" * 1000]]
    with outsider(shared_server, "swarm.>") as hub:
        bob.fetch(ada.address)
        eventually(lambda: b"weights of ada" in b"".join(data for _, data in hub.heard), "the hub carries it")


def test_another_peer_cannot_take_the_place_of_one(nodes, tmp_path):
    make_identities({"ada": tmp_path / "ada", "bob": tmp_path / "bob"})
    ada, bob = nodes(Identity(tmp_path / "ada")), nodes(Identity(tmp_path / "bob"))
    false = f"ada@{bob.address.partition('@')[2]}"
    ada.say(false, "to ada only")
    eventually(lambda: ada.handler.lost, "it is told")
    ((address, reason),) = ada.handler.lost
    assert address == false
    assert "is bob, not ada" in reason
    assert "127.0.0.1" not in reason, "the user knows no such address"
    assert bob.handler.texts == []


def test_no_peer_tries_a_loopback_address_of_another_machine(nodes, monkeypatch):
    asked = []
    monkeypatch.setattr("swarm.transport.grpc.answers.Answers.begin", lambda *_: asked.append(1))
    ada, bob = nodes(), nodes()
    ada.say(bob.address, "hello")
    bob.say(ada.address, "hello")
    eventually(lambda: ada.handler.texts and bob.handler.texts, "both were heard")
    assert not asked


def test_one_caller_cannot_use_up_all_connections(shared_server, nodes):
    ada, bob = nodes(), nodes()
    with outsider(shared_server, f"swarm.{'b' * 32}.*") as client:
        for number in range(tunnel.MAX_STREAMS_OF_ONE + 5):
            opened(client, ada, number)

        def refused() -> list[str]:
            return [subject for subject, data in client.heard if tunnel.BUSY.encode() in data]

        eventually(lambda: len(refused()) >= 5, "those beyond the limit are refused")
        eventually(lambda: len({subject for subject, _ in client.heard}) == tunnel.MAX_STREAMS_OF_ONE + 5, "all are")
        assert len(refused()) == 5
        bob.say(ada.address, "still served")
        eventually(lambda: ada.handler.texts, "another one is served")


@pytest.mark.parametrize(
    ("data", "reply"),
    [
        (b"", "swarm.{token}.{stream}"),
        (b"\xff" * 40, "swarm.{token}.{stream}"),
        (HEADER.pack(Kind.OPEN, 0, 0, 0), "$SYS.REQ.SERVER.PING"),
        (HEADER.pack(Kind.OPEN, 0, 0, 0), "swarm.{token}.another"),
        (HEADER.pack(Kind.OPEN, 0, 0, 0), "swarmed.{token}.{stream}"),
        (HEADER.pack(Kind.OPEN, 0, 0, 0), ""),
        (HEADER.pack(Kind.RESET, 0, 0, 0), "swarm.{token}.{stream}"),
    ],
)
def test_strange_packets_are_not_answered(shared_server, nodes, data, reply):
    ada = nodes()
    stream, token = "c" * 32, "d" * 32
    with outsider(shared_server, ">") as client:
        client.send(f"swarm.{token_of(ada)}.{stream}", data, reply.format(token=token, stream=stream))
        opened(client, ada, 7, sender="e" * 32)
        eventually(lambda: any(subject.startswith(f"swarm.{'e' * 32}") for subject, _ in client.heard), "the next is")
        assert not [subject for subject, _ in client.heard if subject == reply.format(token=token, stream=stream)]


def test_packets_of_a_stream_that_is_over_are_answered_by_its_end(shared_server, nodes):
    ada = nodes()
    stream, token = "c" * 32, "d" * 32
    with outsider(shared_server, f"swarm.{token}.*") as client:
        client.send(
            f"swarm.{token_of(ada)}.{stream}", HEADER.pack(Kind.DATA, 0, 0, 0) + b"x", f"swarm.{token}.{stream}"
        )
        eventually(lambda: client.heard, "it is answered")
        assert [unpacked(data)[0] for _, data in client.heard] == [Kind.RESET]


def test_a_hub_that_cannot_be_used_is_named_at_the_start(tmp_path):
    hub = HubSettings(("nats://ada:secret@127.0.0.1:9",))
    with pytest.raises(
        AddressError, match=r"the hub at nats://127.0.0.1:9 cannot be used: .*check SWARM_NATS"
    ) as raised:
        Node(NatsTransport(hub, failure_timeout=0.5))
    assert "secret" not in str(raised.value)


def test_announcements_that_anybody_wrote_are_hints_at_most(shared_server):
    discovery = NatsDiscovery(shared_server.settings, "of this test")
    discovery.announce("ada", "nats:" + "a" * 32, "1")
    own = discovery._own
    assert own is not None

    async def write() -> None:
        client = Client()
        await client.connect(shared_server.url)
        bucket = await client.jetstream().key_value("swarm")
        folder = own[0].partition(".")[0]
        for number, value in enumerate((b"", b"[1]", b'{"address": 7}', b'{"address": "a b"}', b"[" * 8000)):
            await bucket.put(f"{folder}.{number}", value)
        await bucket.put(f"{folder}.good", b'{"address": "bob@nats:1"}')
        await client.close()

    try:
        worker = threading.Thread(target=asyncio.run, args=(write(),))
        worker.start()
        worker.join()
        assert discovery.discover() == ("bob@nats:1",)
    finally:
        discovery.withdraw()


def test_a_hub_that_stores_nothing_for_now_holds_nobody_up(server):
    """The servers of a cluster may need seconds to agree on a leader, and rounds wait for who looks."""
    discovery, other = (NatsDiscovery(server.settings, "of this test") for _ in range(2))
    try:
        discovery.announce("ada", "nats:" + "a" * 32, "1")
        other.announce("bob", "nats:" + "b" * 32, "1")
        assert discovery.discover() == ("nats:" + "b" * 32,)
        asked = threading.Event()

        async def never() -> tuple[str, ...]:
            asked.set()
            await asyncio.Event().wait()
            return ()

        discovery._announced = never
        began = time.monotonic()
        for _ in range(5):
            assert discovery.discover() == ("nats:" + "b" * 32,), "what was found before is given"
        assert asked.is_set()
        assert time.monotonic() - began < 1.0
    finally:
        discovery.withdraw()
        other.withdraw()


def test_a_hub_is_reached_over_websocket(websocket_url):
    pytest.importorskip("aiohttp")
    hub = HubSettings.from_environment({"SWARM_NATS_SERVERS": websocket_url})
    ada, bob = Node(NatsTransport(hub)), Node(NatsTransport(hub))
    try:
        ada.say(bob.address, "hello")
        assert ada.upload(bob.address, [[bytes(2**20)], [b"end"]]).wait() is None
        eventually(lambda: bob.handler.texts, "the message arrives")
        assert bob.handler.streams[1] == [bytes(2**20), b"end"]
    finally:
        ada.transport.close(0.0)
        bob.transport.close(0.0)
