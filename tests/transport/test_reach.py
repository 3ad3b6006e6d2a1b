"""Which address a peer that listens on all of them tells the others."""

from __future__ import annotations

import ipaddress

import pytest

from swarm.errors import AddressError
from swarm.transport.grpc import GrpcTransport, reach
from swarm.transport.grpc.reach import own_addresses, reachable_host


@pytest.fixture
def machine(monkeypatch):
    """A machine with these addresses."""

    def having(*texts: str) -> None:
        own = {ipaddress.ip_address(text) for text in texts}
        monkeypatch.setattr(reach, "own_addresses", lambda version: {ip for ip in own if ip.version == version})

    return having


@pytest.mark.parametrize(
    ("wildcard", "addresses", "told"),
    [
        ("0.0.0.0", ["10.0.0.5", "fd00::5"], "10.0.0.5"),
        ("::", ["10.0.0.5", "fd00::5"], "fd00::5"),
        ("::", ["10.0.0.5"], "10.0.0.5"),
    ],
)
def test_without_peers_it_is_the_only_address(machine, wildcard, addresses, told) -> None:
    machine(*addresses)
    assert reachable_host(wildcard, ()) == told


@pytest.mark.parametrize(
    ("wildcard", "addresses", "message"),
    [
        (
            "0.0.0.0",
            ["172.17.0.1", "10.0.0.5"],
            r"listen=0\.0\.0\.0 .*\(10\.0\.0\.5, 172\.17\.0\.1\).* not clear.*set advertise",
        ),
        ("::", ["fd00::5", "fd00::6"], r"listen=\[::\] .*\(fd00::5, fd00::6\).*set advertise"),
        ("0.0.0.0", ["fd00::5"], r"none that others can reach: set advertise"),
        ("::", [], r"none that others can reach: set advertise"),
    ],
)
def test_what_is_not_clear_is_refused_and_names_the_setting(machine, wildcard, addresses, message) -> None:
    machine(*addresses)
    with pytest.raises(AddressError, match=message):
        reachable_host(wildcard, ())


def test_it_is_refused_before_anything_listens(machine) -> None:
    machine()
    transport = GrpcTransport("0.0.0.0:0")
    with pytest.raises(AddressError, match="set advertise"):
        transport.start(None)


def test_a_peer_whose_name_is_not_known_says_nothing(machine) -> None:
    machine("10.0.0.5")
    assert reachable_host("0.0.0.0", ["no-such-host.invalid:7700"]) == "10.0.0.5"


def test_peers_on_this_machine_do_not_hide_it_from_others(machine) -> None:
    own = sorted(own_addresses(4), key=int)
    if not own:
        pytest.skip("this machine has no address but its loopback ones")
    machine("10.0.0.5")
    assert reachable_host("0.0.0.0", ["127.0.0.1:7700", f"{own[0]}:7700"]) == str(own[0])
    assert reachable_host("0.0.0.0", ["127.0.0.1:7700"]) == "10.0.0.5"


def test_a_machine_without_a_network_serves_the_peers_on_it(machine) -> None:
    machine()
    assert reachable_host("0.0.0.0", ["127.0.0.1:7700"]) == "127.0.0.1"


@pytest.mark.parametrize("version", [4, 6])
def test_own_addresses_are_none_that_stay_on_this_machine(version) -> None:
    found = own_addresses(version)
    assert all(ip.version == version for ip in found)
    assert not any(ip.is_loopback or ip.is_link_local or ip.is_unspecified for ip in found)
