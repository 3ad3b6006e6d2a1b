"""What a message from another peer may hold, and what is refused before anything is made of it."""

from __future__ import annotations

import math
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

from swarm import limits, messages
from swarm.config import resolve
from swarm.errors import ConfigurationError, ExchangeError
from swarm.limits import MAX_FIGURE, RANGES, check_number, figure
from swarm.messages import Envelope, FetchRequest, Hello, Leave, StreamHeader, TensorLine
from swarm.peer.roster import schema_lines
from swarm.records import (
    MAX_SAMPLES,
    Attempt,
    Best,
    Commit,
    ContributionStats,
    Credential,
    Origin,
    PeerInfo,
    PeerStatus,
    Proof,
    QuorumCertificate,
    Signature,
    SignedPromise,
    SyncState,
)
from swarm.tensors.state import Schema, TensorSpec
from swarm.text import MAX_SHOWN
from swarm.transport.base import MAX_MESSAGE_BYTES
from swarm.transport.grpc import swarm_pb2, wire
from swarm.versions import here

HOSTILE = {
    "escape codes": "\x1b[31mred\x1b]0;title\x07",
    "lines": "a\r\nforged line",
    "bidi override": "a\u202eb",
    "zero width": "a\u200bb",
    "filler": "\u3164",
    "markup": "[red]a[/]",
    "link": "[link=file:///etc/passwd]a[/link]",
    "line separator": "a\u2028b",
    "dots": "..",
    "path": "a/b",
    "option": "-a",
    "empty": "",
    "a megabyte": "a" * 10**6,
}
ATTEMPT = Attempt(1, "a")
INFO = PeerInfo(name="p", incarnation="i", address="x:1", session="s")
HELLO = Hello(INFO, (), (), None, wants_reply=True)
COMMIT = Commit(lineage="l", round=1, digest="d", members=("a",), group=("a",), contributors=("a",), sync=SyncState(1))
PROPOSAL = messages.Proposal(
    "l", 1, ATTEMPT, "d", ("a",), ("a",), (messages.Entry("a", 1, PeerStatus.TRAINING),), SyncState(1), False
)
STATS = ContributionStats(peer="p", round=1, weight=1)
KEY, SIGNATURE = "0a" * 32, "0b" * 64
OFFER = messages.Offer("l", "d", True, STATS, key=KEY, signature=SIGNATURE)
PROOF = Proof("p", KEY, "l", 1, ATTEMPT, "r", SIGNATURE, ATTEMPT, "o", None, SIGNATURE)
CERTIFICATE = QuorumCertificate(ATTEMPT, (Signature("a", SIGNATURE),), (SignedPromise("a", None, "", SIGNATURE),))
FAR = 2**63 - 1


def envelope(message) -> Envelope:
    return Envelope("s", "p", "i", "x:1", message)


def arrives(value):
    return wire.decode(type(value), wire.encode(value))


def greeting(**changes) -> Envelope:
    return envelope(replace(HELLO, peer=replace(INFO, **changes)))


