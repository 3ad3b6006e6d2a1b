"""Records to protobuf bytes and back, by reflection over an allow-list.

Only what is reachable through type hints from an envelope, or from what calls carry beside it, can be decoded. The
messages of ``swarm.proto`` mirror these records field for field, which is checked on import. What is decoded holds only
what ``limits`` allows.
"""

from __future__ import annotations

import enum
import re
import types
import typing
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import partial
from typing import Any, TypeVar

from google.protobuf import message as pb
from google.protobuf.unknown_fields import UnknownFieldSet

from swarm import limits
from swarm.errors import ExchangeError
from swarm.messages import (
    DataChannelOffer,
    DataChannelRequest,
    DialBackRequest,
    Envelope,
    FetchRequest,
    Hello,
    ReachAnswer,
    ReachDataRequest,
    ReachRequest,
    StreamHeader,
    TensorLine,
)
from swarm.records import PeerInfo
from swarm.transport.grpc import scan, sizes, swarm_pb2
from swarm.versions import NEWEST, PROTOCOLS

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Converter:
    """Converts the value of one field."""

    encode: Callable[[Any], Any]
    decode: Callable[[Any], Any]
    nested: bool = False
    """Whether its absence can be told."""
    optional: bool = False


_SCALAR = _Converter(encode=lambda value: value, decode=lambda value: value)


class _Record:
    """Converts one record class to the protobuf message of its name."""

    def __init__(self, kind: type) -> None:
        self.kind = kind
        self.message = getattr(swarm_pb2, kind.__name__)
        hints = typing.get_type_hints(kind)
        self.variants = {
            name: {_snake(variant): _record(variant) for variant in typing.get_args(hints[name])}
            for name in (oneof.name for oneof in self.message.DESCRIPTOR.oneofs)
            if not name.startswith("_")  # the compiler's name for an optional field
        }
        self.converters = {
            field.name: _converter(hints[field.name], kind.__name__, field.name)
            for field in fields(kind)
            if field.name not in self.variants
        }
        declared = {*self.converters, *(name for choice in self.variants.values() for name in choice)}
        if declared != set(self.message.DESCRIPTOR.fields_by_name):
            differing = ", ".join(sorted(declared ^ set(self.message.DESCRIPTOR.fields_by_name)))
            raise TypeError(f"swarm.proto and {kind.__name__} differ in {differing}: mirror it, then `make proto`")

    def encode(self, value: Any) -> pb.Message:
        if type(value) is not self.kind:
            raise TypeError(f"{type(value).__name__} where {self.kind.__name__} belongs")
        values = {
            name: converter.encode(item)
            for name, converter in self.converters.items()
            if (item := getattr(value, name)) is not None or not converter.optional
        }
        for name in self.variants:
            variant = getattr(value, name)
            values[_snake(type(variant))] = _record(type(variant)).encode(variant)
        return typing.cast("pb.Message", self.message(**values))

    def decode(self, message: Any) -> Any:
        _require_known(message)
        values = {
            name: self._field(message, name, converter)
            if converter.nested or converter.optional
            else converter.decode(getattr(message, name))
            for name, converter in self.converters.items()
        }
        for name, choice in self.variants.items():
            variant = message.WhichOneof(name)
            if variant is None:
                raise ExchangeError(f"a {self.kind.__name__} holds no {name} that this version of Swarm knows")
            values[name] = choice[variant].decode(getattr(message, variant))
        return self.kind(**values)

    def _field(self, message: Any, name: str, converter: _Converter) -> Any:
        """A field that can be absent."""
        if not message.HasField(name):
            if converter.optional:
                return None
            raise ExchangeError(f"a {self.kind.__name__} lacks its {name}")
        return converter.decode(getattr(message, name))


