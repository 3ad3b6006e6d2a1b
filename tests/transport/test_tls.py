"""Who may call, and for whom, where peers have identities."""

from __future__ import annotations

import os
import socket
import ssl
import subprocess
import sys
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from swarm.addresses import Address
from swarm.errors import SwarmError, TransportError
from swarm.identity import Certificate, Consortium, Identity, Member, Role, certificates, files
from swarm.identity.consortium import Revoked
from swarm.messages import DataChannelRequest, FetchRequest, StreamHeader
from swarm.records import Attempt
from swarm.testing.nodes import DEADLINE, Node, Outcome, envelope, eventually
from swarm.transport.data_channel import DataChannelTransport
from swarm.transport.data_channel.headers import MAGIC, PREAMBLE, VERSION
from swarm.transport.grpc import GrpcTransport, fetch_status
from swarm.transport.grpc.link import Link
from swarm.transport.grpc.security import Caller, open_channel
from swarm.transport.grpc.service import CONSORTIUM

pytestmark = [
    # A socket that is left to the garbage collector.
    pytest.mark.filterwarnings("error::ResourceWarning"),
    pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning"),
]
NOW = datetime.now(UTC)
NAMES = ("berlin", "paris", "rome")


class Heart:
    """A consortium, and the nodes of its members."""

    def __init__(self, directory):
        self.directory = directory
        self.key = certificates.new_key()
        self.pem = certificates.authority(self.key, "heart", NOW, timedelta(days=99))
        self.document = Consortium("heart", 1, NOW.isoformat(), tuple(Member(name) for name in NAMES))
        self.nodes = []
        self.now = NOW

    def publish(self, **changes):
        self.document = replace(self.document, version=self.document.version + 1, **changes)
        return self.document.signed(self.key)

    def certify(self, name, days=30):
        key = certificates.new_key()
        request = certificates.request(key, name)
        pem = certificates.issue(request, name, key=self.key, issuer=self.pem, now=self.now, valid=timedelta(days=days))
        files.make_directory(self.directory / name)
        files.write(self.directory / name / files.IDENTITY, certificates.key_pem(key) + pem, files.PRIVATE)
        return Certificate.read(pem)

    def identity(self, name):
        self.certify(name)
        files.write(self.directory / name / files.AUTHORITY, self.pem)
        files.write(self.directory / name / files.CONSORTIUM, self.document.signed(self.key))
        return Identity(self.directory / name)

    def node(self, name, **options):
        control = GrpcTransport(identity=self.identity(name), **options)
        self.nodes.append(Node(DataChannelTransport(control, "127.0.0.1")))
        return self.nodes[-1]

    def shut(self, name):
        """A node to which nobody can connect; ``sender`` is a member too."""
        self.document = replace(self.document, members=(*self.document.members, Member("sender")))
        with socket.socket() as bound:
            bound.bind(("127.0.0.1", 0))
            return self.node(name, advertise=f"127.0.0.1:{bound.getsockname()[1]}")


@pytest.fixture
def heart(tmp_path):
    made = Heart(tmp_path / "heart")
    yield made
    for node in made.nodes:
        node.transport.close(0.0)


@pytest.fixture
def others(tmp_path):
    """Another consortium, whose members have the same names."""
    made = Heart(tmp_path / "others")
    yield made
    for node in made.nodes:
        node.transport.close(0.0)


def said_by(name, text="hello"):
    return replace(envelope(text), sender=name)


def lost(node):
    eventually(lambda: node.handler.lost, "the loss is told")
    return node.handler.lost[0][1]


def test_an_address_begins_with_the_name_of_the_peer(heart):
    assert heart.node("berlin").address.startswith("berlin@127.0.0.1:")


def test_a_member_speaks_for_itself(heart):
    berlin, paris = heart.node("berlin"), heart.node("paris")
    berlin.transport.send(paris.address, said_by("berlin"))
    eventually(lambda: paris.handler.texts == ["hello"], "the message arrives")


