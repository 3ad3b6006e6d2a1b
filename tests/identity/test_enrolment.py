from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import socket
import ssl
import struct
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from swarm.addresses import Address
from swarm.errors import IdentityError
from swarm.identity import certificates, client, enrolment
from swarm.identity.enrolment import Enrolment, Reply, read_reply, read_request
from swarm.identity.frames import Deadline, receive
from swarm.identity.server import MAX_CONNECTIONS, MAX_PER_ADDRESS, EnrolmentServer

from .conftest import DAY


class Open:
    """An enrolment that is open while a test runs, and what it has told."""

    def __init__(self, founded, seconds=20.0, host="127.0.0.1"):
        self.told = threading.Condition()
        self.joined, self.refused = [], []
        self.server = EnrolmentServer(
            founded,
            Address(host, 0),
            joined=lambda answer, address: self._note(self.joined, (answer.name, answer.repeated, address)),
            refused=lambda address, reason: self._note(self.refused, (address, reason)),
            seconds=seconds,
        )
        self.address = self.server.address
        self.thread = threading.Thread(target=self.server.serve)
        self.thread.start()

    def _note(self, into, what):
        with self.told:
            into.append(what)
            self.told.notify_all()

    def close(self):
        self.server.close()
        self.thread.join(30)
        assert not self.thread.is_alive()

    def wait(self, into):
        """Until something was told."""
        with self.told:
            assert self.told.wait_for(lambda: into, 30)
        return into


@pytest.fixture
def opened(founded):
    made = []

    def open_enrolment(**options):
        made.append(Open(founded, **options))
        return made[-1]

    yield open_enrolment
    for each in made:
        each.close()


def connect(address):
    host, port = address.rsplit(":", 1)
    return socket.create_connection((host, int(port)), timeout=30)


def secured(plain):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context.wrap_socket(plain)


def test_a_site_joins_over_the_network(founded, opened, site, calendar):
    enrolment_ = opened()
    made = founded.invite("berlin", valid=DAY, address=enrolment_.address)
    berlin = site("berlin")
    berlin.directory.parent.mkdir()
    own = berlin.accept(client.ask(made.addresses, made.pin, lambda host: berlin.enrolment(made, f"{host}:7700")))
    assert own.member("berlin").address == "127.0.0.1:7700"
    assert enrolment_.joined == [("berlin", False, "127.0.0.1")]
    assert list(berlin.addresses) == [enrolment_.address]

    again = berlin.accept(client.ask(berlin.addresses, berlin.pin, lambda _: berlin.renewal()))
    assert again.certificate != own.certificate
    assert enrolment_.refused == []


def test_an_answer_that_was_lost_is_asked_for_again(founded, opened, site):
    enrolment_ = opened()
    made = founded.invite("berlin", valid=DAY, address=enrolment_.address)
    berlin = site("berlin")
    berlin.directory.parent.mkdir()
    request = berlin.enrolment(made, "10.0.0.2:7700")
    with secured(connect(enrolment_.address)) as connection:
        connection.sendall(struct.pack(">I", len(request)) + request)
    enrolment_.wait(enrolment_.joined)
    own = berlin.accept(client.ask(made.addresses, made.pin, lambda _: berlin.enrolment(made, "10.0.0.2:7700")))
    assert own.name == "berlin"
    assert [each.name for each in founded.register.issued].count("berlin") == 1