class _PeerRecord(_Record):
    """That of ``PeerInfo``: its versions are in its first setting, where peers of protocol 0 overlook them."""

    def encode(self, value: Any) -> pb.Message:
        message: Any = super().encode(value)
        if message.settings and message.HasField("versions"):
            message.settings[0].versions.CopyFrom(message.versions)
            message.ClearField("versions")
        return typing.cast("pb.Message", message)

    def decode(self, message: Any) -> Any:
        if message.settings and message.settings[0].HasField("versions"):
            message.versions.CopyFrom(message.settings[0].versions)
        return super().decode(message)


Alone = (
    StreamHeader
    | FetchRequest
    | DataChannelRequest
    | DataChannelOffer
    | DialBackRequest
    | ReachRequest
    | ReachDataRequest
    | ReachAnswer
)
"""What calls carry beside envelopes."""


def encode(value: Envelope | Alone) -> bytes:
    """The bytes of ``value``.

    Raises:
        ExchangeError: it holds what the wire cannot carry, or too much of it.
    """
    try:
        data = _RECORDS[type(value)].encode(value).SerializeToString()
    except (KeyError, TypeError, ValueError) as error:
        raise ExchangeError(f"a {type(value).__name__} cannot be sent: {error}") from error
    sizes.check_size(type(value.message) if isinstance(value, Envelope) else type(value), len(data))
    return data


def decode(kind: type[T], data: bytes) -> T:
    """The ``kind`` (:class:`Envelope` or another record that is sent by itself) that ``data`` holds.

    Raises:
        ExchangeError: it holds something else, or too much.
    """
    try:
        if kind is Envelope:
            return typing.cast("T", _envelope(data))
        sizes.check_size(kind, len(data))
        return _parsed(kind, data)
    except (pb.DecodeError, ValueError) as error:
        raise ExchangeError(f"what arrived is no {kind.__name__}") from error


def _envelope(data: bytes) -> Envelope:
    """The envelope in ``data``, whose kind of message is known, and its size checked, before anything is made of it."""
    found = scan.once(data)
    variants = [_VARIANTS[number] for number in found if number in _VARIANTS]
    if len(variants) > 1:
        raise ExchangeError("an Envelope holds several messages")
    sizes.check_size(variants[0] if variants else Envelope, len(data))
    hello = found.get(_HELLO)
    if hello is None:
        return _parsed(Envelope, data)
    # Its lists are long: each entry is parsed and converted before the next one is, so that little is held twice.
    rest, lists = scan.split(data[hello.content : hello.end], _LISTS, sizes.check_item)
    sizes.check_rest(len(rest))
    message = swarm_pb2.Envelope.FromString(data[: hello.start] + data[hello.end :])
    message.hello.MergeFromString(rest)
    newest, oldest = _named(message.hello.peer)
    apart = newest < PROTOCOLS[NEWEST].understands or oldest > NEWEST
    other = apart or newest > NEWEST
    if other:
        # Versions are named in greetings, so these alone may hold what only another version knows.
        message.hello.DiscardUnknownFields()
    if apart:
        # It is refused, by a sentence that says who has to update; its record may have another form.
        message.hello.ClearField("commit")
    envelope = typing.cast("Envelope", _RECORDS[Envelope].decode(message))
    schema, dimensions = [], 0
    for entry in lists["schema"]:
        line = _parsed(TensorLine, entry, other=other)
        dimensions += len(line.shape)
        limits.check_items("dimensions", dimensions)
        schema.append(line)
    roster = tuple(_parsed(PeerInfo, entry, other=other) for entry in lists["roster"])
    greeting = replace(typing.cast("Hello", envelope.message), schema=tuple(schema), roster=roster)
    return replace(envelope, message=greeting)


def _parsed(kind: type[T], data: bytes, *, other: bool = False) -> T:
    """The ``kind`` in ``data``; with ``other``, without the fields that this version does not know."""
    record = _record(kind)
    message = record.message.FromString(data)
    if other:
        message.DiscardUnknownFields()
    return typing.cast("T", record.decode(message))


def _named(peer: Any) -> tuple[int, int]:
    """The newest and the oldest version of the protocol that a peer's message names; 0 if it names none."""
    named = [peer.versions, *(setting.versions for setting in peer.settings[:1])]
    return max(int(versions.newest) for versions in named), max(int(versions.oldest) for versions in named)


