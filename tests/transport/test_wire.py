from __future__ import annotations

import typing
from dataclasses import fields, is_dataclass, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarm import messages
from swarm.errors import ExchangeError
from swarm.messages import DataChannelOffer, DataChannelRequest, Envelope, FetchRequest, Message, StreamHeader
from swarm.records import Attempt, Commit, PeerInfo, PeerStatus, SyncState
from swarm.text import MAX_SHOWN
from swarm.transport.base import MAX_MESSAGE_BYTES
from swarm.transport.grpc import swarm_pb2, wire

TEXT = st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), max_size=20)
INTEGER = st.integers(-(2**63), 2**63 - 1)
FLOAT = st.floats(allow_nan=False)


def records(kind):
    """Any instance of ``kind``, every field drawn by its type."""
    st.register_type_strategy(str, TEXT)
    st.register_type_strategy(int, INTEGER)
    st.register_type_strategy(float, FLOAT)
    return st.from_type(kind)


CARRIED_BESIDE = (StreamHeader, FetchRequest, DataChannelRequest, DataChannelOffer)


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


@pytest.mark.parametrize("loss", [None, 0.0, float("inf")])
def test_absent_and_zero_are_told_apart(loss):
    envelope = decide(SyncState(3, loss))
    assert wire.decode(Envelope, wire.encode(envelope)).message.commit.sync.loss == loss


def test_nan_travels():
    loss = wire.decode(Envelope, wire.encode(decide(SyncState(3, float("nan"))))).message.commit.sync.loss
    assert loss != loss  # noqa: PLR0124 - what makes it NaN


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
        wire.decode(Envelope, swarm_pb2.Envelope(session="s").SerializeToString())


def test_a_missing_part_is_named():
    data = swarm_pb2.Envelope(ready=swarm_pb2.Ready(lineage="l", round=3)).SerializeToString()
    with pytest.raises(ExchangeError, match="Ready lacks its attempt"):
        wire.decode(Envelope, data)


def test_an_unknown_field_is_refused():
    unknown = b"\xfa\x01\x01x"  # field 31, one byte
    with pytest.raises(ExchangeError, match="FetchRequest holds fields"):
        wire.decode(FetchRequest, wire.encode(FetchRequest("s", "p", "d")) + unknown)


def test_an_unknown_enum_value_is_named_with_those_allowed():
    entry = swarm_pb2.Entry(peer="a", weight=1, status="asleep")
    proposal = swarm_pb2.Proposal(attempt=swarm_pb2.Attempt(), sync=swarm_pb2.SyncState(), entries=[entry])
    data = swarm_pb2.Envelope(propose=swarm_pb2.Propose(proposal=proposal)).SerializeToString()
    with pytest.raises(ExchangeError, match=f"'asleep' is no PeerStatus: expected {', '.join(PeerStatus)}"):
        wire.decode(Envelope, data)


def test_lists_are_bounded():
    line = swarm_pb2.TensorLine(shape=[1] * (wire.MAX_ITEMS + 1))
    hello = swarm_pb2.Hello(peer=swarm_pb2.PeerInfo(), schema=[line])
    with pytest.raises(ExchangeError, match="131073 entries"):
        wire.decode(Envelope, swarm_pb2.Envelope(hello=hello).SerializeToString())


HOSTILE = "\x1b[31mred\x1b]0;title\x07\r\nforged line\u202e\u2028end"
WRITTEN_OUT = r"\x1b[31mred\x1b]0;title\x07\r\nforged line\u202e\u2028end"


@pytest.mark.parametrize(
    "message",
    [
        messages.Leave(HOSTILE),
        messages.Refuse(HOSTILE, final=True),
        messages.Failed("l", 1, Attempt(1, "a"), HOSTILE, HOSTILE),
        messages.Abort("l", 1, Attempt(1, "a"), HOSTILE),
        messages.Hello(
            PeerInfo(name=HOSTILE, incarnation="i", address=HOSTILE, session=HOSTILE, settings=((HOSTILE, HOSTILE),)),
            (messages.TensorLine(HOSTILE, (1,), HOSTILE, HOSTILE),),
            (),
            None,
            wants_reply=True,
        ),
    ],
    ids=lambda message: type(message).__name__,
)
def test_no_text_that_arrives_holds_what_a_terminal_obeys(message):
    back = wire.decode(Envelope, wire.encode(Envelope(HOSTILE, HOSTILE, HOSTILE, HOSTILE, message)))
    found = texts(back)
    assert all(text.isprintable() for text in found)
    assert found.count(WRITTEN_OUT) == texts(Envelope(HOSTILE, HOSTILE, HOSTILE, HOSTILE, message)).count(HOSTILE)


def texts(value):
    """All texts in a value."""
    if isinstance(value, str):
        return [value]
    if is_dataclass(value):
        return [text for field in fields(value) for text in texts(getattr(value, field.name))]
    return [text for item in value for text in texts(item)] if isinstance(value, tuple) else []


def test_a_reason_is_cut_and_a_name_without_end_is_refused():
    back = wire.decode(Envelope, wire.encode(envelope_of(messages.Leave("x" * 100_000))))
    assert back.message.reason == "x" * MAX_SHOWN + "…"
    with pytest.raises(ExchangeError, match="a text of 65537 characters"):
        wire.decode(FetchRequest, wire.encode(FetchRequest("s", "p" * (wire.MAX_TEXT + 1), "d")))


def test_messages_are_bounded():
    large = FetchRequest("s", "p", "d" * MAX_MESSAGE_BYTES)
    with pytest.raises(ExchangeError, match=str(MAX_MESSAGE_BYTES)):
        wire.encode(large)
    with pytest.raises(ExchangeError, match=str(MAX_MESSAGE_BYTES)):
        wire.decode(FetchRequest, swarm_pb2.FetchRequest(digest=large.digest).SerializeToString())


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