@pytest.mark.parametrize("name", ["10.0.0.1", "127.1", "1", "localhost", "clinic-1.paris", "a" * 63])
def test_a_name_that_looks_like_a_host_is_a_name_only(heart, name):
    heart.document = replace(heart.document, members=(*heart.document.members, Member(name)))
    berlin, paris, other = heart.node("berlin"), heart.node("paris"), heart.node(name)
    berlin.transport.send(other.address, said_by("berlin"))
    eventually(lambda: other.handler.texts == ["hello"], "the message arrives")
    other.transport.send(berlin.address, said_by(name))
    eventually(lambda: berlin.handler.texts == ["hello"], "the answer arrives")
    outcome, header = Outcome(), StreamHeader("session", "berlin", "incarnation", "lineage", 1, Attempt(1, "berlin"))
    outcome.upload = berlin.transport.upload(other.address, header, iter([[b"weights"]]), outcome.done)
    assert outcome.wait() is None
    paris.transport.send(f"{name}@{berlin.address.partition('@')[2]}", said_by("paris"))
    assert f"is berlin, not {name}" in lost(paris)


def test_a_member_cannot_speak_for_another(heart):
    berlin, paris = heart.node("berlin"), heart.node("paris")
    berlin.transport.send(paris.address, said_by("rome"))
    assert "the certificate of berlin does not allow to speak for rome" in lost(berlin)
    assert paris.handler.texts == []


def test_nor_send_weights_or_fetch_in_its_name(heart):
    berlin, paris = heart.node("berlin"), heart.node("paris")
    outcome = berlin.upload(paris.address, [[b"weights"]])
    assert "does not allow to speak for sender" in outcome.wait()
    with pytest.raises(TransportError, match="does not allow to speak for rome"):
        list(berlin.transport.fetch(paris.address, FetchRequest("session", "rome", "held"), DEADLINE))
    assert paris.handler.streams == {}


def test_the_peer_at_an_address_must_be_the_one_that_it_names(heart):
    berlin, paris = heart.node("berlin"), heart.node("paris")
    elsewhere = paris.address.replace("paris", "rome")
    berlin.transport.send(elsewhere, said_by("berlin"))
    assert berlin.handler.texts == []
    assert "is paris, not rome" in lost(berlin)
    assert paris.handler.texts == []


def test_an_address_without_a_name_reaches_any_member(heart):
    berlin, paris = heart.node("berlin"), heart.node("paris")
    berlin.transport.send(paris.address.partition("@")[2], said_by("berlin"))
    eventually(lambda: paris.handler.texts, "the message arrives")


def test_a_peer_of_another_consortium_is_not_let_in(heart, others):
    berlin, stranger = heart.node("berlin"), others.node("paris")
    stranger.transport.send(berlin.address, said_by("paris"))
    assert "is not of this peer's consortium: its certificate does not count" in lost(stranger)
    assert berlin.handler.texts == []


def test_a_peer_without_an_identity_is_not_let_in(heart):
    berlin, stranger = heart.node("berlin"), Node(GrpcTransport())
    heart.nodes.append(stranger)
    stranger.transport.send(berlin.address, said_by("paris"))
    assert "speaks TLS only, and this one has no identity" in lost(stranger)
    with pytest.raises(SwarmError, match="speaks TLS only"):
        fetch_status(berlin.address, DEADLINE)
    assert berlin.handler.texts == []


def test_a_peer_that_speaks_no_tls_is_named(heart):
    berlin, stranger = heart.node("berlin"), Node(GrpcTransport())
    heart.nodes.append(stranger)
    berlin.transport.send(f"paris@{stranger.address}", said_by("berlin"))
    assert "does not speak TLS: it has no identity, is of a build before 0.1.0 (update Swarm there with `pip" in lost(
        berlin
    )


def test_an_expired_certificate_is_named(heart):
    berlin, paris = heart.node("berlin"), heart.node("paris")
    heart.now = NOW - timedelta(days=40)
    heart.certify("paris")  # expired ten days ago; a running peer goes on with what it has read before
    eventually(lambda: paris.transport.identity.certificate.not_after < NOW, "it is noticed")
    paris.transport.send(berlin.address, said_by("paris"))
    assert "does not accept this peer's certificate, which is valid until" in lost(paris)


def test_the_status_is_shown_to_members(heart):
    berlin, paris = heart.node("berlin"), heart.identity("paris")
    assert fetch_status(berlin.address, DEADLINE, paris)["name"] == "recorder"


