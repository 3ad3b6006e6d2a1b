"""What releases of earlier versions of the protocol send is understood here, and they understand what is sent here."""

from __future__ import annotations

import copy
import dataclasses
import json
from pathlib import Path

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.unknown_fields import UnknownFieldSet

from swarm.errors import ExchangeError
from swarm.messages import Envelope
from swarm.transport.grpc import swarm_pb2, wire
from swarm.versions import NEWEST, PROTOCOLS, Versions
from tests.transport.protocols import record

RECORDED = {
    int(path.stem.removeprefix("protocol_")): json.loads(path.read_text(encoding="utf-8"))
    for path in Path(__file__).with_name("protocols").glob("protocol_*.json")
}
OLDEST = PROTOCOLS[NEWEST].understands
ALWAYS = ("Hello", "Refuse")
"""What all versions understand: by these two peers that cannot meet tell each other so."""
MESSAGES = [
    (number, name)
    for number, recorded in RECORDED.items()
    for name in recorded["messages"]
    if number >= OLDEST or name in ALWAYS
]
ALONE = {kind.__name__: kind for kind in record.ALONE}
NAMED = bytes.fromhex(RECORDED[0]["messages"]["Hello"]["bytes"])
"""A greeting of protocol 0."""


def test_every_version_before_the_newest_is_recorded_as_long_as_it_is_understood() -> None:
    assert RECORDED.keys() >= set(range(PROTOCOLS[NEWEST].understands, NEWEST))


@pytest.mark.parametrize(("number", "name"), MESSAGES)
def test_a_message_of_an_earlier_version_is_understood(number: int, name: str) -> None:
    recorded = RECORDED[number]["messages"][name]
    value = wire.decode(ALONE.get(name, Envelope), bytes.fromhex(recorded["bytes"]))
    expected = copy.deepcopy(recorded["values"])
    if name == "Hello" and number < OLDEST:
        del expected["message"]["commit"]  # a record of another form, which nothing is made of
        assert value.message.commit is None
    assert_holds(record.values(value), expected)


def assert_holds(found: object, recorded: object) -> None:
    """All recorded values are there; fields that were added since are not looked at."""
    if isinstance(recorded, dict):
        for name, value in recorded.items():
            assert_holds(found[name], value)
    elif isinstance(recorded, list):
        assert len(found) == len(recorded)
        for one, other in zip(found, recorded, strict=True):
            assert_holds(one, other)
    else:
        assert found == recorded


@pytest.mark.parametrize(("number", "name"), [each for each in MESSAGES if each[1] != "Hello" or each[0] >= OLDEST])
def test_an_earlier_version_reads_what_is_sent_in_its_sessions(number: int, name: str) -> None:
    value = sent_in_sessions_of(number, record.samples()[name])
    message = schema_of(RECORDED[number], ALONE.get(name, Envelope).__name__)
    message.ParseFromString(wire.encode(value))
    assert unknown_in(message) <= {"Setting"}  # the one message in which peers of protocol 0 tolerate unknown fields


@pytest.mark.parametrize("number", [number for number in RECORDED if 0 < number < OLDEST])
def test_an_earlier_version_reads_in_a_greeting_that_it_cannot_meet_this_one(number: int) -> None:
    """It discards what it does not know, since the greeting names a newer version."""
    versions = Versions(NEWEST, OLDEST, "9.0")
    one = record.samples()["Hello"]
    hello = dataclasses.replace(one.message, peer=dataclasses.replace(one.message.peer, versions=versions))
    message = schema_of(RECORDED[number], "Envelope")
    message.ParseFromString(wire.encode(dataclasses.replace(one, message=hello)))
    told = message.hello.peer.settings[0].versions
    assert (told.newest, told.oldest, told.release) == (NEWEST, OLDEST, "9.0")
    assert message.hello.peer.name == hello.peer.name


ADDED_FIELDS: dict[tuple[type, str], int] = {}
"""The version from which on each field is sent that was added to a message since the oldest one understood."""


def sent_in_sessions_of(number: int, value):
    """The value without what is only sent in sessions of later versions."""
    if isinstance(value, tuple):
        return tuple(sent_in_sessions_of(number, item) for item in value)
    if not dataclasses.is_dataclass(value):
        return value
    later = {
        name: type(getattr(value, name))()
        for (kind, name), since in ADDED_FIELDS.items()
        if isinstance(value, kind) and since > number
    }
    parts = {each.name: sent_in_sessions_of(number, getattr(value, each.name)) for each in dataclasses.fields(value)}
    return type(value)(**(parts | later))


