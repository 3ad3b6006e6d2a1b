"""Who connects to the port for messages without a certificate."""

from __future__ import annotations

import socket
import ssl
from contextlib import ExitStack

import pytest

from swarm.clock import ManualClock
from swarm.identity import Identity
from swarm.identity.throwaway import make_identities
from swarm.testing.nodes import DEADLINE, Node, eventually
from swarm.transport.grpc import GrpcTransport, connection_limit, fetch_status, options
from swarm.transport.grpc.strangers import TABLES, YOUNG_SECONDS, Strangers
from swarm.transport.notices import Notices

linux = pytest.mark.skipif(not TABLES[0].exists(), reason="this system has no table of connections")


@pytest.fixture
def identities(tmp_path):
    make_identities({name: tmp_path / name for name in ("berlin", "paris")})
    return [Identity(tmp_path / name) for name in ("berlin", "paris")]


@pytest.fixture
def berlin(identities):
    made = Node(GrpcTransport(identity=identities[0]))
    yield made
    made.transport.close(0.0)


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr("swarm.transport.grpc.options.HANDSHAKE_SECONDS", 1)


def hello():
    """The beginning of a handshake."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        context.wrap_bio(incoming, outgoing, server_hostname="x").do_handshake()
    return outgoing.read()


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        hello()[:60],
        hello(),
        b"\x16\x03\x01\x40\x00\x01\x00\xff\xff" + bytes(2**14),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(100),
        b"GET / HTTP/1.1\r\n\r\n",
        bytes(range(256)),
    ],
    ids=["nothing", "half a hello", "a hello", "a large hello", "no TLS", "HTTP/1.1", "garbage"],
)
def test_whoever_shows_no_certificate_in_time_is_closed(quick, identities, sent):
    node = Node(GrpcTransport(identity=identities[0]))
    try:
        with socket.create_connection(("127.0.0.1", port_of(node)), DEADLINE) as sock:
            sock.sendall(sent)
            try:
                while sock.recv(2**16):
                    pass
            except ConnectionResetError:
                pass
        assert fetch_status(node.address, DEADLINE, identities[1])
    finally:
        node.transport.close(0.0)


def port_of(node):
    return int(node.address.rpartition(":")[2])


# The next tests have addresses of their own: the table keeps connections of other tests for a minute.


def looked(strangers, clock, seconds):
    clock.advance(seconds)
    strangers.look()


@linux
def test_an_address_that_never_calls_is_told_and_one_that_called_is_not(caplog):
    clock = ManualClock()
    with socket.create_server(("127.0.0.77", 0)) as server:
        port = server.getsockname()[1]
        strangers = Strangers("127.0.0.77", port, Notices(clock), clock)
        with (
            socket.create_connection(("127.0.0.77", port), DEADLINE, ("127.0.0.9", 0)),
            socket.create_connection(("127.0.0.77", port), DEADLINE, ("127.0.0.8", 0)) as member,
        ):
            strangers.called(*member.getsockname())
            strangers.look()
            looked(strangers, clock, YOUNG_SECONDS / 2)
            assert not caplog.messages
            looked(strangers, clock, YOUNG_SECONDS / 2)
            looked(strangers, clock, YOUNG_SECONDS)
    (told,) = caplog.messages
    assert told.startswith(f"127.0.0.9 connects to port {port} of this peer and shows no certificate")


@linux
def test_connections_of_another_address_with_the_same_port_are_not_judged(caplog):
    clock = ManualClock()
    with socket.create_server(("127.0.0.77", 0)) as server:
        port = server.getsockname()[1]
        strangers = Strangers("127.0.0.78", port, Notices(clock), clock)
        with socket.create_connection(("127.0.0.77", port), DEADLINE):
            strangers.look()
            looked(strangers, clock, YOUNG_SECONDS)
    assert not caplog.messages


def test_an_ipv4_address_on_a_socket_for_both_is_the_same(tmp_path, caplog):
    clock = ManualClock()
    table = tmp_path / "tcp6"
    line = "   0: 0000000000000000FFFF00000100007F:1E14 0000000000000000FFFF00000900007F:{:04X} {} 00000000:00000000\n"
    strangers = Strangers("::", 0x1E14, Notices(clock), clock, [table, tmp_path / "none"])
    table.write_text("  sl  local_address\n" + line.format(4711, "01") + line.format(4712, "06") + line.format(9, "0A"))
    strangers.called("127.0.0.9", 4711)
    strangers.called("::ffff:127.0.0.9", 4712)
    strangers.look()
    looked(strangers, clock, YOUNG_SECONDS)
    assert not caplog.messages
    table.write_text(line.format(4713, "06"))
    strangers.look()
    looked(strangers, clock, YOUNG_SECONDS)
    assert "127.0.0.9 connects to port 7700" in caplog.text


@linux
def test_connections_to_an_earlier_process_are_not_judged(caplog):
    clock = ManualClock()
    with (
        socket.create_server(("127.0.0.77", 0)) as server,
        socket.create_connection(server.getsockname(), DEADLINE),
    ):
        strangers = Strangers("127.0.0.77", server.getsockname()[1], Notices(clock), clock)
        strangers.look()
        looked(strangers, clock, YOUNG_SECONDS)
    assert not caplog.messages


@linux
def test_a_peer_knows_its_callers(berlin, identities):
    strangers = berlin.transport._running.watch._strangers
    with socket.create_connection(("127.0.0.1", port_of(berlin)), DEADLINE):
        fetch_status(berlin.address, DEADLINE, identities[1])
        assert [host for host, _ in strangers._callers] == ["127.0.0.1"]


@linux
def test_members_get_in_though_one_address_has_all_connections(identities, monkeypatch, caplog):
    monkeypatch.setattr(options, "MAX_CONNECTIONS", 40)
    node = Node(GrpcTransport(identity=identities[0]))
    try:
        with ExitStack() as idle:
            socks = [
                idle.enter_context(socket.create_connection(("127.0.0.1", port_of(node)), DEADLINE, ("127.0.0.9", 0)))
                for _ in range(50)
            ]
            eventually(lambda: sum(map(is_closed, socks)) >= 50 - connection_limit.MAX_OF_AN_ADDRESS, "some are closed")
            assert fetch_status(node.address, DEADLINE, identities[1])
        eventually(lambda: "127.0.0.9 connects to port" in caplog.text, "it is told")
    finally:
        node.transport.close(0.0)


def is_closed(sock):
    sock.setblocking(False)
    try:
        return sock.recv(1) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True


def test_all_addresses_of_a_line_are_one_in_what_is_ended():
    line = [(f"2001:db8::{number:x}", 5000) for number in range(1, 21)]
    other = [("2001:db8:0:1::1", 5000)]
    assert connection_limit.surplus([*line, *other], 50, 100) == set(line[connection_limit.MAX_OF_AN_ADDRESS :])


def test_the_newest_of_an_address_stay_and_few_addresses_are_left_alone():
    many = [("10.0.0.9", port) for port in range(20)]
    few = [("10.0.0.8", port) for port in range(connection_limit.MAX_OF_AN_ADDRESS)]
    assert connection_limit.surplus([*many, *few], 50, 100) == set(many[connection_limit.MAX_OF_AN_ADDRESS :])
    assert connection_limit.surplus([*many, *few], 49, 100) == set()