def test_of_two_sites_with_one_invitation_one_joins(founded, opened, site):
    enrolment_ = opened()
    made = founded.invite("berlin", valid=DAY, address=enrolment_.address)
    together, ends = threading.Barrier(2), []

    def one(name):
        place = site(name)
        place.directory.parent.mkdir()

        def request(_host):
            together.wait(30)
            return place.enrolment(made, "10.0.0.2:7700")

        try:
            ends.append(place.accept(client.ask(made.addresses, made.pin, request)).name)
        except IdentityError as error:
            ends.append(str(error))

    threads = [threading.Thread(target=one, args=(name,)) for name in ("one", "two")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert "berlin" in ends
    assert any("the authority refuses: the invitation for berlin was used on" in end for end in ends)
    assert len(founded.register.issued) == 2


def test_both_sides_are_told_why_there_is_no_certificate(founded, opened, site, calendar):
    enrolment_ = opened()
    made = founded.invite("berlin", valid=DAY, address=enrolment_.address)
    calendar.today += DAY
    berlin = site("berlin")
    berlin.directory.parent.mkdir()
    with pytest.raises(IdentityError, match="the authority refuses: the invitation for berlin has expired"):
        client.ask(made.addresses, made.pin, lambda _: berlin.enrolment(made, "10.0.0.2:7700"))
    assert enrolment_.wait(enrolment_.refused)[0][1].startswith("the invitation for berlin has expired on 2027-01-02")
    assert not berlin.directory.exists()


def test_nothing_is_sent_to_another_consortium(founded, opened, site):
    enrolment_ = opened()
    made = replace(founded.invite("berlin", valid=DAY, address=enrolment_.address), pin=bytes(32))
    asked = []
    with pytest.raises(IdentityError, match=r"another certificate than the authority's.*Nothing was sent"):
        client.ask(made.addresses, made.pin, lambda host: asked.append(host) or b"")
    assert asked == []
    assert client.is_enrolment(enrolment_.address, founded.pin)
    assert not client.is_enrolment(enrolment_.address, bytes(32))


def test_nobody_at_any_address_is_said_with_what_to_do(founded):
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(IdentityError, match=rf"nobody answers at {address}.*`swarm invite` runs.*--request"):
        client.ask([address], founded.pin, lambda _: b"")
    assert not client.is_enrolment(address, founded.pin)


def test_another_address_is_tried(founded, opened, site):
    enrolment_ = opened()
    with socket.create_server(("127.0.0.1", 0)) as free:
        closed = f"127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(IdentityError, match="the authority refuses: this is no request"):
        client.ask([closed, enrolment_.address], founded.pin, lambda _: b"hello")


def test_a_large_message_is_not_read(opened):
    enrolment_ = opened()
    with secured(connect(enrolment_.address)) as connection:
        connection.sendall(struct.pack(">I", 2**31))
        with pytest.raises((OSError, IndexError)):
            assert connection.recv(1)[0]
    assert enrolment_.wait(enrolment_.refused) == [
        ("127.0.0.1", "a message of 2147483648 bytes exceeds the limit of 16384")
    ]


@pytest.mark.parametrize("data", [b"", b"\0\0", b"\0\0\0\x09half"])
def test_a_message_that_ends_early_is_no_message(data):
    near, far = socket.socketpair()
    with near, far:
        near.sendall(data)
        near.shutdown(socket.SHUT_WR)
        with pytest.raises(IdentityError, match="the connection ended before the message did"):
            receive(far, 100, Deadline(5))


def test_a_slow_client_is_cut_off(opened):
    enrolment_ = opened(seconds=0.2)
    with secured(connect(enrolment_.address)) as connection:
        connection.sendall(b"\0")
        with pytest.raises((OSError, IndexError)):
            assert connection.recv(1)[0]
    assert "time" in enrolment_.wait(enrolment_.refused)[0][1]


def test_a_client_that_does_not_speak_tls_gets_no_line_of_text(opened):
    enrolment_ = opened()
    with connect(enrolment_.address) as plain:
        plain.sendall(b"GET / HTTP/1.1\r\n\r\n")
        answer = b""
        with contextlib.suppress(ConnectionResetError):
            answer = plain.recv(100)
    assert b"HTTP" not in answer
    assert "HTTP" in enrolment_.wait(enrolment_.refused)[0][1].upper()


def test_an_older_tls_is_refused(opened):
    enrolment_ = opened()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with connect(enrolment_.address) as plain, pytest.raises(OSError, match=r"(?i)protocol|alert|reset"):
        context.wrap_socket(plain)


def test_no_enrolment_is_taken_for_one_over_an_older_tls(heart, tmp_path):
    file = tmp_path / "authority.pem"
    file.write_bytes(certificates.key_pem(heart.key) + heart.pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    pin = hashlib.sha256(ssl.PEM_cert_to_DER_cert(heart.pem.decode())).digest()
    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor(1) as pool:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        for newest in (ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.TLSv1_2):
            context.maximum_version = newest

            def serve():
                plain, _ = listener.accept()
                with plain, contextlib.suppress(OSError), context.wrap_socket(plain, server_side=True) as connection:
                    connection.recv(1)

            served = pool.submit(serve)
            assert client.is_enrolment(address, pin) is (newest is ssl.TLSVersion.TLSv1_3)
            served.result(30)


def test_an_address_has_few_connections_and_one_line_a_minute(opened):
    enrolment_ = opened()
    idle = [connect(enrolment_.address) for _ in range(MAX_PER_ADDRESS)]
    try:
        for _ in range(3):
            with connect(enrolment_.address) as refused:
                assert refused.recv(1) == b""
        assert enrolment_.refused == [("127.0.0.1", "too many connections at once")]
    finally:
        for each in idle:
            each.close()


def test_all_addresses_of_a_line_are_one_at_the_enrolment(opened, monkeypatch):
    accept, hosts = socket.socket.accept, itertools.count(1)

    def from_elsewhere(listening):
        sock, place = accept(listening)
        return sock, (f"2001:db8::{next(hosts):x}", *place[1:])

    monkeypatch.setattr(socket.socket, "accept", from_elsewhere)
    enrolment_ = opened()
    idle = [connect(enrolment_.address) for _ in range(MAX_PER_ADDRESS)]
    try:
        for _ in range(3):
            with connect(enrolment_.address) as refused:
                assert refused.recv(1) == b""
        assert enrolment_.refused == [("2001:db8::3", "too many connections at once")]
    finally:
        for each in idle:
            each.close()


def test_a_connection_that_cannot_be_served_does_not_close_the_enrolment(founded, opened, site, monkeypatch):
    start, accept, failed = threading.Thread.start, socket.socket.accept, []

    def no_thread_once(thread):
        if thread.name == "swarm-enrolment" and "thread" not in failed:
            failed.append("thread")
            raise RuntimeError("can't start new thread")
        start(thread)

    def no_descriptor_once(listening):
        if "descriptor" not in failed:
            failed.append("descriptor")
            raise OSError(24, "Too many open files")
        return accept(listening)

    monkeypatch.setattr(threading.Thread, "start", no_thread_once)
    monkeypatch.setattr(socket.socket, "accept", no_descriptor_once)
    there = opened()
    with connect(there.address) as plain:
        assert plain.recv(1) == b""
    assert there.wait(there.refused) == [("127.0.0.1", "can't start new thread")]
    assert client.is_enrolment(there.address, founded.pin)
    assert failed == ["descriptor", "thread"]


def test_all_addresses_together_have_few_connections(opened):
    enrolment_ = opened()
    idle = []
    try:
        for number in range(MAX_CONNECTIONS):
            sock = socket.socket()
            sock.bind((f"127.0.1.{number + 1}", 0))
            sock.connect(("127.0.0.1", int(enrolment_.address.rsplit(":", 1)[1])))
            idle.append(sock)
        with connect(enrolment_.address) as refused:
            assert refused.recv(1) == b""
    finally:
        for each in idle:
            each.close()


def test_it_is_open_until_its_purpose_is_fulfilled(founded):
    server = EnrolmentServer(founded, Address("127.0.0.1", 0), joined=print, refused=print)
    address = server.address
    server.serve(lambda: True)
    assert not client.is_enrolment(address, founded.pin)


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="there is no IPv6 here")
@pytest.mark.parametrize("source", ["127.0.0.1", "::1"])
def test_behind_the_wildcard_of_ipv6_it_hears_both_kinds_and_tells_plain_addresses(opened, source):
    enrolment_ = opened(host="::")
    with socket.create_connection((source, int(enrolment_.address.rpartition(":")[2])), timeout=30) as connection:
        connection.sendall(b"this is no TLS, whatever else it may be")
        ((told, _),) = enrolment_.wait(enrolment_.refused)
    assert told == source


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="there is no IPv6 here")
def test_a_name_that_has_an_ipv6_address_only_is_listened_on(opened, monkeypatch):
    known = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, *others, **options: known("::1", *others, **options))
    assert opened(host="founder.example").address.startswith("[::1]:")


