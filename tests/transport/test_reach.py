"""Which address a peer that listens on all of them tells the others."""

from __future__ import annotations

import errno
import logging
import socket

import pytest

from swarm.errors import AddressError
from swarm.transport.grpc import GrpcTransport
from swarm.transport.grpc.reach import reachable_host

V4, V6 = "192.0.2.1", "2001:db8::1"
"""Where the default routes lead."""


@pytest.fixture
def machine(monkeypatch):
    """A machine with routes from its addresses, by target, and with these addresses of its own name."""

    def having(routes=(), name=()):
        class Probe:
            def __init__(self, family, kind):
                pass

            def __enter__(self):
                return self

            def __exit__(self, *error):
                pass

            def connect(self, place):
                if place[0] not in dict(routes):
                    raise OSError(errno.ENETUNREACH, "Network is unreachable")
                self.place = place

            def getsockname(self):
                return dict(routes)[self.place[0]], 1

        def known(host, port, family, kind):
            found = name if host == "this-host" else [host]
            found = [each for each in found if family == socket.AF_UNSPEC or ":" not in each]
            if not found or host.endswith(".invalid"):
                raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
            return [(None, None, None, None, (each, port)) for each in found]

        monkeypatch.setattr("socket.socket", Probe)
        monkeypatch.setattr("socket.getaddrinfo", known)
        monkeypatch.setattr("socket.gethostname", lambda: "this-host")

    return having


@pytest.mark.parametrize(
    ("wildcard", "routes", "name", "told"),
    [
        ("0.0.0.0", {V4: "10.0.0.5", V6: "fd00::5"}, ["172.17.0.1"], "10.0.0.5"),
        ("::", {V4: "10.0.0.5", V6: "fd00::5"}, [], "fd00::5"),
        ("::", {V4: "10.0.0.5"}, [], "10.0.0.5"),
        ("::", {V4: "10.0.0.5", V6: "fe80::5"}, [], "10.0.0.5"),
        ("::ffff:0.0.0.0", {V4: "10.0.0.5", V6: "fd00::5"}, [], "10.0.0.5"),
        ("0.0.0.0", {}, ["127.0.1.1", "169.254.0.1", "10.0.0.5"], "10.0.0.5"),
        ("::", {}, ["::1", "fe80::1", "fd00::5"], "fd00::5"),
    ],
)
def test_without_peers_it_is_that_of_the_default_route_or_of_the_name(machine, wildcard, routes, name, told) -> None:
    machine(routes, name)
    assert reachable_host(wildcard, ()) == told


@pytest.mark.parametrize(
    ("wildcard", "name", "message"),
    [
        (
            "0.0.0.0",
            ["172.17.0.1", "10.0.0.5"],
            r"listen=0\.0\.0\.0 .*\(10\.0\.0\.5, 172\.17\.0\.1\).* not clear.*set advertise",
        ),
        ("::", ["fd00::5", "fd00::6"], r"listen=\[::\] .*\(fd00::5, fd00::6\).*set advertise"),
        ("0.0.0.0", ["fd00::5"], r"none that others can reach: set advertise"),
        ("0.0.0.0", ["127.0.1.1"], r"none that others can reach: set advertise"),
        ("::", [], r"none that others can reach: set advertise"),
    ],
)
def test_what_is_not_clear_is_refused_and_names_the_setting(machine, wildcard, name, message) -> None:
    machine(name=name)
    with pytest.raises(AddressError, match=message):
        reachable_host(wildcard, ())


def test_peers_that_are_reached_from_two_addresses_leave_it_unclear(machine) -> None:
    machine({"10.0.0.9": "10.0.0.5", "10.1.0.9": "10.1.0.5", V4: "10.0.0.5"})
    with pytest.raises(AddressError, match="not clear"):
        reachable_host("0.0.0.0", ["10.0.0.9:7700", "10.1.0.9:7700"])


def test_it_is_refused_before_anything_listens(machine) -> None:
    machine()
    transport = GrpcTransport("0.0.0.0:0")
    with pytest.raises(AddressError, match="set advertise"):
        transport.start(None)


def test_a_peer_whose_name_is_not_known_says_nothing(machine) -> None:
    machine({V4: "10.0.0.5"})
    assert reachable_host("0.0.0.0", ["no-such-host.invalid:7700"]) == "10.0.0.5"


def test_peers_on_this_machine_do_not_hide_it_from_others(machine) -> None:
    machine({"127.0.0.1": "127.0.0.1", "10.0.0.9": "10.0.0.5", V4: "10.1.0.5"})
    assert reachable_host("0.0.0.0", ["127.0.0.1:7700", "10.0.0.9:7700"]) == "10.0.0.5"
    assert reachable_host("0.0.0.0", ["127.0.0.1:7700"]) == "10.1.0.5"


def test_a_machine_without_a_network_serves_the_peers_on_it(machine) -> None:
    machine({"127.0.0.1": "127.0.0.1"})
    assert reachable_host("0.0.0.0", ["127.0.0.1:7700"]) == "127.0.0.1"


def test_the_log_says_which_address_was_chosen(machine, caplog) -> None:
    machine({V6: "fd00::5"})
    with caplog.at_level(logging.INFO, "swarm.transport"):
        reachable_host("::", ())
    assert caplog.messages == ["listen=[::]: others are told to reach this peer at fd00::5; advertise changes that"]
