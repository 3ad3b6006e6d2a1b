from __future__ import annotations

import types
import typing
from dataclasses import fields, is_dataclass, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarm import messages
from swarm.errors import ExchangeError
from swarm.messages import Envelope, FetchRequest, Message, StreamHeader
from swarm.records import Attempt, Commit, PeerInfo, PeerStatus, RecordKind, SyncState
from swarm.text import is_name
from swarm.transport.grpc import swarm_pb2, wire
from swarm.versions import NEWEST, Versions

PRINTABLE = st.characters(codec="utf-8", exclude_categories=("C", "Z"))
ASCII = st.characters(min_codepoint=0x21, max_codepoint=0x7E)
NAME = st.from_regex(r"[a-zA-Z0-9_\u00e9\u4e2d][\w. -]{0,40}\w", fullmatch=True).filter(is_name)
DIGEST = st.text("0123456789abcdef", max_size=64)
COUNT = st.integers(0, 2**31 - 1)
SIZE = st.floats(0, allow_nan=False)
KEY = st.text("0123456789abcdef", min_size=64, max_size=64)
SIGNATURE = st.just("") | st.text("0123456789abcdef", min_size=128, max_size=128)
BASE64 = st.text("abcXYZ0189+/=", max_size=512)
NAMES = st.lists(NAME, max_size=8, unique=True).map(tuple)
FIELDS = {
    **dict.fromkeys(
        ("session", "sender", "peer", "leader", "blamed", "PeerInfo.name", "ReachAnswer.name", "codec"), NAME
    ),
    **dict.fromkeys(("members", "voters", "group", "contributors", "gone"), NAMES),
    **dict.fromkeys(("rule", "ReachAnswer.name"), st.just("") | NAME),
    **dict.fromkeys(("lineage", "parent", "digest", "root", "fingerprint"), DIGEST),
    **dict.fromkeys(("previous", "record", "other_record", "after", "Commit.settings", "Proposal.settings"), DIGEST),
    "slices": st.lists(DIGEST, max_size=8).map(tuple),
    "key": KEY,
    "keys": st.lists(KEY, max_size=8, unique=True).map(tuple),
    **dict.fromkeys(("signature", "other_signature", "value"), SIGNATURE),
    **dict.fromkeys(("Credential.certificate", "Credential.proof"), BASE64),
    **dict.fromkeys(("Commit.kind", "Proposal.kind"), st.sampled_from(RecordKind)),
    "incarnation": st.text("0123456789abcdef", min_size=1, max_size=24),
    "address": st.text(ASCII, min_size=1, max_size=300),
    "ranks": st.lists(st.text(ASCII, min_size=1, max_size=300), max_size=8, unique=True).map(tuple),
    "TensorLine.name": st.text(PRINTABLE, max_size=512),
    **dict.fromkeys(("dtype", "kind"), st.text(ASCII, min_size=1, max_size=20)),
    "settings": st.lists(
        st.tuples(st.text(ASCII, min_size=1, max_size=64), st.text(PRINTABLE, max_size=4096)), max_size=64
    ).map(tuple),
    "reason": st.text(PRINTABLE, max_size=1000),
    "release": st.text(PRINTABLE, max_size=40),
    **dict.fromkeys(("round", "counter", "expects", "part", "newest", "oldest", "protocol", "since"), COUNT),
    "versions": st.builds(
        Versions, st.integers(NEWEST, 2**31 - 1), st.integers(0, NEWEST), st.text(PRINTABLE, max_size=40)
    ),
    "parts": st.integers(1, 2**31 - 1),
    "port": st.integers(1, 65535),
    "steps": st.integers(0, 2**53),
    "interval": st.integers(1, 2**31 - 1),
    "weight": st.integers(0, 10**9),
    "weights": st.lists(st.integers(0, 10**9), max_size=8).map(tuple),
    "shape": st.lists(st.integers(0, 2**48), max_size=4).map(tuple),
    **dict.fromkeys(("norm", "residual", "squared", "delta_norm"), SIZE),
    **dict.fromkeys(
        ("signal", "score", "own_score", "best_score"), st.none() | st.just(float("inf")) | st.floats(-1e100, 1e100)
    ),
    "reference": st.none() | st.floats(-1e100, 1e100),
    "Best.score": st.floats(-1e100, 1e100),
}
"""Whatever an honest peer may send, by field."""


def records(kind):
    """Any instance of ``kind``, every field drawn from what its name allows, or by its type."""
    if typing.get_origin(kind) is tuple:
        return st.lists(records(typing.get_args(kind)[0]), max_size=3).map(tuple)
    if typing.get_origin(kind) in (types.UnionType, typing.Union):
        return st.one_of(*(records(each) for each in typing.get_args(kind)))
    if not is_dataclass(kind):
        return st.from_type(kind)
    hints = typing.get_type_hints(kind)
    return st.builds(
        kind,
        **{
            name: records(hint)
            if is_dataclass(hint)
            else FIELDS.get(f"{kind.__name__}.{name}", FIELDS.get(name)) or records(hint)
            for name, hint in hints.items()
        },
    )


