from __future__ import annotations

import logging
import socket
from types import SimpleNamespace

import pytest

from swarm import hookimpl
from swarm.config import Settings
from swarm.discovery.directory import DirectoryDiscovery
from swarm.discovery.seeds import SeedDiscovery
from swarm.errors import AddressError, ConfigurationError, UnreachablePeerError
from swarm.plugins import PluginRegistry
from swarm.session.wiring import Network, build_engine, network_of
from swarm.tensors.state import Schema
from swarm.testing.nodes import RecordingHandler
from swarm.transport.data_channel import DataChannelTransport
from swarm.transport.grpc import GrpcTransport
from swarm.transport.memory import MemoryNetwork, MemoryTransport

PEERS = ("127.0.0.1:7000",)


def network(registry: PluginRegistry | None = None, **settings) -> Network:
    return network_of(Settings(**settings), registry or PluginRegistry())


def test_grpc_and_data_channels_carry_unless_another_transport_is_named():
    assert isinstance(network().transport, DataChannelTransport)
    assert isinstance(network(data_channel=False).transport, GrpcTransport)


def test_the_transport_of_the_tests_cannot_be_chosen_as_it_reaches_no_other_process():
    with pytest.raises(ConfigurationError, match="transport='memory' is not allowed: allowed is 'grpc'"):
        network(transport="memory")


def test_data_channels_are_listened_for_where_the_settings_say():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(AddressError, match=rf"port {port} of 127\.0\.0\.1.*data_port.*data_channel"):
            network(data_port=port).transport.start(RecordingHandler())


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ((), []),
        (("rendezvous",), [DirectoryDiscovery]),
        (("peers",), [SeedDiscovery]),
        (("peers", "rendezvous"), [DirectoryDiscovery, SeedDiscovery]),
    ],
)
def test_peers_are_looked_for_wherever_a_place_is_given(tmp_path, given, expected):
    places = {"rendezvous": tmp_path, "peers": PEERS}
    found = network(**{name: places[name] for name in given}).discoveries
    assert [type(discovery) for discovery in found] == expected


@pytest.mark.parametrize(("name", "kind"), [("directory", DirectoryDiscovery), ("seeds", SeedDiscovery)])
def test_a_named_membership_is_the_only_one(tmp_path, name, kind):
    (discovery,) = network(discovery=name, rendezvous=tmp_path, peers=PEERS).discoveries
    assert isinstance(discovery, kind)


def test_what_a_plugin_registers_is_made_from_the_settings():
    @hookimpl
    def swarm_register(register):
        register.transport("pigeon", lambda settings: ("pigeon", settings.name))
        register.discovery("loft", lambda settings: ("loft", settings.name))

    registry = PluginRegistry(extra={"birds": SimpleNamespace(swarm_register=swarm_register)})
    made = network(registry, transport="pigeon", discovery="loft", name="berlin")
    assert made == Network(("pigeon", "berlin"), [("loft", "berlin")])


@pytest.mark.parametrize(
    ("setting", "wrong", "nearest"), [("transport", "grcp", "grpc"), ("discovery", "directry", "directory")]
)
def test_an_unknown_name_names_the_setting_and_the_nearest(setting, wrong, nearest):
    with pytest.raises(ConfigurationError, match=f"{setting}='{wrong}' is not allowed: .* did you mean '{nearest}'"):
        network(**{setting: wrong})


@pytest.mark.parametrize(("name", "needs"), [("directory", "rendezvous"), ("seeds", "peers")])
def test_a_named_membership_without_its_place_is_refused(name, needs):
    with pytest.raises(ConfigurationError, match=f"'{name}' needs {needs}"):
        network(discovery=name)


def test_a_start_that_fails_half_way_closes_what_it_opened():
    class Full(SeedDiscovery):
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
