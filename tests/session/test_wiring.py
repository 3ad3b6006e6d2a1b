from __future__ import annotations

from types import SimpleNamespace

import pytest

from swarm import hookimpl
from swarm.config import Settings
from swarm.errors import ConfigurationError
from swarm.membership.directory import DirectoryMembership
from swarm.membership.seeds import SeedMembership
from swarm.plugins import PluginRegistry
from swarm.session.wiring import Network, network_of
from swarm.transport.grpc import GrpcTransport
from swarm.transport.memory import MemoryTransport

PEERS = ("127.0.0.1:7000",)


def network(registry: PluginRegistry | None = None, **settings) -> Network:
    return network_of(Settings(**settings), registry or PluginRegistry())


def test_grpc_carries_unless_another_transport_is_named():
    assert isinstance(network().transport, GrpcTransport)
    assert isinstance(network(transport="memory").transport, MemoryTransport)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ((), []),
        (("rendezvous",), [DirectoryMembership]),
        (("peers",), [SeedMembership]),
        (("peers", "rendezvous"), [DirectoryMembership, SeedMembership]),
    ],
)
def test_peers_are_looked_for_wherever_a_place_is_given(tmp_path, given, expected):
    places = {"rendezvous": tmp_path, "peers": PEERS}
    found = network(**{name: places[name] for name in given}).memberships
    assert [type(membership) for membership in found] == expected


@pytest.mark.parametrize(("name", "kind"), [("directory", DirectoryMembership), ("seeds", SeedMembership)])
def test_a_named_membership_is_the_only_one(tmp_path, name, kind):
    (membership,) = network(membership=name, rendezvous=tmp_path, peers=PEERS).memberships
    assert isinstance(membership, kind)


def test_what_a_plugin_registers_is_made_from_the_settings():
    @hookimpl
    def swarm_register(register):
        register.transport("pigeon", lambda settings: ("pigeon", settings.name))
        register.membership("loft", lambda settings: ("loft", settings.name))

    registry = PluginRegistry(extra={"birds": SimpleNamespace(swarm_register=swarm_register)})
    made = network(registry, transport="pigeon", membership="loft", name="berlin")
    assert made == Network(("pigeon", "berlin"), [("loft", "berlin")])


@pytest.mark.parametrize(
    ("setting", "wrong", "nearest"), [("transport", "grcp", "grpc"), ("membership", "directry", "directory")]
)
def test_an_unknown_name_names_the_setting_and_the_nearest(setting, wrong, nearest):
    with pytest.raises(ConfigurationError, match=f"{setting}='{wrong}' is not allowed: .* did you mean '{nearest}'"):
        network(**{setting: wrong})


@pytest.mark.parametrize(("name", "needs"), [("directory", "rendezvous"), ("seeds", "peers")])
def test_a_named_membership_without_its_place_is_refused(name, needs):
    with pytest.raises(ConfigurationError, match=f"'{name}' needs {needs}"):
        network(membership=name)