def _require_known(message: Any) -> None:
    if len(UnknownFieldSet(message)):
        raise ExchangeError(f"a {message.DESCRIPTOR.name} holds fields that this version of Swarm does not know")


def _record(kind: type) -> _Record:
    if kind not in _RECORDS:
        _RECORDS[kind] = (_PeerRecord if kind is PeerInfo else _Record)(kind)
    return _RECORDS[kind]


def _converter(hint: Any, record: str, name: str) -> _Converter:
    """The converter of the field ``name`` of a record."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union) and len(arguments) == 2 and arguments[1] is types.NoneType:
        inner = _converter(arguments[0], record, name)
        return _Converter(inner.encode, inner.decode, nested=inner.nested, optional=True)
    if origin is tuple and arguments[1:] == (...,):
        return _repeated(
            name, _converter(arguments[0], record, name), unique=name not in limits.REPEATING and arguments[0] is str
        )
    if hint == tuple[str, str]:
        first, second = _text(record, f"{name}.name"), _text(record, f"{name}.value")
        return _Converter(
            encode=lambda pair: swarm_pb2.Setting(name=pair[0], value=pair[1]),
            decode=partial(_pair, first, second),
        )
    if isinstance(hint, type) and issubclass(hint, enum.StrEnum):
        return _Converter(encode=lambda member: hint(member).value, decode=lambda text: _member(hint, text))
    if is_dataclass(hint) and isinstance(hint, type):
        of = _record(hint)
        return _Converter(of.encode, of.decode, nested=True)
    if hint is str:
        return _text(record, name)
    if hint in (int, float):
        allowed = limits.entry(limits.RANGES, record, name)
        return _Converter(_SCALAR.encode, partial(limits.check_number, name, allowed=allowed))
    if hint in (bytes, bool):
        return _SCALAR
    raise TypeError(f"the wire cannot carry a field of type {hint}")


def _pair(first: _Converter, second: _Converter, message: Any) -> tuple[str, str]:
    _require_known(message)
    return first.decode(message.name), second.decode(message.value)


def _text(record: str, name: str) -> _Converter:
    convert, what = limits.entry(limits.TEXTS, record, name)
    # A reason is shortened before it is sent; any other text is sent as it is.
    encode_text = convert if convert is limits.reason else _SCALAR.encode
    return _Converter(encode_text, partial(limits.check_text, name, convert=convert, what=what))


def _repeated(name: str, item: _Converter, *, unique: bool) -> _Converter:
    """A list; with ``unique``, one in which nothing stands twice."""

    def decode_items(values: Sequence[Any]) -> tuple[Any, ...]:
        limits.check_items(name, len(values))
        items = tuple(item.decode(value) for value in values)
        if unique:
            limits.check_unique(name, items)
        return items

    return _Converter(encode=lambda values: [item.encode(value) for value in values], decode=decode_items)


def _member(kind: type[enum.StrEnum], text: str) -> enum.StrEnum:
    try:
        return kind(text)
    except ValueError:
        raise ExchangeError(f"{text[:40]!r} is no {kind.__name__}: expected {', '.join(kind)}") from None


def _snake(kind: type) -> str:
    return re.sub(r"(?<!^)([A-Z])", r"_\1", kind.__name__).lower()


_RECORDS: dict[type, _Record] = {}
for _kind in (Envelope, *typing.get_args(Alone)):
    _record(_kind)
_NUMBERS = swarm_pb2.Envelope.DESCRIPTOR.fields_by_name
_VARIANTS = {_NUMBERS[name].number: of.kind for name, of in _RECORDS[Envelope].variants["message"].items()}
"""The kinds of message, by the number of their field in an envelope."""
_HELLO = _NUMBERS["hello"].number
_LISTS = {swarm_pb2.Hello.DESCRIPTOR.fields_by_name[name].number: name for name in ("schema", "roster")}
