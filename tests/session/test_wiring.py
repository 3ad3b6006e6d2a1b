from __future__ import annotations

import logging
import socket
from types import SimpleNamespace

import pytest

from swarm import hookimpl
from swarm.config import Settings
from swarm.errors import AddressError, ConfigurationError, UnreachablePeerError
from swarm.membership.directory import DirectoryMembership
from swarm.membership.seeds import SeedMembership
from swarm.plugins import PluginRegistry
from swarm.session.wiring import Network, build_engine, network_of
from swarm.state import Schema
from swarm.testing.nodes import RecordingHandler
from swarm.transport.grpc import GrpcTransport
from swarm.transport.lane import LaneTransport
from swarm.transport.memory import MemoryNetwork, MemoryTransport

PEERS = ("127.0.0.1:7000",)


def network(registry: PluginRegistry | None = None, **settings) -> Network:
    return network_of(Settings(**settings), registry or PluginRegistry())


def test_grpc_and_lanes_carry_unless_another_transport_is_named():
    assert isinstance(network().transport, LaneTransport)
    assert isinstance(network(bulk_lane=False).transport, GrpcTransport)
    assert isinstance(network(transport="memory").transport, MemoryTransport)


def test_lanes_are_listened_for_where_the_settings_say():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(AddressError, match=rf"port {port} of 127\.0\.0\.1.*lane_port.*bulk_lane"):
            network(lane_port=port).transport.start(RecordingHandler())


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


def test_a_start_that_fails_half_way_closes_what_it_opened():
    class Full(SeedMembership):
        def announce(self, name, address, incarnation):
            raise ConfigurationError("no room")

    network = MemoryNetwork()
    first = Network(MemoryTransport(network), [Full(PEERS)])
    with pytest.raises(ConfigurationError, match="no room"):
        build_engine(Settings(), PluginRegistry(), Schema(()), logging.getLogger("swarm"), first, validates=False)
    watch = MemoryTransport(network)
    place = watch.start(RecordingHandler())
    with pytest.raises(UnreachablePeerError):
        network.reach(place, "memory:1")
    watch.close()
