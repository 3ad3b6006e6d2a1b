from __future__ import annotations

import logging
import math
import re
import socket
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from swarm import hookimpl
from swarm.certification.keys import ProcessKey
from swarm.config import Settings
from swarm.discovery.directory import DirectoryDiscovery
from swarm.discovery.seeds import SeedDiscovery
from swarm.errors import AddressError, ConfigurationError, UnreachablePeerError
from swarm.executor import ThreadExecutor
from swarm.identity import Identity
from swarm.identity.throwaway import make_identities, own_identity
from swarm.peer.status import TrainingStatus
from swarm.plugins import PluginRegistry
from swarm.records import Credential
from swarm.session.expected import Expected
from swarm.session.wiring import Network, build_engine, network_of, possible_peers, transport_of
from swarm.storage.ledger import MemoryLedger, Owner
from swarm.sync import FixedInterval
from swarm.tensors.state import Schema
from swarm.testing.nodes import RecordingHandler
from swarm.testing.swarm import MemorySwarm
from swarm.transport.base import Transport
from swarm.transport.data_channel import DataChannelTransport
from swarm.transport.grpc import GrpcTransport
from swarm.transport.memory import MemoryNetwork, MemoryTransport
from swarm.transport.shared import SharedAddress
from swarm.versions import here

PEERS = ("127.0.0.1:7000",)


def network(registry: PluginRegistry | None = None, **settings) -> Network:
    return network_of(Settings(**settings), registry or PluginRegistry())


def transport(registry: PluginRegistry | None = None, **settings) -> Transport:
    return transport_of(Settings(**settings), registry or PluginRegistry())


def test_grpc_with_data_channels_is_the_default_transport():
    assert isinstance(transport(), DataChannelTransport)
    assert isinstance(transport(data_channel=False), GrpcTransport)


def test_the_transport_of_the_tests_cannot_be_chosen_as_it_reaches_no_other_process():
    with pytest.raises(ConfigurationError, match="transport='memory' is not allowed: allowed is 'grpc'"):
        transport(transport="memory")


def test_the_settings_give_the_address_of_data_channels():
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
def test_each_given_place_is_a_discovery(tmp_path, given, expected):
    places = {"rendezvous": tmp_path, "peers": PEERS}
    found = network(**{name: places[name] for name in given}).discoveries
    assert [type(discovery) for discovery in found] == expected


@pytest.mark.parametrize(("name", "kind"), [("directory", DirectoryDiscovery), ("seeds", SeedDiscovery)])
def test_a_named_discovery_is_the_only_one(tmp_path, name, kind):
    (discovery,) = network(discovery=name, rendezvous=tmp_path, peers=PEERS).discoveries
    assert isinstance(discovery, kind)


def test_what_a_plugin_registers_is_made_from_the_settings():
    @hookimpl
    def swarm_register(register):
        register.transport("pigeon", lambda settings: ("pigeon", settings.name))
        register.discovery("loft", lambda settings: ("loft", settings.name))

    registry = PluginRegistry(extra={"birds": SimpleNamespace(swarm_register=swarm_register)})
    given = {"transport": "pigeon", "discovery": "loft", "name": "berlin"}
    assert transport(registry, **given) == ("pigeon", "berlin")
    assert network(registry, **given).discoveries == [("loft", "berlin")]


@pytest.mark.parametrize(
    ("setting", "wrong", "nearest"), [("transport", "grcp", "grpc"), ("discovery", "directry", "directory")]
)
def test_an_unknown_name_names_the_setting_and_the_nearest(setting, wrong, nearest):
    with pytest.raises(ConfigurationError, match=f"{setting}='{wrong}' is not allowed: .* did you mean '{nearest}'"):
        network(**{setting: wrong})


@pytest.mark.parametrize(("name", "needs"), [("directory", "rendezvous"), ("seeds", "peers")])
def test_a_named_discovery_without_its_setting_is_refused(name, needs):
    with pytest.raises(ConfigurationError, match=f"'{name}' needs {needs}"):
        network(discovery=name)