def test_an_observer_sees_the_status_and_takes_part_in_nothing(heart):
    heart.document = replace(heart.document, members=(Member("berlin"), Member("paris", role=Role.OBSERVER)))
    berlin, paris = heart.node("berlin"), heart.node("paris")
    assert fetch_status(berlin.address, DEADLINE, paris.transport.identity)
    paris.transport.send(berlin.address, said_by("paris"))
    assert "paris is an observer" in lost(paris)


def test_a_revocation_reaches_everybody_and_ends_what_is_open(heart):
    berlin, paris, rome = (heart.node(name) for name in NAMES)
    serial = rome.transport.identity.certificate.serial
    rome.transport.send(berlin.address, said_by("rome"))
    berlin.transport.send(rome.address, said_by("berlin"))
    berlin.transport.send(paris.address, said_by("berlin"))
    eventually(lambda: berlin.handler.texts and rome.handler.texts and paris.handler.texts, "the messages arrive")
    revoked = (Revoked("rome", serial, NOW.isoformat()),)
    document = heart.publish(members=(Member("berlin"), Member("paris")), revoked=revoked)
    paris.transport.identity.adopt(document)
    assert "rome is not a member" in lost(berlin)
    rome.transport.send(berlin.address, said_by("rome", "again"))
    assert f"rome was revoked on {NOW.isoformat()[:10]}" in lost(rome)
    assert berlin.handler.texts == ["hello"]
    assert berlin.transport.identity.document.version == 2
    assert Identity(berlin.transport.identity.directory).document.version == 2


def connected(heart):
    """Two nodes, of which the first one has a link to the second."""
    berlin, paris = heart.node("berlin"), heart.node("paris")
    berlin.transport.send(paris.address, said_by("berlin"))
    eventually(lambda: paris.handler.texts, "the message arrives")
    return berlin, paris


def without_rome(heart):
    return heart.publish(members=(Member("berlin"), Member("paris")))


@pytest.fixture
def adopting(monkeypatch):
    """Is called with each identity that is given a document, before it uses that."""
    called, adopt = [lambda identity: None], Identity.adopt

    def first(self, data):
        called[0](self)
        return adopt(self, data)

    monkeypatch.setattr(Identity, "adopt", first)
    return called


def test_the_others_use_a_new_document_before_the_peer_that_finds_it_in_its_files(heart, adopting):
    """A peer that it revokes has nobody left to tell that this one makes rounds fail."""
    berlin, paris = connected(heart)
    versions = []
    adopting[0] = lambda identity: versions.append(berlin.transport.identity.document.version)
    files.write(berlin.transport.identity.directory / files.CONSORTIUM, without_rome(heart))
    eventually(lambda: berlin.transport.identity.document.version == 2, "it is used")
    assert paris.transport.identity.document.version == 2
    assert versions == [1]


def test_who_does_not_take_a_new_document_delays_it_for_a_limited_time(heart, adopting, monkeypatch):
    monkeypatch.setattr("swarm.transport.grpc.trust.TELL_SECONDS", 0.01)
    berlin, paris = connected(heart)
    used = threading.Event()
    adopting[0] = lambda identity: used.wait(DEADLINE)
    files.write(berlin.transport.identity.directory / files.CONSORTIUM, without_rome(heart))
    eventually(lambda: berlin.transport.identity.document.version == 2, "it is used")
    assert paris.transport.identity.document.version == 1
    used.set()


def test_a_document_that_is_told_ends_links_at_once(heart, monkeypatch):
    monkeypatch.setattr("swarm.transport.grpc.trust.LOOK_SECONDS", 10 * DEADLINE)
    paris, rome = heart.node("paris"), heart.node("rome")
    paris.transport.send(rome.address, said_by("paris"))
    eventually(lambda: rome.handler.texts, "the message arrives")
    told(heart.identity("berlin"), paris, 2, without_rome(heart))
    assert "rome is not a member" in lost(paris)


def test_only_what_the_authority_has_signed_is_taken_from_a_member(heart, others, caplog):
    paris, berlin = heart.node("paris"), heart.identity("berlin")
    for document in (b"nothing", others.publish(members=())):
        told(berlin, paris, 2, document)
        assert paris.transport.identity.document.version == 1
    assert caplog.text.count("the consortium's document that berlin sent is not used") == 1
    told(berlin, paris, 0, without_rome(heart))
    assert paris.transport.identity.document.version == 1, "it is said to be an old one"