ENVELOPE = {"session": "s", "sender": "p", "incarnation": "i", "address": "a"}
CARRIED_BESIDE = typing.get_args(wire.Alone)


@pytest.mark.parametrize("kind", [*typing.get_args(Message), *CARRIED_BESIDE], ids=lambda kind: kind.__name__)
def test_what_is_encoded_comes_back(kind):
    @settings(max_examples=25, deadline=None)
    @given(records(kind))
    def round_trip(value):
        if kind not in CARRIED_BESIDE:
            value = Envelope("session", "sender", "incarnation", "address", value)
        back = wire.decode(type(value), wire.encode(value))
        assert back == value
        assert typed(back) == typed(value)

    round_trip()


def typed(value):
    """The shape of a value, down to the type of every part."""
    if is_dataclass(value):
        return type(value), [typed(getattr(value, field.name)) for field in fields(value)]
    if isinstance(value, tuple):
        return [typed(item) for item in value]
    return type(value)


def test_every_message_class_can_travel():
    defined = {
        kind for kind in vars(messages).values() if isinstance(kind, type) and kind.__module__ == messages.__name__
    }
    assert defined <= set(wire._RECORDS)


@pytest.mark.parametrize("loss", [None, 0.0, -1e100])
def test_absent_and_zero_are_told_apart(loss):
    envelope = decide(SyncState(3, loss))
    assert wire.decode(Envelope, wire.encode(envelope)).message.commit.sync.reference == loss


def test_settings_keep_their_order():
    info = PeerInfo(
        name="a", incarnation="i", address="x:1", session="s", settings=(("b", "1"), ("a", "2"), ("b", "3"))
    )
    hello = messages.Hello(info, (), (info, info), None, wants_reply=True)
    assert wire.decode(Envelope, wire.encode(envelope_of(hello))).message == hello


@pytest.mark.parametrize("kind", [Envelope, StreamHeader, FetchRequest])
@pytest.mark.parametrize("data", [b"\xff", b"\x0a\x05ab", b"\x0a\x02\xff\xfe"], ids=["garbage", "cut", "not utf-8"])
def test_garbage_is_refused(kind, data):
    with pytest.raises(ExchangeError, match=kind.__name__):
        wire.decode(kind, data)


def test_an_envelope_without_a_message_is_refused():
    with pytest.raises(ExchangeError, match="no message"):
        wire.decode(Envelope, swarm_pb2.Envelope(**ENVELOPE).SerializeToString())


def test_a_missing_part_is_named():
    data = swarm_pb2.Envelope(**ENVELOPE, ready=swarm_pb2.Ready(lineage="l", round=3)).SerializeToString()
    with pytest.raises(ExchangeError, match="Ready lacks its attempt"):
        wire.decode(Envelope, data)


def test_an_unknown_field_is_refused():
    unknown = b"\xfa\x01\x01x"  # field 31, one byte
    with pytest.raises(ExchangeError, match="FetchRequest holds fields"):
        wire.decode(FetchRequest, wire.encode(FetchRequest("s", "p", "d")) + unknown)


def test_an_unknown_enum_value_is_named_with_those_allowed():
    entry = swarm_pb2.Entry(peer="a", weight=1, status="asleep")
    sync = swarm_pb2.SyncState(interval=1)
    proposal = swarm_pb2.Proposal(attempt=swarm_pb2.Attempt(), sync=sync, entries=[entry], codec="exact")
    data = swarm_pb2.Envelope(**ENVELOPE, propose=swarm_pb2.Propose(proposal=proposal)).SerializeToString()
    with pytest.raises(ExchangeError, match=f"'asleep' is no PeerStatus: expected {', '.join(PeerStatus)}"):
        wire.decode(Envelope, data)


@pytest.mark.parametrize(
    "header",
    [
        StreamHeader("s", "p", "i", "l", 2**63, Attempt(1, "p")),
        StreamHeader("s", "p", "i", "l", 1.5, Attempt(1, "p")),
        StreamHeader("s", "p", "i", "l", 1, SyncState(1)),
        StreamHeader("s", "\ud800", "i", "l", 1, Attempt(1, "p")),
    ],
    ids=["too large", "no integer", "another record", "no text"],
)
def test_what_the_wire_cannot_carry_is_refused_before_it_is_sent(header):
    with pytest.raises(ExchangeError, match="StreamHeader cannot be sent"):
        wire.encode(header)


def decide(sync: SyncState) -> Envelope:
    commit = Commit(lineage="l", round=1, digest="d", members=("a", "b"), group=("a",), contributors=(), sync=sync)
    return envelope_of(messages.Decide(commit))


def envelope_of(message: Message) -> Envelope:
    return replace(Envelope("s", "p", "i", "a", message), sender="q")