def test_a_start_that_fails_closes_what_it_opened():
    class Full(SeedDiscovery):
        def announce(self, name, address, incarnation):
            raise ConfigurationError("no room")

    network = MemoryNetwork()
    first = Network(MemoryTransport(network), [Full(PEERS)])
    key = ProcessKey()
    with pytest.raises(ConfigurationError, match="no room"):
        build_engine(
            Settings(),
            PluginRegistry(),
            Schema(()),
            logging.getLogger("swarm"),
            first,
            expected=Expected(Settings(), None),
            outer=None,
            policy=FixedInterval(8),
            executor=ThreadExecutor(),
            incarnation="1",
            versions=here(),
            training=TrainingStatus(),
            checkpoints=None,
            ledger=MemoryLedger(),
            owner=Owner(session="", signer=key, credential=Credential("ada", key.key)),
            name_patience=None,
        )
    watch = MemoryTransport(network)
    place = watch.start(RecordingHandler())
    with pytest.raises(UnreachablePeerError):
        network.reach(place, "memory:1")
    watch.close()


LOCAL = {"listen": "127.0.0.1:0", "data_channel": False}


@pytest.fixture
def join():
    """Begins a session of this process, as far as the network goes; returns its address."""
    shared, transports = SharedAddress(), []

    def join(session: str, **settings) -> str:
        given = Settings(model_name=session, **{**LOCAL, **settings})
        transports.append(network_of(given, PluginRegistry(), shared).transport)
        return transports[-1].start(RecordingHandler())

    yield join
    for each in transports:
        each.close(0.0)


def test_two_sessions_of_a_process_listen_at_one_address(join):
    assert join("generator") == join("discriminator")


@pytest.mark.parametrize(
    ("setting", "first", "second"),
    [
        ("listen", "127.0.0.1:0", "127.0.0.1:7001"),
        ("name", "berlin", "paris"),
        ("insecure", False, True),
        ("advertise", "10.0.0.1", "10.0.0.2:7000"),
        ("data_port", 0, 7002),
        ("data_channel", False, True),
        ("failure_timeout", 10.0, 5.0),
        ("max_mbit", ("20",), ("50",)),
    ],
)
def test_a_second_session_under_other_settings_is_refused_with_both_values(join, setting, first, second):
    join("generator", **{setting: first})
    with pytest.raises(
        ConfigurationError, match=re.escape(f"{setting}={second!r} contradicts {setting}={first!r} of another")
    ):
        join("discriminator", **{setting: second})
    assert join("third", **{setting: first})


def test_a_default_name_goes_with_any(join):
    """It is the host's, and becomes one with a number where another peer has it."""
    assert join("generator", name="host-2", named=False) == join("discriminator", name="host", named=False)
    assert join("third", name="berlin")
    with pytest.raises(ConfigurationError, match="name='paris' contradicts name='berlin'"):
        join("fourth", name="paris")


def test_two_peers_of_one_session_are_refused(join):
    join("generator")
    with pytest.raises(ConfigurationError, match="already trains in session 'generator'.*model_name of its own"):
        join("generator")


def test_a_framework_that_cannot_change_gradients_is_refused_where_a_setting_asks_for_that():
    peer = MemorySwarm(proximal=0.1, world_size=2).peer("ada", {"w": np.zeros(1)})
    with pytest.raises(ConfigurationError, match="proximal=0.1 changes the gradients of the training"):
        peer.session.begin()


def test_identities_tell_how_many_peers_there_may_be(tmp_path: Path) -> None:
    make_identities({name: tmp_path / name for name in ("ada", "bob", "cyd")})
    consortium, others = Identity(tmp_path / "ada"), Identity(own_identity(tmp_path / "own", "ada", exact=True))
    local, remote = Settings(listen="127.0.0.1:0"), Settings(listen="10.0.0.1:7700")
    assert {possible_peers(each, None) for each in (local, remote)} == {0}
    assert {possible_peers(each, consortium) for each in (local, remote)} == {3}
    assert possible_peers(local, others) == 0, "they are all of one user"
    assert possible_peers(remote, others) == math.inf