def told(member, node, version, document):
    """A member gives its document to a node; returns once that was answered."""
    with open_channel(Address.parse(node.address), DEADLINE, member) as channel:
        request = version.to_bytes(8, "little") + document
        return channel.unary_unary(CONSORTIUM, None, None)(request, timeout=DEADLINE)


@pytest.mark.parametrize("open_already", [False, True])
def test_a_revoked_certificate_gets_no_weights_over_a_data_channel_and_no_other_way(heart, open_already):
    heart.document = replace(heart.document, members=(Member("sender"), Member("paris")))
    sender, paris = heart.node("sender"), heart.node("paris")
    assert sender.upload(paris.address, [[b"weights"]]).wait() is None
    if not open_already:
        sender.transport.forget(paris.address)  # as after a loss
    revoked = Revoked("paris", paris.transport.identity.certificate.serial, NOW.isoformat())
    sender.transport.identity.adopt(heart.publish(revoked=(revoked,)))
    assert "no weights are sent: the certificate of paris was revoked" in (
        sender.upload(paris.address, [[b"weights"]], number=2).wait() or ""
    )
    assert 2 not in paris.handler.streams


def test_nor_do_weights_come_in_from_one_over_a_data_channel_that_is_open(heart):
    heart.document = replace(heart.document, members=(Member("sender"), Member("paris")))
    sender, paris = heart.node("sender"), heart.node("paris")
    assert sender.upload(paris.address, [[b"weights"]]).wait() is None
    revoked = Revoked("sender", sender.transport.identity.certificate.serial, NOW.isoformat())
    paris.transport.identity.adopt(heart.publish(revoked=(revoked,)))
    assert sender.upload(paris.address, [[b"weights"]], number=2).wait()
    assert 2 not in paris.handler.streams


def routed(shut, sender):
    """``sender`` reaches ``shut`` over the connections of the latter."""
    shut.transport.send(sender.address, said_by("paris"))
    eventually(lambda: sender.handler.texts, "the one to which nobody can connect was heard")
    sender.say(shut.address, "hello")
    eventually(lambda: shut.handler.texts, "the message arrives")


@pytest.mark.parametrize("named", [True, False])
def test_a_peer_to_which_nobody_can_connect_answers_calls_of_the_one_that_it_trusts(heart, named):
    shut, sender = heart.shut("paris"), heart.node("sender")
    shut.transport.send(sender.address if named else sender.address.partition("@")[2], said_by("paris"))
    eventually(lambda: sender.handler.texts, "the one to which nobody can connect was heard")
    assert sender.upload(shut.address, [[b"weights"]]).wait() is None
    sender.transport.send(shut.address, said_by("rome"))
    assert "the certificate of sender does not allow to speak for rome" in lost(sender)
    assert not shut.handler.texts


def test_a_revoked_certificate_ends_its_way_in(heart):
    shut, sender = heart.shut("paris"), heart.node("sender")
    routed(shut, sender)
    revoked = Revoked("paris", shut.transport.identity.certificate.serial, NOW.isoformat())
    sender.transport.identity.adopt(heart.publish(revoked=(revoked,)))
    assert lost(sender)
    outcome = sender.upload(shut.address, [[b"weights"]], number=2)
    assert outcome.wait() is not None
    assert 2 not in shut.handler.streams


def test_a_peer_that_is_no_member_any_more_is_answered_no_more(heart):
    shut, sender = heart.shut("paris"), heart.node("sender")
    routed(shut, sender)
    shut.transport.identity.adopt(heart.publish(members=(Member("paris"),)))
    assert "sender is not a member" in lost(shut)
    outcome = sender.upload(shut.address, [[b"weights"]], number=2)
    assert outcome.wait() is not None
    assert 2 not in shut.handler.streams


def test_a_download_ends_when_its_peer_is_revoked(heart):
    berlin, paris = heart.node("berlin"), heart.node("paris")
    document = heart.publish(members=(Member("paris"),))

    def frames():
        yield [b"before"]
        paris.transport.identity.adopt(document)
        yield [b"after"]

    paris.handler.served = frames
    received = []
    request = FetchRequest("session", "berlin", "held")
    with pytest.raises(TransportError, match="berlin is not a member"):
        received.extend(map(bytes, berlin.transport.fetch(paris.address, request, DEADLINE)))
    assert b"after" not in received