def schema_of(recorded: dict[str, str], name: str):
    """An empty message of this name, as that version knows it."""
    pool = descriptor_pool.DescriptorPool()
    pool.Add(descriptor_pb2.FileDescriptorProto.FromString(bytes.fromhex(recorded["schema"])))
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"swarm.v1.{name}"))()


def unknown_in(message) -> set[str]:
    """Names of the messages, this one and those in it, that hold unknown fields."""
    found = {message.DESCRIPTOR.name} if len(UnknownFieldSet(message)) else set()
    for field, value in message.ListFields():
        if field.message_type:
            for part in value if field.is_repeated else [value]:
                found |= unknown_in(part)
    return found


def test_a_peer_of_protocol_0_names_no_version() -> None:
    assert wire.decode(Envelope, NAMED).message.peer.versions is None


def greeting(newest: int, oldest: int = OLDEST) -> swarm_pb2.Envelope:
    """A greeting of a peer that names these versions."""
    message = swarm_pb2.Envelope.FromString(wire.encode(record.samples()["Hello"]))
    message.hello.peer.settings[0].versions.newest = newest
    message.hello.peer.settings[0].versions.oldest = oldest
    return message


ADDED = b"\xfa\x3f\x01x"  # field 1023, one byte
PLACES = {
    "the greeting": lambda message: message.hello,
    "the peer": lambda message: message.hello.peer,
    "a setting": lambda message: message.hello.peer.settings[1],
    "a tensor": lambda message: message.hello.schema[0],
    "the commit": lambda message: message.hello.commit,
}


@pytest.mark.parametrize("place", PLACES)
def test_a_greeting_of_a_newer_peer_may_hold_unknown_fields(place: str) -> None:
    message = greeting(NEWEST + 1)
    plain = wire.decode(Envelope, message.SerializeToString())
    PLACES[place](message).MergeFromString(ADDED)
    assert wire.decode(Envelope, message.SerializeToString()) == plain
    assert plain.message.peer.versions.newest == NEWEST + 1


def test_of_a_peer_that_this_one_cannot_meet_the_record_is_not_read() -> None:
    for newest, oldest in ((NEWEST + 2, NEWEST + 1), (OLDEST - 1, 0)):
        message = greeting(newest, oldest)
        message.hello.commit.kind = "a kind that this version does not know"
        arrived = wire.decode(Envelope, message.SerializeToString()).message
        assert arrived.commit is None
        assert (arrived.peer.versions.newest, arrived.peer.versions.oldest) == (newest, oldest)


@pytest.mark.parametrize("place", PLACES)
def test_a_greeting_of_a_peer_of_this_version_may_not(place: str) -> None:
    message = greeting(NEWEST)
    PLACES[place](message).MergeFromString(ADDED)
    with pytest.raises(ExchangeError, match="holds fields that this version of Swarm does not know"):
        wire.decode(Envelope, message.SerializeToString())


def test_the_envelope_of_a_newer_peer_may_not() -> None:
    message = greeting(NEWEST + 1)
    message.MergeFromString(ADDED)
    with pytest.raises(ExchangeError, match="an? Envelope holds fields"):
        wire.decode(Envelope, message.SerializeToString())


@pytest.mark.parametrize("name", [name for name in record.samples() if name != "Hello"])
def test_no_other_message_may_hold_unknown_fields(name: str) -> None:
    kind = ALONE.get(name, Envelope)
    message = getattr(swarm_pb2, kind.__name__).FromString(wire.encode(record.samples()[name]))
    part = message if name in ALONE else getattr(message, message.WhichOneof("message"))
    part.MergeFromString(ADDED)
    with pytest.raises(ExchangeError, match=f"{name} holds fields"):
        wire.decode(kind, message.SerializeToString())


@pytest.mark.parametrize("settings", [(), (("a", "1"), ("b", "2"))], ids=["no settings", "settings"])
def test_the_versions_of_a_peer_travel_beside_its_settings(settings: tuple[tuple[str, str], ...]) -> None:
    one = record.samples()["Hello"]
    changes = {"settings": settings, "versions": Versions(NEWEST, OLDEST, "9.0")}
    message = dataclasses.replace(one.message, peer=dataclasses.replace(one.message.peer, **changes))
    envelope = dataclasses.replace(one, message=message)
    assert wire.decode(Envelope, wire.encode(envelope)) == envelope
