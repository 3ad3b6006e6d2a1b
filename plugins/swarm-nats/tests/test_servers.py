"""Servers as their operators run them: with credentials that NATS issues, and with a leaf node at a site."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.request import urlopen

import pytest

from swarm.errors import AddressError, ConfigurationError
from swarm.identity import Identity
from swarm.identity.throwaway import make_identities
from swarm.testing.nodes import Node, eventually
from swarm_nats.discovery import NatsDiscovery
from swarm_nats.settings import HubSettings
from swarm_nats.transport import NatsTransport

from .accounts import Operator
from .conftest import Server, free_port


@pytest.fixture
def serve(tmp_path):
    servers = []

    def serve(name: str, config: str, *, stores: bool = True) -> Server:
        file = tmp_path / f"{name}.conf"
        file.write_text(config)
        servers.append(Server(tmp_path / name, "-c", str(file), stores=stores))
        servers[-1].start()
        return servers[-1]

    yield serve
    for server in servers:
        server.kill()


def hub(url: str, credentials: Path | None = None, domain: str = "") -> HubSettings:
    given = {"SWARM_NATS_CREDENTIALS": str(credentials)} if credentials else {}
    return HubSettings.from_environment({"SWARM_NATS_SERVERS": url, "SWARM_NATS_DOMAIN": domain, **given})


def meet(ada: HubSettings, bob: HubSettings, tmp_path: Path) -> None:
    """Two peers find each other, and send each other messages and weights."""
    make_identities({"sender": tmp_path / "identity"})
    nodes = [Node(NatsTransport(each, identity=Identity(tmp_path / "identity"))) for each in (ada, bob)]
    found = [NatsDiscovery(each, "of this test") for each in (ada, bob)]
    try:
        for number, node in enumerate(nodes):
            found[number].announce(f"peer-{number}", node.address, str(number))
        eventually(lambda: found[0].discover() == (nodes[1].address,), "the first one finds the second one")
        eventually(lambda: found[1].discover() == (nodes[0].address,), "the second one finds the first one")
        for one, other in (nodes, reversed(nodes)):
            one.say(other.address, "hello")
            assert one.upload(other.address, [[bytes(2**20)], [b"end"]]).wait() is None
            eventually(lambda other=other: other.handler.texts == ["hello"], "the message arrives")
            assert other.handler.streams[1] == [bytes(2**20), b"end"]
    finally:
        for each in found:
            each.withdraw()
        for node in nodes:
            node.transport.close(0.0)


def test_sites_show_credentials_that_the_operator_has_issued(serve, tmp_path) -> None:
    operator = Operator()
    url = serve("hub", operator.config()).url
    meet(*(hub(url, operator.credentials(tmp_path / f"{name}.creds")) for name in ("ada", "bob")), tmp_path)


def test_the_rights_that_the_readme_names_are_enough(serve, tmp_path) -> None:
    operator = Operator()
    url = serve("hub", operator.config()).url
    allowed = ("swarm.>", "_INBOX.>", "$JS.API.>", "$JS.ACK.>", "$KV.swarm.>")
    meet(*(hub(url, operator.credentials(tmp_path / f"{name}.creds", *allowed)) for name in ("ada", "bob")), tmp_path)


def test_credentials_of_another_operator_are_refused_by_name(serve, tmp_path) -> None:
    url = serve("hub", Operator().config()).url
    stranger = Operator().credentials(tmp_path / "stranger.creds")
    with pytest.raises(AddressError, match=r"the hub at nats://.* cannot be used: .*SWARM_NATS_CREDENTIALS"):
        Node(NatsTransport(hub(url, stranger), failure_timeout=2.0))


def test_sites_meet_over_a_leaf_node_at_one_of_them(serve, tmp_path) -> None:
    port, monitor = free_port(), free_port()
    main = serve(
        "hub", f'jetstream {{ domain: hub }}\nhttp: "127.0.0.1:{monitor}"\nleafnodes {{ listen: "127.0.0.1:{port}" }}'
    )
    leaf = serve("leaf", f'leafnodes {{ remotes: [ {{ url: "nats://127.0.0.1:{port}" }} ] }}', stores=False)

    def joined() -> bool:
        with urlopen(f"http://127.0.0.1:{monitor}/leafz") as answer:
            return bool(json.load(answer)["leafnodes"])

    eventually(joined, "the leaf node has connected to the hub")
    meet(hub(leaf.url, domain="hub"), hub(main.url, domain="hub"), tmp_path)
    meet(hub(leaf.url, domain="hub"), hub(main.url), tmp_path / "again")


def test_a_discovery_finds_out_before_a_run_that_the_hub_cannot_be_used(serve):
    with pytest.raises(AddressError, match="cannot be used"):
        NatsDiscovery(hub(f"nats://127.0.0.1:{free_port()}"), "heart", patience=0.5).check()
    plain = NatsDiscovery(hub(serve("plain", "", stores=False).url), "heart", patience=0.5)
    with pytest.raises(ConfigurationError, match="cannot be announced .* the hub needs JetStream"):
        plain.check()
    plain.withdraw()
