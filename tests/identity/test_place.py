"""Addresses in invitations, requests and documents."""

from __future__ import annotations

import pytest

from swarm.config import addresses
from swarm.errors import IdentityError
from swarm.identity import place
from swarm.transport.grpc.address import Address


@pytest.mark.parametrize("text", ["a:1", "paris.example:443", "10.0.0.1:7700", "[2001:db8::1]:7700", "a_b-c.d:65535"])
def test_an_address_is_the_same_for_settings_and_for_the_transport(text):
    host, port = place.split(text)
    assert addresses.split(text) == (host, port)
    assert (Address.parse(text).host, Address.parse(text).port) == (host, port)
    assert place.join(host, port) == text


@pytest.mark.parametrize(
    "text",
    [
        *(
            "a",
            "a:",
            ":1",
            "a:0",
            "a:65536",
            "a:+1",
            "a b:1",
            "a:1\n",
            "-a:1",
            "a.:1",
            "x@a:1",
            "a/b:1",
            "[a]:1",
            "[::1:1",
        ),
        *("0:7700", "127.1:7700", "2130706433:1", "0x7f.0.0.1:1", "010.0.0.1:1", f"{'a' * 254}:1"),
        *("0.0.0.0:1", "[::]:1", "[::0]:1", "[::ffff:0.0.0.0]:1", "[fe80::1%eth0]:1"),
    ],
)
def test_what_settings_would_refuse_or_nobody_can_reach_is_refused(text):
    with pytest.raises(IdentityError, match="is no address that others can reach"):
        place.split(text)