NAMED = {
    "session": lambda text: replace(envelope(Leave("x")), session=text),
    "sender": lambda text: replace(envelope(Leave("x")), sender=text),
    "a peer's name": lambda text: greeting(name=text),
    "its session": lambda text: greeting(session=text),
    "a name in the roster": lambda text: envelope(replace(HELLO, roster=(replace(INFO, name=text),))),
    "blamed": lambda text: envelope(messages.Failed("l", 1, ATTEMPT, text, "no")),
    "leader": lambda text: envelope(messages.Prepare("l", 1, Attempt(1, text))),
    "a member": lambda text: envelope(messages.Decide(replace(COMMIT, members=(text,)))),
    "a voter": lambda text: envelope(messages.Propose(replace(PROPOSAL, voters=(text,)))),
    "the peer of a stream": lambda text: StreamHeader("s", text, "i", "l", 1, ATTEMPT),
    "the peer that fetches": lambda text: FetchRequest("s", text, "d"),
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("place", NAMED.values(), ids=NAMED)
def test_a_name_that_no_user_could_give_is_refused(place, text):
    with pytest.raises(ConfigurationError, match="name="):
        resolve({"name": text}, environment={})
    if place is NAMED["leader"] and not text:
        return  # the attempt before the first one has none
    with pytest.raises(ExchangeError, match="which is not a name|exceeds the limit"):
        arrives(place(text))


@pytest.mark.parametrize("name", ["a", "site 1", "h\u00f4pital.nord-2", "\u533b\u9662", "a" * 128, "peer_0"])
@pytest.mark.parametrize("place", NAMED.values(), ids=NAMED)
def test_a_name_that_a_user_may_give_arrives(place, name):
    assert resolve({"name": name}, environment={}).settings.name == name
    assert arrives(place(name)) == place(name)


ELSEWHERE = {
    "address": lambda text: greeting(address=text),
    "address of the envelope": lambda text: replace(envelope(Leave("x")), address=text),
    "incarnation": lambda text: greeting(incarnation=text),
    "setting": lambda text: greeting(settings=((text, "1"),)),
    "dtype": lambda text: envelope(replace(HELLO, schema=(TensorLine("w", (), text, "weight"),))),
    "kind": lambda text: envelope(replace(HELLO, schema=(TensorLine("w", (), "float32", text),))),
}
PRINTED = {name: text for name, text in HOSTILE.items() if name not in ("markup", "dots", "path", "option")}


@pytest.mark.parametrize("text", PRINTED.values(), ids=PRINTED)
@pytest.mark.parametrize("place", ELSEWHERE.values(), ids=ELSEWHERE)
def test_other_words_are_short_and_of_printable_ascii(place, text):
    if text.startswith("[link"):
        text = f"{text} "
    with pytest.raises(ExchangeError):
        arrives(place(text))


DIGESTS = {
    "digest": lambda text: FetchRequest("s", "p", text),
    "fingerprint": lambda text: greeting(fingerprint=text),
    "lineage": lambda text: StreamHeader("s", "p", "i", text, 1, ATTEMPT),
    "parent": lambda text: envelope(replace(OFFER, parent=text)),
    "root": lambda text: envelope(replace(OFFER, stats=replace(STATS, root=text))),
    "previous": lambda text: envelope(replace(OFFER, previous=text)),
    "a slice": lambda text: envelope(messages.Ready("l", 1, ATTEMPT, "d", (), (text,))),
    "a record": lambda text: envelope(messages.Evidence(replace(PROOF, record=text))),
    "another record": lambda text: envelope(messages.Evidence(replace(PROOF, other_record=text))),
    "settings": lambda text: envelope(messages.Decide(replace(COMMIT, settings=text))),
    "records after": lambda text: FetchRequest("s", "p", "d", records=True, after=text),
}


@pytest.mark.parametrize("text", [text for text in HOSTILE.values() if text not in ("", "..", "-a")])
@pytest.mark.parametrize("place", DIGESTS.values(), ids=DIGESTS)
def test_digests_are_short_identifiers(place, text):
    with pytest.raises(ExchangeError):
        arrives(place(text))


FREE = {
    "tensor": (lambda text: envelope(replace(HELLO, schema=(TensorLine(text, (), "float32", "weight"),))), 512),
    "value of a setting": (lambda text: greeting(settings=(("share", text),)), 4096),
}


@pytest.mark.parametrize(("place", "most"), FREE.values(), ids=FREE)
def test_free_text_is_printable_and_bounded(place, most):
    for text in ("", "block.1/conv[2]:0", "\u5c64" * most):
        assert arrives(place(text)) == place(text)
    for text in ("a\nb", "a\x1b[2Jb", "a\u202eb", "a" * (most + 1)):
        with pytest.raises(ExchangeError, match="which is not the"):
            arrives(place(text))


@pytest.mark.parametrize(
    "address", ["127.0.0.1:7000", "[::1]:7000", "site-1@10.0.0.1:7000", "memory:1", "h" * 295 + ":7000"]
)
def test_addresses_arrive(address):
    assert arrives(greeting(address=address)) == greeting(address=address)


@pytest.mark.parametrize(
    ("sent", "told"),
    [
        ("\x1b[31mred\x07\r\nforged\u202e\u2028end", r"\x1b[31mred\x07\r\nforged\u202e\u2028end"),
        ("x" * 10**6, "x" * MAX_SHOWN + "\u2026"),
        ("\x1b" * 10**6, r"\x1b" * (MAX_SHOWN // 4) + "\u2026"),
        ("a file named \udcff", r"a file named \udcff"),
        ("[red]a[/]", "[red]a[/]"),
    ],
    ids=["codes", "long", "long and escaped", "lone surrogate", "markup"],
)
@pytest.mark.parametrize(
    "message",
    [
        Leave,
        lambda text: messages.Refuse(text, final=True),
        lambda text: messages.Failed("l", 1, ATTEMPT, "b", text),
        lambda text: messages.Abort("l", 1, ATTEMPT, text),
    ],
    ids=["Leave", "Refuse", "Failed", "Abort"],
)
def test_a_reason_arrives_escaped_and_cut(message, sent, told):
    assert arrives(envelope(message(sent))).message.reason == told


def test_a_reason_is_escaped_by_the_receiver_too():
    data = swarm_pb2.Envelope(
        session="s", sender="p", incarnation="i", address="x:1", leave=swarm_pb2.Leave(reason="\x1b[2J" * 1000)
    ).SerializeToString()
    reason = wire.decode(Envelope, data).message.reason
    assert reason.isprintable()
    assert len(reason) == MAX_SHOWN + 1


NUMBERS = {
    "round": lambda number: StreamHeader("s", "p", "i", "l", number, ATTEMPT),
    "counter": lambda number: StreamHeader("s", "p", "i", "l", 1, Attempt(number, "a")),
    "joined weight": lambda number: greeting(weight=number),
    "offered weight": lambda number: envelope(replace(OFFER, stats=replace(STATS, weight=number))),
    "weight in a record": lambda number: envelope(messages.Decide(replace(COMMIT, weights=(number,)))),
    "weight in a group": lambda number: envelope(
        messages.Propose(replace(PROPOSAL, entries=(messages.Entry("a", number, PeerStatus.TRAINING),)))
    ),
    "round of an origin": lambda number: envelope(
        messages.Decide(replace(COMMIT, origins=(Origin("l", number, majority=True),)))
    ),
    "round that is asked for": lambda number: envelope(messages.Ask("l", number)),
    "round of a proof": lambda number: envelope(messages.Evidence(replace(PROOF, round=number))),
    "counter of a certificate": lambda number: envelope(
        messages.Decide(replace(COMMIT, certificate=QuorumCertificate(Attempt(number, "a"), ())))
    ),
    "interval": lambda number: envelope(messages.Decide(replace(COMMIT, sync=SyncState(number)))),
    "steps": lambda number: envelope(replace(OFFER, stats=replace(STATS, steps=number))),
    "expects": lambda number: greeting(expects=number),
    "shape": lambda number: envelope(replace(HELLO, schema=(TensorLine("w", (number,), "float32", "weight"),))),
    "part": lambda number: FetchRequest("s", "p", "d", number, 2),
    "parts": lambda number: FetchRequest("s", "p", "d", 0, number),
    "port": lambda number: messages.DataChannelOffer(number, b"token"),
}


@pytest.mark.parametrize("number", [-1, -(2**63), FAR])
@pytest.mark.parametrize("place", NUMBERS.values(), ids=NUMBERS)
def test_numbers_have_a_range(place, number):
    assert arrives(place(1)) == place(1)
    with pytest.raises(ExchangeError, match="allowed is a number from"):
        arrives(place(number))


@pytest.mark.parametrize("weight", [0, 100, MAX_SAMPLES])
def test_every_weight_that_a_user_may_give_arrives(weight):
    assert arrives(greeting(weight=weight)) == greeting(weight=weight)
    with pytest.raises(ExchangeError, match=f"weight is {MAX_SAMPLES + 1}"):
        arrives(greeting(weight=MAX_SAMPLES + 1))


@pytest.mark.parametrize("field", ["delta_norm", "residual"])
def test_a_norm_is_not_negative(field):
    for allowed in (0.0, 1e300, float("inf")):
        offer = envelope(replace(OFFER, stats=replace(STATS, **{field: allowed})))
        assert arrives(offer) == offer
    with pytest.raises(ExchangeError, match=f"{field} is -1"):
        arrives(envelope(replace(OFFER, stats=replace(STATS, **{field: -1.0}))))


def offered(**stats: float) -> Envelope:
    return envelope(replace(OFFER, stats=replace(STATS, **stats)))


FLOATS = {
    **{
        field: (lambda number, field=field: offered(**{field: number}))
        for field in ("delta_norm", "residual", "signal", "score", "own_score", "best_score")
    },
    "norm": lambda number: envelope(
        messages.Propose(replace(PROPOSAL, entries=(messages.Entry("a", 1, PeerStatus.TRAINING, number),)))
    ),
    "squared": lambda number: envelope(messages.Ready("l", 1, ATTEMPT, "d", (messages.PartialNorm("a", number),))),
    "reference": lambda number: envelope(messages.Decide(replace(COMMIT, sync=SyncState(1, number)))),
    "score of a record": lambda number: envelope(messages.Decide(replace(COMMIT, best=Best(1, "d", number)))),
}


@pytest.mark.parametrize("place", FLOATS)
def test_a_number_that_is_none_is_refused_by_name(place: str) -> None:
    assert arrives(FLOATS[place](1.5)) == FLOATS[place](1.5)
    for number in (math.nan, -math.inf):
        with pytest.raises(ExchangeError, match=f"{place.split(maxsplit=1)[0]} is {number}: allowed is a number from"):
            arrives(FLOATS[place](number))


@pytest.mark.parametrize("place", ["signal", "score", "own_score", "best_score", "reference", "score of a record"])
def test_a_figure_of_a_training_is_not_huge(place: str) -> None:
    message = FLOATS[place]
    for number in (MAX_FIGURE, -MAX_FIGURE):
        assert arrives(message(number)) == message(number)
        with pytest.raises(ExchangeError, match="allowed is a number from"):
            arrives(message(2 * number))
    if place in {"reference", "score of a record"}:
        with pytest.raises(ExchangeError, match="allowed is a number from"):
            arrives(message(math.inf))
    else:
        assert arrives(message(math.inf)) == message(math.inf)


def test_every_number_has_a_range_without_nan() -> None:
    for name, allowed in RANGES.items():
        assert allowed.lowest > -math.inf, name
        with pytest.raises(ExchangeError, match=f"{name} is nan"):
            check_number(name, math.nan, allowed)


@pytest.mark.parametrize(
    ("value", "told"),
    [(0.5, 0.5), (-1e100, -1e100), (1e101, math.inf), (-math.inf, math.inf), (math.nan, math.inf), (np.float32(2), 2)],
)
def test_a_figure_is_told_as_a_number_in_its_range_or_as_none(value: float, told: float) -> None:
    assert type(figure(value)) is float
    assert figure(value) == told


def test_a_member_stands_in_a_list_once():
    with pytest.raises(ExchangeError, match="members names a peer twice"):
        arrives(envelope(messages.Decide(replace(COMMIT, members=("a", "a")))))
    with pytest.raises(ExchangeError, match="gone names a peer twice"):
        arrives(envelope(replace(OFFER, gone=("a", "a"))))


SIGNED = {
    "offer": lambda text: envelope(replace(OFFER, signature=text)),
    "ready": lambda text: envelope(messages.Ready("l", 1, ATTEMPT, "d", (), (), text)),
    "accepted": lambda text: envelope(messages.Accepted("l", 1, ATTEMPT, text)),
    "promise": lambda text: envelope(messages.Promise("l", 1, ATTEMPT, None, "", None, text)),
    "certificate": lambda text: envelope(
        messages.Decide(replace(COMMIT, certificate=replace(CERTIFICATE, signatures=(Signature("a", text),))))
    ),
    "promise of a certificate": lambda text: envelope(
        messages.Decide(
            replace(COMMIT, certificate=replace(CERTIFICATE, promises=(SignedPromise("a", None, "", text),)))
        )
    ),
    "proof": lambda text: envelope(messages.Evidence(replace(PROOF, signature=text, other_signature=text))),
}
KEYED = {
    "offer": lambda text: envelope(replace(OFFER, key=text)),
    "record": lambda text: envelope(messages.Decide(replace(COMMIT, keys=(text,)))),
    "proposal": lambda text: envelope(messages.Propose(replace(PROPOSAL, keys=(text,)))),
    "credential": lambda text: envelope(replace(HELLO, credential=Credential("p", text))),
    "proof": lambda text: envelope(messages.Evidence(replace(PROOF, key=text))),
}


@pytest.mark.parametrize("place", SIGNED.values(), ids=SIGNED)
def test_a_signature_has_128_hexadecimal_digits_or_none(place):
    for text in ("", SIGNATURE):
        assert arrives(place(text)) == place(text)
    for text in (SIGNATURE[1:], SIGNATURE + "0", SIGNATURE.upper(), "x" * 128, "a" * 10**6):
        with pytest.raises(ExchangeError, match="which is not a signature|exceeds the limit"):
            arrives(place(text))


@pytest.mark.parametrize("place", KEYED.values(), ids=KEYED)
def test_a_key_has_64_hexadecimal_digits(place):
    assert arrives(place(KEY)) == place(KEY)
    for text in ("", KEY[1:], KEY + "0", KEY.upper(), "x" * 64, "a" * 10**6):
        with pytest.raises(ExchangeError, match="which is not a key|exceeds the limit"):
            arrives(place(text))


def test_a_credential_has_a_certificate_and_a_proof_in_base64():
    def place(certificate, proof):
        return envelope(replace(HELLO, credential=Credential("p", KEY, certificate, proof)))

    for certificate, proof in (("", ""), ("A" * 16384, "b" * 512), ("a+/=", "a+/=")):
        assert arrives(place(certificate, proof)) == place(certificate, proof)
    for certificate in ("A" * 16385, "a b", "a\n", "<a>"):
        with pytest.raises(ExchangeError, match="which is not a certificate"):
            arrives(place(certificate, ""))
    for proof in ("A" * 513, "a b"):
        with pytest.raises(ExchangeError, match="which is not a signature"):
            arrives(place("", proof))


# Size ----------------------------------------------------------------------------------------------------------------


def test_the_greeting_of_a_large_model_arrives():
    name = "model.layers.{}.block_sparse_moe.experts.{}.w1.weight"
    schema = tuple(
        TensorLine(name.format(number // 100, number % 100), (14336, 4096), "bfloat16", "parameter")
        for number in range(limits.MAX_TENSORS)
    )
    roster = tuple(
        replace(INFO, name=f"hospital-{number}", address=f"10.0.0.{number}:7000") for number in range(limits.MAX_ROSTER)
    )
    hello = envelope(Hello(replace(INFO, versions=here()), schema, roster, COMMIT, wants_reply=True))
    assert arrives(hello) == hello


@pytest.mark.parametrize(
    ("tensors", "name"),
    [
        (10, "conv[0]/kernel:0"),
        (10, "\u5c64" * 5000),
        (limits.MAX_TENSORS, "x" * 5000),
        (limits.MAX_TENSORS + 10_000, "\u5c64" * 200),
        (100, "\x1b[2J\n\u202e" * 400),
    ],
    ids=["ordinary", "long", "many and long", "too many", "not printable"],
)
def test_the_greeting_of_any_model_can_be_sent(tensors, name):
    schema = Schema(tuple(TensorSpec(name, (3, 3), "bfloat16") for _ in range(tensors)))
    lines = schema_lines(schema)
    hello = envelope(replace(HELLO, schema=lines, roster=(replace(INFO, name="r"),) * limits.MAX_ROSTER))
    assert arrives(hello) == hello
    assert len(lines) == min(tensors, limits.MAX_TENSORS)
    if tensors == 10 and len(name) < limits.MAX_TENSOR_NAME:
        assert {line.name for line in lines} == {name}


def test_a_proposal_to_a_thousand_peers_arrives():
    peers = tuple(f"{number:04}".ljust(60, "x") for number in range(limits.MAX_PEERS))
    entries = tuple(messages.Entry(peer, 100, PeerStatus.SNAPSHOT, 0.5, 0.25) for peer in peers)
    digest = "0a" * 32
    proposal = replace(
        PROPOSAL,
        voters=peers,
        members=peers,
        entries=entries,
        keys=tuple(f"{number:064}" for number in range(limits.MAX_PEERS)),
        offers=tuple(
            replace(
                OFFER,
                parent=digest,
                previous=digest,
                stats=replace(STATS, peer=peer, delta_norm=0.5, residual=0.25, signal=0.5, steps=10**6, root=digest),
            )
            for peer in peers
        ),
        promises=tuple(SignedPromise(peer, ATTEMPT, digest, SIGNATURE) for peer in peers),
    )
    ready = messages.Readiness(ATTEMPT, tuple(Signature(peer, SIGNATURE) for peer in peers))
    for message in (
        messages.Propose(proposal),
        messages.Accept(proposal, digest, ready),
        messages.Promise("l", 1, ATTEMPT, proposal, digest, ready, SIGNATURE),
        messages.Decide(
            replace(COMMIT, members=peers, keys=proposal.keys, certificate=QuorumCertificate(ATTEMPT, ready.signatures))
        ),
        messages.Ready(
            "l", 1, ATTEMPT, digest, tuple(messages.PartialNorm(peer, 0.5) for peer in peers), (digest,) * 1024
        ),
    ):
        assert arrives(envelope(message)) == envelope(message)


@pytest.mark.parametrize("kind", [FetchRequest, StreamHeader])
def test_a_record_beside_messages_is_short(kind):
    message = (
        swarm_pb2.FetchRequest(digest="d" * 20_000)
        if kind is FetchRequest
        else swarm_pb2.StreamHeader(lineage="l" * 20_000)
    )
    with pytest.raises(ExchangeError, match="exceeds the limit of 16384"):
        wire.decode(kind, message.SerializeToString())


def test_what_exceeds_a_limit_is_not_sent():
    many = tuple(TensorLine("w" * 500, (), "float32", "weight") for _ in range(10_000))
    with pytest.raises(ExchangeError, match=f"a Hello of .* bytes exceeds the limit of {MAX_MESSAGE_BYTES}"):
        wire.encode(envelope(replace(HELLO, schema=many)))


def framed(number: int, content: bytes) -> bytes:
    """One field of a protobuf message, as bytes."""
    return varint(number << 3 | 2) + varint(len(content)) + content


def varint(value: int) -> bytes:
    data = b""
    while value > 127:
        data, value = data + bytes([value & 127 | 128]), value >> 7
    return data + bytes([value])


def repeated(record: str, field: str) -> int:
    """The number of a field."""
    return swarm_pb2.DESCRIPTOR.message_types_by_name[record].fields_by_name[field].number


def forged(message: str, content: bytes) -> bytes:
    number = swarm_pb2.Envelope.DESCRIPTOR.fields_by_name[message].number
    outer = swarm_pb2.Envelope(session="s", sender="p", incarnation="i", address="x:1").SerializeToString()
    return outer + framed(number, content)


PEER = swarm_pb2.PeerInfo(name="p", incarnation="i", address="x:1", session="s").SerializeToString()
LINE = swarm_pb2.TensorLine(name="w", dtype="f", kind="k", shape=[300] * limits.MAX_DIMENSIONS).SerializeToString()
BOMBS = {
    "tensors": forged("hello", framed(1, PEER) + framed(2, b"") * 2_000_000),
    "peers": forged("hello", framed(1, PEER) + framed(3, b"") * 2_000_000),
    "settings": forged("hello", framed(1, PEER + framed(6, b"") * 2_000_000)),
    "settings of a peer": forged("hello", framed(1, PEER) + framed(3, PEER + framed(6, b"") * 2_000_000)),
    "dimensions": forged("hello", framed(1, PEER) + framed(2, LINE) * 28_000),
    "dimensions of a tensor": forged("hello", framed(1, PEER) + framed(2, framed(2, b"\x01" * 4_000_000))),
    "members": forged("decide", framed(1, framed(4, b"") * 2_000_000)),
    "entries": forged("propose", framed(1, framed(7, b"") * 2_000_000)),
    "norms": forged("ready", framed(5, b"") * 2_000_000),
    "offers": forged("propose", framed(1, framed(repeated("Proposal", "offers"), b"") * 900_000)),
    "promises": forged("propose", framed(1, framed(repeated("Proposal", "promises"), b"") * 900_000)),
    "signatures": forged("decide", framed(1, framed(repeated("Commit", "certificate"), framed(2, b"") * 900_000))),
    "gone": forged("offer", framed(repeated("Offer", "gone"), b"") * 7_000),
    "a reason": forged("leave", framed(1, b"x" * 4_000_000)),
    "messages": b"".join(framed(10, framed(1, PEER)) for _ in range(100_000)),
    "unknown fields": forged("hello", framed(1, PEER) + framed(20, b"") * 1_000_000),
}


@pytest.mark.parametrize("data", BOMBS.values(), ids=BOMBS)
def test_a_message_of_many_small_things_takes_little_memory(data):
    assert len(data) < MAX_MESSAGE_BYTES + 1000
    tracemalloc.start()
    try:
        with pytest.raises(ExchangeError):
            wire.decode(Envelope, data)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 32 * 2**20


def test_the_largest_greeting_takes_little_memory():
    # One character outside the usual planes makes Python store four bytes for each.
    line = TensorLine("x" * 90 + "\U0001f600", (300, 300), "float32", "parameter")
    data = wire.encode(envelope(replace(HELLO, schema=(line,) * limits.MAX_TENSORS)))
    tracemalloc.start()
    try:
        kept = wire.decode(Envelope, data)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(kept.message.schema) == limits.MAX_TENSORS
    assert peak < 32 * 2**20


@pytest.mark.parametrize(
    "tail",
    [b"\x0b", b"\xff" * 11, b"\x0a\x05ab", b"\x09\x01", b"\x0d\x01", framed(1, b"s")],
    ids=[
        "a group",
        "an endless number",
        "cut off",
        "cut off, 8 bytes",
        "cut off, 4 bytes",
        "a field that stands twice",
    ],
)
def test_an_envelope_of_another_form_is_refused(tail):
    with pytest.raises(ExchangeError, match="what arrived is no Envelope"):
        wire.decode(Envelope, wire.encode(envelope(Leave("x"))) + tail)