def test_a_renewal_loses_no_message_and_no_stream(heart):
    berlin, paris = heart.node("berlin"), heart.node("paris")
    berlin.transport.send(paris.address, said_by("berlin", "before"))
    eventually(lambda: paris.handler.texts, "the first message arrives")
    for name, node in (("berlin", berlin), ("paris", paris)):
        before = node.transport.identity.certificate
        heart.certify(name)
        eventually(lambda node=node, before=before: node.transport.identity.certificate != before, "it is noticed")
    berlin.transport.send(paris.address, said_by("berlin", "after"))
    eventually(lambda: paris.handler.texts == ["before", "after"], "the second message arrives")
    paris.transport.send(berlin.address, said_by("paris", "answer"))
    eventually(lambda: berlin.handler.texts == ["answer"], "the answer arrives")
    assert berlin.handler.lost == paris.handler.lost == []


def test_peers_of_two_authorities_meet_once_both_trust_both(heart, others):
    """Of another public-key infrastructure, which changes its authority while peers run."""
    pair = []
    for of, name in ((heart, "berlin"), (others, "paris")):
        of.identity(name)
        (of.directory / name / files.CONSORTIUM).unlink()
        identity = Identity(of.directory / name)
        of.nodes.append(Node(DataChannelTransport(GrpcTransport(identity=identity), "127.0.0.1")))
        pair.append(of.nodes[-1])
    berlin, paris = pair
    berlin.transport.send(paris.address, said_by("berlin", "too early"))
    assert lost(berlin)
    for node in pair:
        identity = node.transport.identity
        files.write(identity.directory / files.AUTHORITY, heart.pem + others.pem)
        eventually(lambda identity=identity: identity.credentials.authority.count(b"BEGIN") == 2, "it is noticed")
    berlin.transport.send(paris.address, said_by("berlin"))
    eventually(lambda: paris.handler.texts == ["hello"], "the message arrives")
    paris.transport.send(berlin.address, said_by("paris"))
    eventually(lambda: berlin.handler.texts == ["hello"], "the answer arrives")
    outcome, header = Outcome(), StreamHeader("session", "berlin", "incarnation", "lineage", 1, Attempt(1, "berlin"))
    outcome.upload = berlin.transport.upload(paris.address, header, iter([[b"weights"]]), outcome.done)
    assert outcome.wait() is None


def test_a_renewal_leaves_a_stream_over_grpc_alone(heart):
    heart.document = replace(heart.document, members=(Member("sender"), Member("paris")))
    sender, paris = (Node(GrpcTransport(identity=heart.identity(name))) for name in ("sender", "paris"))
    heart.nodes += [sender, paris]
    begun, go_on = threading.Event(), threading.Event()

    def frames():
        yield [b"one"]
        begun.set()
        assert go_on.wait(DEADLINE)
        yield [b"two"]

    sender.transport.send(paris.address, said_by("sender", "before"))
    outcome = sender.upload(paris.address, frames())
    assert begun.wait(DEADLINE)
    before = sender.transport.identity.certificate
    heart.certify("sender")
    eventually(lambda: sender.transport.identity.certificate != before, "it is noticed")
    sender.transport.send(paris.address, said_by("sender", "after"))
    eventually(lambda: paris.handler.texts == ["before", "after"], "the messages arrive")
    go_on.set()
    assert outcome.wait() is None
    assert paris.handler.streams == {1: [b"one", b"two"]}
    eventually(lambda: not sender.transport._retired, "the earlier link ends")
    assert sender.handler.lost == []


def test_documents_that_are_not_used_are_told_of_once_a_minute(heart, monkeypatch, caplog):
    monkeypatch.setattr("swarm.transport.grpc.trust.LOOK_SECONDS", 0.01)
    berlin, paris = heart.node("berlin"), heart.node("paris")
    lying = paris.transport.identity
    newer = replace(lying.document, version=9)
    monkeypatch.setattr(lying, "_state", replace(lying._state, document=newer, document_bytes=b"nothing"))
    sent, adopt = [], Identity.adopt

    def count(self, data):
        sent.append(data)
        return adopt(self, data)

    monkeypatch.setattr(Identity, "adopt", count)
    berlin.transport.send(paris.address, said_by("berlin"))
    eventually(lambda: len(sent) > 3, "the document is sent again and again")
    assert set(sent) == {b"nothing"}
    assert caplog.text.count(f"document that {paris.address} sent is not used") == 1
    assert berlin.transport.identity.document.version == 1


