"""Records as lines of JSON: what is written comes back, and nothing else does."""

from __future__ import annotations

import json
import tracemalloc
from dataclasses import replace
from random import Random
from typing import Any

import pytest

from swarm import limits
from swarm.certification import encoding
from swarm.certification.encoding import decode_record, encode_record
from swarm.certification.statements import canonical, record_hash
from swarm.messages import Decide, Envelope
from swarm.records import (
    Attempt,
    Best,
    Credential,
    Origin,
    Proof,
    QuorumCertificate,
    Refusal,
    Signature,
    SignedPromise,
    SyncState,
)
from swarm.transport.grpc import wire
from tests.certification.chains import Signatories

KEY, SIGNATURE, HASH = "a" * 64, "b" * 128, "c" * 64
ATTEMPT = Attempt(3, "ada")
PROOF = Proof("bob", KEY, "line", 4, ATTEMPT, HASH, SIGNATURE, Attempt(4, "bob"), HASH, ATTEMPT, SIGNATURE)
WHOLE = replace(
    Signatories().founding(),
    credentials=(Credential("ada", KEY, "Zm9v", "YmFy"),),
    refused=(Refusal("cyd", "its weights are not finite"),),
    proofs=(PROOF,),
    origins=(Origin("line", 0, majority=True), Origin("other", 7, majority=False)),
    sync=SyncState(8, 0.25),
    best=Best(3, "model", 0.5, since=2, stop=True),
    certificate=QuorumCertificate(
        ATTEMPT, (Signature("ada", SIGNATURE),), (SignedPromise("bob", ATTEMPT, HASH, SIGNATURE),)
    ),
)


def changed(**changes: Any) -> bytes:
    """``WHOLE`` with other fields, as it would be written."""
    return canonical(json.loads(encode_record(WHOLE)) | changes)


def test_a_record_comes_back_with_its_certificate() -> None:
    found = decode_record(encode_record(WHOLE))
    assert found == WHOLE
    assert found.certificate == WHOLE.certificate
    assert record_hash(found) == record_hash(WHOLE)
    assert b"\n" not in encode_record(WHOLE)


def test_a_record_holds_on_disk_what_it_may_hold_in_a_message() -> None:
    envelope = Envelope("heart", "ada", "i", "x:1", Decide(WHOLE))
    assert wire.decode(Envelope, wire.encode(envelope)).message.commit.certificate == WHOLE.certificate


def test_a_record_without_a_best_model_comes_back_without_one() -> None:
    plain = replace(WHOLE, best=None)
    assert decode_record(encode_record(plain)) == plain
    assert record_hash(plain) != record_hash(WHOLE)


FOREIGN: list[Any] = [[], {}, "\x1b", -1, True, 1.5, ["\x1b"], [[]], [None], "x" * 200]
OWN = json.loads(encode_record(WHOLE))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (name, value)
        for name in OWN
        for value in FOREIGN
        if not (type(value) is type(OWN[name]) and value in (True, []))  # which are allowed there
    ],
)
def test_a_field_of_another_kind_is_refused(name: str, value: object) -> None:
    with pytest.raises(ValueError, match="this is no Commit: "):
        decode_record(changed(**{name: value}))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"round": limits.MAX_COUNT + 1}, "round is 2147483648: allowed is"),
        ({"members": ["ada", "ada"]}, "members names a peer twice"),
        ({"keys": [KEY, KEY]}, "keys names a peer twice"),
        ({"members": [f"p{number}" for number in range(1025)]}, "members has 1025 entries"),
        ({"weights": [10**9 + 1]}, "weights is 1000000001"),
        ({"keys": ["a" * 63]}, "which is not a key"),
        ({"lineage": "../../etc"}, "which is not a digest"),
        ({"kind": "coup"}, "kind is none of round, founding, fork, restart"),
        ({"sync": {"interval": 0, "reference": None}}, "interval is 0"),
        ({"sync": {"interval": 4, "reference": 10**300}}, "reference is no float"),
        ({"sync": {"interval": 4}}, "the fields of SyncState are interval, reference"),
        ({"refused": [{"peer": "ada", "reason": "a\nb"}]}, "not written as Swarm writes it"),
        ({"refused": [{"peer": "ada", "reason": "a" * 1001}]}, "not written as Swarm writes it"),
        ({"extra": 1}, "the fields of Commit are"),
        ({"best": None}, "not written as Swarm writes it"),
        (
            {"best": {"round": 1, "digest": "m", "score": 0.5}},
            "the fields of Best are round, digest, score, since, stop",
        ),
        ({"best": {"round": 1, "digest": "m", "score": 1, "since": -1, "stop": False}}, "since is -1"),
        (
            {"certificate": {"attempt": None, "signatures": [], "promises": []}},
            "the fields of Attempt are counter, leader",
        ),
    ],
)
def test_the_limits_are_those_of_messages(change: dict[str, object], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        decode_record(changed(**change))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"null",
        b"[]",
        b"\xff",
        b"\xef\xbb\xbf" + encode_record(WHOLE),
        encode_record(WHOLE).decode().encode("utf-16"),
        encode_record(WHOLE) + b" ",
        b" " + encode_record(WHOLE),
        json.dumps(json.loads(encode_record(WHOLE))).encode(),
        encode_record(WHOLE).replace(b'"round":0', b'"round":0,"round":0', 1),
        encode_record(WHOLE).replace(b'"round":0', b'"round":-0', 1),
        encode_record(WHOLE).replace(b"0.25", b"0.250", 1),
        encode_record(WHOLE).replace(b'"ada"', b'"\\u0061da"', 1),
        encode_record(WHOLE)[:-1],
    ],
)
def test_there_is_one_text_for_a_record(data: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - any, and no other error
        decode_record(data)


@pytest.mark.parametrize(
    "data",
    [
        b"[" * 10**6,
        b'{"a":' * 10**5,
        b"[" + b"{}," * 10**6 + b"{}]",
        b'{"members":[' + b'"",' * 10**6 + b'""]}',
        b'"' + b"a" * (encoding.MAX_BYTES + 1) + b'"',
        b"1" * 10**6,
        b"1e999999999",
    ],
    ids=["nested", "nested objects", "many objects", "many names", "long", "digits", "exponent"],
)
def test_hostile_bytes_take_little_memory_and_give_a_value_error(data: bytes) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(ValueError) as raised:  # noqa: PT011 - any, and no other error
            decode_record(data)
        assert tracemalloc.get_traced_memory()[1] < 40 * 2**20
    finally:
        tracemalloc.stop()
    assert len(str(raised.value)) < 300


def test_a_record_of_the_most_peers_can_be_read() -> None:
    many = Signatories([f"hospital-{number:04}" for number in range(1024)])
    record = many.after(many.founding())
    assert len(encode_record(record)) < encoding.MAX_BYTES
    assert decode_record(encode_record(record)) == record


def test_no_change_of_a_byte_is_overlooked() -> None:
    """It is refused, or gives another record or certificate."""
    data, random = encode_record(WHOLE), Random(1)
    for _ in range(2000):
        place = random.randrange(len(data))
        other = data[:place] + bytes([random.randrange(256)]) + data[place + 1 :]
        try:
            found = decode_record(other)
        except ValueError:
            continue
        assert (found, found.certificate) != (WHOLE, WHOLE.certificate) or other == data