def test_an_address_that_is_taken_is_named(founded, opened):
    enrolment_ = opened()
    with pytest.raises(IdentityError, match=rf"{enrolment_.address} cannot be listened on .*in use"):
        EnrolmentServer(founded, Address.parse(enrolment_.address), joined=print, refused=print)


REQUEST = Enrolment.made(
    bytes(32),
    invitation="0" * 16,
    name="berlin",
    request=certificates.request(certificates.new_key(), "berlin"),
    address="10.0.0.2:7700",
)


def test_what_was_sent_is_read_again(founded, join, calendar):
    assert read_request(REQUEST.encoded()) == REQUEST
    reply = founded.answer(join("berlin").renewal()).reply
    assert read_reply(reply.encoded()) == reply


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("format", 2),
        ("kind", "swarm"),
        ("name", "Berlin"),
        ("name", None),
        ("address", "nowhere"),
        ("address", "0.0.0.0:1"),
        ("address", ""),
        ("request", "é"),
        ("request", "x" * 9000),
        ("proof", "!"),
        ("proof", 1),
        ("invitation", "0" * 17),
    ],
)
def test_a_request_out_of_bounds_is_refused(field, value):
    data = json.dumps(json.loads(REQUEST.encoded()) | {field: value}).encode()
    with pytest.raises(IdentityError, match="no request of a site"):
        read_request(data)


@pytest.mark.parametrize("data", [b"", b"\xff", b"[]", b"1", b"{}", b"[" * 9000, b" " * 20_000])
def test_what_is_neither_request_nor_reply_is_refused(data):
    with pytest.raises(IdentityError, match="no request of a site"):
        read_request(data)
    with pytest.raises(IdentityError, match="no reply of an authority"):
        read_reply(data)


def test_a_refusal_is_shown_without_control_characters():
    with pytest.raises(IdentityError, match=r"refuses: no \\x1b\[31m") as raised:
        read_reply(json.dumps({"format": 1, "refusal": "no \x1b[31m" + "x" * 5000}).encode())
    assert len(str(raised.value)) < 1100


def test_a_large_reply_is_refused():
    with pytest.raises(IdentityError, match="more than"):
        read_reply(Reply(b"", b"", b"x" * enrolment.MAX_REPLY).encoded())