def test_a_link_that_is_closed_asks_for_nothing_and_tells_nothing(heart):
    berlin, paris = heart.node("berlin"), heart.node("paris")
    there, identity = Address.parse(paris.address), berlin.transport.identity
    link = Link(there, 5.0, identity, lambda _: open_channel(there, 5.0, identity), None, lambda job: job(), print)
    link.close()
    link.ask_consortium(0, pytest.fail)
    ended = threading.Event()
    link.tell_consortium(2, b"", ended.set)
    assert ended.wait(DEADLINE), "nobody waits for the answer"


ONE_PEER = """
import sys, pathlib
from swarm.identity import Identity
from swarm.testing.nodes import Node
from swarm.transport.grpc import GrpcTransport
node = Node(GrpcTransport(identity=Identity(pathlib.Path(sys.argv[1]))))
print(node.address, flush=True)
sys.stdin.read()
"""
"""In a process of its own: gRPC reads its ciphers once, and another test may have imported it before Swarm."""


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_messages_travel_over_tls_1_3_only(heart, version):
    own, other = heart.identity("berlin"), heart.identity("paris")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.maximum_version = version
    context.load_cert_chain(other.directory / files.IDENTITY)
    context.set_alpn_protocols(["h2"])
    command = [sys.executable, "-c", ONE_PEER, str(own.directory)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as peer:
        port = int(peer.stdout.readline().rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port)) as sock:
            if version == ssl.TLSVersion.TLSv1_2:
                with pytest.raises(OSError, match=r"(?i)protocol|eof|reset|version|shared"):
                    context.wrap_socket(sock)
            else:
                with context.wrap_socket(sock) as secure:
                    assert secure.version() == "TLSv1.3"


def test_the_environment_does_not_allow_an_older_tls():
    show = "import os, swarm.transport.grpc; print(os.environ['GRPC_SSL_CIPHER_SUITES'])"
    environment = {**os.environ, "GRPC_SSL_CIPHER_SUITES": "HIGH"}
    ended = subprocess.run([sys.executable, "-c", show], env=environment, capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "ECDHE-PSK-CHACHA20-POLY1305"


def test_a_token_is_of_no_use_to_another_member(heart):
    berlin, paris, rome = (heart.node(name) for name in NAMES)
    identity = berlin.transport.identity
    control = GrpcTransport(identity=identity)
    control.start(berlin.handler)
    heart.nodes.append(type("Closed", (), {"transport": control}))
    offer = control.ask_data_channel(paris.address, DataChannelRequest("session", "berlin", "incarnation"), DEADLINE)
    preamble = PREAMBLE.pack(MAGIC, VERSION, offer.token)
    for member, answer in ((rome.transport.identity, b""), (identity, b"")):
        with (
            socket.create_connection(("127.0.0.1", offer.port), DEADLINE) as sock,
            member.client_context.wrap_socket(sock) as secure,
        ):
            secure.sendall(preamble)
            assert secure.recv(1) == answer  # rome has used it up


def test_a_data_channel_needs_a_certificate(heart):
    paris = heart.node("paris")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    control = GrpcTransport(identity=heart.identity("berlin"))
    control.start(paris.handler)
    heart.nodes.append(type("Closed", (), {"transport": control}))
    offer = control.ask_data_channel(paris.address, DataChannelRequest("session", "berlin", "incarnation"), DEADLINE)
    with (
        socket.create_connection(("127.0.0.1", offer.port), DEADLINE) as sock,
        context.wrap_socket(sock) as secure,
        pytest.raises(OSError, match=r"(?i)certificate required|reset"),
    ):
        secure.recv(1)


def test_a_call_without_tls_13_facts_is_refused():
    class Context:
        def auth_context(self):
            return {"ssl_tls_version": [b"TLSv1.2"], "x509_pem_cert": [b""]}

    class Anybody:
        def trust(self, pem):
            raise AssertionError

    with pytest.raises(TransportError, match=r"TLS 1\.3"):
        Caller(Context(), Anybody())
