"""Addresses in settings, invitations, documents and messages."""

from __future__ import annotations

import pytest

from swarm.addresses import MAX_LENGTH, Address, block_of, is_wildcard, name_of, parse_advertised, place_of
from swarm.errors import AddressError, ConfigurationError

READ = {
    "a:1": ("a", 1),
    "paris.example:443": ("paris.example", 443),
    "a_b-c.d:65535": ("a_b-c.d", 65535),
    "localhost:05": ("localhost", 5),
    "10.0.0.1:7700": ("10.0.0.1", 7700),
    "[2001:DB8:0::1]:7700": ("2001:db8::1", 7700),
    "[::1]:7700": ("::1", 7700),
}
NONE = {
    "no port": ("", "a", "a:", "[::1]", "10.0.0.1", "a:x", "a:+1", "a:1 ", "a:1\n", "a:\u0661"),
    "port too high": ("a:65536", "a:100000", "a:000080"),
    "no host": (":1", "-a:1", "a.:1", "a b:1", "a/b:1", "http://a:1", "unix:/tmp/x:1", "hôst:1", f"{'a' * 254}:1"),
    "no IPv6 address": ("::1:5", "[a]:1", "[g::]:1", "[1.2.3]:4", "[::1:1", "[10.0.0.1]:1", "[fe80::1%eth0]:1"),
    "short form of IPv4": ("0:7700", "127.1:7700", "2130706433:1", "0x7f.0.0.1:1", "010.0.0.1:1", "0x0:1"),
    "no name": ("@a:1", "Paris@a:1", "a b@a:1", "paris-@a:1", "a@b@c:1", f"{'a' * 64}@a:1", "paris@", "paris@a"),
}


@pytest.mark.parametrize("name", ["", "paris", "clinic-1.paris"])
@pytest.mark.parametrize("text", READ)
def test_an_address_is_read_with_and_without_a_name(text, name):
    whole = f"{name}@{text}" if name else text
    found = Address.parse(whole)
    assert (found.host, found.port) == READ[text]
    assert found.name == name == name_of(whole)
    assert place_of(whole) == text
    assert Address.parse(str(found)) == found


@pytest.mark.parametrize(
    ("host", "block"),
    [
        ("10.0.0.9", "10.0.0.9"),
        ("::ffff:10.0.0.9", "10.0.0.9"),
        ("2001:db8:0:1::9", "2001:db8:0:1::/64"),
        ("2001:0DB8:0:1:ffff:ffff:ffff:ffff", "2001:db8:0:1::/64"),
        ("2001:db8:0:2::9", "2001:db8:0:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::1", "::/64"),
        ("paris", "paris"),
        ("paris@[2001:db8::1]:7700", "paris@[2001:db8::1]:7700"),
    ],
)
def test_all_addresses_of_a_line_are_one_block(host, block):
    assert block_of(host) == block


def test_an_address_is_written_in_its_usual_form():
    assert str(Address.parse("paris@[2001:DB8:0::1]:07700")) == "paris@[2001:db8::1]:7700"
    assert Address("10.0.0.1", 0).place == "10.0.0.1:0"


@pytest.mark.parametrize("text", [text for texts in NONE.values() for text in texts])
def test_what_is_no_address_is_refused_everywhere(text):
    with pytest.raises(AddressError, match="is no address: ") as raised:
        Address.parse(text)
    assert str(raised.value).isprintable()
    assert isinstance(raised.value, ConfigurationError)
    with pytest.raises(AddressError, match="is no address that others can reach: give host:port"):
        Address.reachable(text)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a", "expected host:port or \\[ipv6\\]:port with a port below 65536"),
        ("a b:1", "a host of letters, digits"),
        ("Paris@a:1", "a peer's name before @ has 1 to 63 lower-case letters"),
        ("[g::]:1", "hex digits"),
        ("[fe80::1%eth0]:1", "with a scope"),
        ("127.1:1", "Expected 4 octets"),
    ],
)
def test_a_refusal_says_why(text, reason):
    with pytest.raises(AddressError, match=reason):
        Address.parse(text)


def test_a_long_text_is_cut_in_the_message():
    with pytest.raises(AddressError) as raised:
        Address.parse("x" * 10_000)
    assert len(str(raised.value)) < 200


@pytest.mark.parametrize("text", READ)
def test_others_can_reach_an_address_with_a_port(text):
    assert Address.reachable(text) == Address.parse(text)


@pytest.mark.parametrize(
    "text",
    [
        *("a:0", "0.0.0.0:1", "[::]:1", "[::0]:1", "[::ffff:0.0.0.0]:1", "paris@a:1"),
        f"{'a' * MAX_LENGTH}:1"[-MAX_LENGTH - 1 :],
    ],
)
def test_what_nobody_can_reach_is_refused(text):
    with pytest.raises(AddressError, match="is no address that others can reach"):
        Address.reachable(text)


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        *(("paris.example", "paris.example", None), ("paris.example:443", "paris.example", 443)),
        *(("fd00::5", "fd00::5", None), ("[FD00::5]", "fd00::5", None), ("[fd00::5]:443", "fd00::5", 443)),
        ("10.0.0.1", "10.0.0.1", None),
    ],
)
def test_what_is_advertised_needs_no_port(text, host, port):
    assert parse_advertised(text) == (host, port)


@pytest.mark.parametrize(
    "text",
    [
        *("", "a b", "paris:0", "paris@paris.example", "paris@paris.example:1", "0", "127.1", "fe80::1%eth0", "[a]"),
        *("0.0.0.0", "0.0.0.0:1", "::", "[::]", "::ffff:0.0.0.0", "1:2:3"),
    ],
)
def test_what_cannot_be_advertised_is_refused(text):
    with pytest.raises(AddressError, match="is no address that others can reach"):
        parse_advertised(text)


@pytest.mark.parametrize(
    ("text", "loopback", "wildcard"),
    [
        *(("127.0.0.1:5", True, False), ("127.9.9.9:5", True, False), ("[::1]:5", True, False)),
        *(("localhost:5", True, False), ("[::ffff:127.0.0.1]:5", True, False), ("local.example:5", False, False)),
        *(("10.0.0.1:5", False, False), ("0.0.0.0:5", False, True), ("[::]:5", False, True)),
        ("[::ffff:0.0.0.0]:5", False, True),
    ],
)
def test_loopback_addresses_and_wildcards_are_known(text, loopback, wildcard):
    found = Address.parse(f"paris@{text}")
    assert (found.is_loopback, is_wildcard(found.host)) == (loopback, wildcard)
