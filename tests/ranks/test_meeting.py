"""What the processes of a site listen on, and how rank 0 connects to the others."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from multiprocessing import AuthenticationError
from multiprocessing.connection import Connection
from typing import Any

import pytest

from swarm.config import resolve
from swarm.errors import AddressError
from swarm.ranks.link import KEY_BYTES, MOST_STRANGERS, LinkListener, connect
from swarm.ranks.meeting import of_rank
from swarm.testing.swarm import together
from tests.ranks.sites import PATIENCE

KEY = bytes(range(KEY_BYTES))


@pytest.mark.parametrize(
    ("given", "own"),
    [
        ({"advertise": "one.example"}, {"advertise": "one.example"}),
        ({"advertise": "[2001:db8::1]"}, {"advertise": "[2001:db8::1]"}),
        ({"advertise": "one.example:7000"}, {"advertise": "one.example:7002"}),
        ({"advertise": "[2001:db8::1]:7000"}, {"advertise": "[2001:db8::1]:7002"}),
        ({"listen": "[::]:7000", "advertise": "one.example"}, {"listen": "[::]:7002", "advertise": "one.example"}),
        ({"listen": "0.0.0.0:0", "data_port": 7100}, {"listen": "0.0.0.0:0", "data_port": 7102}),
    ],
)
def test_ports_that_are_given_are_those_of_rank_0(given: dict[str, Any], own: dict[str, Any]) -> None:
    settings = resolve({"peers": "other.example:7000", "insecure": True, **given}, environment={}).settings
    found = of_rank(settings, 2, 4)
    assert {name: getattr(found, name) for name in own} == own
    assert of_rank(settings, 0, 4) == settings


SILENT, SPEAKING, GONE = b"", b"GET / HTTP/1.1\r\n\r\n", None


def reached(listener: LinkListener, host: str, strangers: Sequence[bytes | None] = ()) -> bool:
    """Whether rank 0 reaches the process that listens after strangers have, and each hears the other."""
    with ThreadPoolExecutor(1) as pool, ExitStack() as stack:
        accepted = pool.submit(listener.accept)
        for said in strangers:
            stranger = stack.enter_context(socket.create_connection((host, listener.port)))
            if said is GONE:
                stranger.close()
            else:
                stranger.sendall(said)
        here = stack.enter_context(connect(host, listener.port, KEY))
        there = stack.enter_context(accepted.result(PATIENCE))
        here.send_bytes(b"told")
        told = there.recv_bytes()
        there.send_bytes(b"answer")
        return (told, here.recv_bytes()) == (b"told", b"answer")


@pytest.mark.parametrize(
    "strangers", [[], [SILENT], [SPEAKING], [GONE], [SILENT, SPEAKING, GONE] * 3, [SILENT] * (MOST_STRANGERS + 3)]
)
def test_whoever_connects_without_the_key_does_not_delay_rank_0(strangers: list[bytes | None]) -> None:
    listener = LinkListener("127.0.0.1", KEY, PATIENCE)
    assert reached(listener, "127.0.0.1", strangers)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", listener.port))


def test_with_another_key_nobody_is_taken_for_rank_0() -> None:
    listener = LinkListener("127.0.0.1", KEY, PATIENCE)

    def others() -> bool:
        with pytest.raises(AuthenticationError):
            connect("127.0.0.1", listener.port, bytes(KEY_BYTES))
        connect("127.0.0.1", listener.port, KEY).close()
        return True

    there, right = together(listener.accept, others, deadline=PATIENCE)
    there.close()
    assert right


@pytest.mark.parametrize("host", ["::1", "::", "localhost"])
def test_rank_0_connects_over_ipv6_and_by_name(host: str) -> None:
    if not socket.has_dualstack_ipv6():
        pytest.skip("there is no IPv6 here")
    assert reached(LinkListener(host, KEY, PATIENCE), "::1" if host == "::" else host)


def test_a_rank_0_that_does_not_come_is_told_and_nobody_is_kept_waiting() -> None:
    listener = LinkListener("127.0.0.1", KEY, 0.2)
    with socket.create_connection(("127.0.0.1", listener.port)) as silent:
        with pytest.raises(TimeoutError, match=f"rank 0 has not connected to port {listener.port} within"):
            listener.accept()
        silent.settimeout(PATIENCE)
        while silent.recv(64):
            pass
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", listener.port))


def test_an_address_of_another_machine_is_told_with_the_setting() -> None:
    with pytest.raises(AddressError, match=r"cannot listen on 192\.0\.2\.1 .* correct the host in `listen`"):
        LinkListener("192.0.2.1", KEY, PATIENCE)


def test_what_is_no_process_of_the_site_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]

        def answer() -> None:
            sock, _ = other.accept()
            with Connection(sock.detach()) as connection:
                connection.send_bytes(b"an answer of another program")

        def ask() -> None:
            with pytest.raises(AuthenticationError):
                connect("127.0.0.1", port, KEY)

        together(answer, ask, deadline=PATIENCE)
