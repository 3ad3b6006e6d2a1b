"""Records to protobuf bytes and back, by reflection over an allow-list.

Only what is reachable through type hints from an envelope, or from what calls carry beside it, can be decoded. The
messages of ``swarm.proto`` mirror these records field for field, which is checked on import.
"""

from __future__ import annotations

import enum
import re
import types
import typing
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, is_dataclass
from functools import partial
from typing import Any, TypeVar

from google.protobuf import message as pb
from google.protobuf.unknown_fields import UnknownFieldSet

from swarm.errors import ExchangeError
from swarm.messages import DataChannelOffer, DataChannelRequest, Envelope, FetchRequest, StreamHeader
from swarm.records import PeerInfo
from swarm.text import MAX_SHOWN, printable
from swarm.transport.base import MAX_MESSAGE_BYTES
from swarm.transport.grpc import swarm_pb2
from swarm.versions import NEWEST

MAX_ITEMS = 2**17
"""Of one repeated field, so that a small message cannot become a large object."""
MAX_TEXT = 2**16
"""Characters of a name, a pattern or a digest."""

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


def _bounded(text: str) -> str:
    """Text that names something: all of it, and nothing in it that a terminal would obey."""
    if len(text) > MAX_TEXT:
        raise ExchangeError(f"a text of {len(text)} characters exceeds the limit of {MAX_TEXT}")
    return printable(text)


_TEXT = _Converter(encode=lambda value: value, decode=_bounded)
_REASON = _Converter(encode=lambda value: value, decode=partial(printable, limit=MAX_SHOWN))
"""A sentence for the log."""


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
            field.name: _REASON if field.name == "reason" else _converter(hints[field.name])
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
        values = {name: self._field(message, name, converter) for name, converter in self.converters.items()}
        for name, choice in self.variants.items():
            variant = message.WhichOneof(name)
            if variant is None:
                raise ExchangeError(f"a {self.kind.__name__} holds no {name} that this version of Swarm knows")
            values[name] = choice[variant].decode(getattr(message, variant))
        return self.kind(**values)

    def _field(self, message: Any, name: str, converter: _Converter) -> Any:
        if (converter.nested or converter.optional) and not message.HasField(name):
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


def encode(value: Envelope | StreamHeader | FetchRequest | DataChannelRequest | DataChannelOffer) -> bytes:
    """The bytes of ``value``.

    Raises:
        ExchangeError: it holds what the wire cannot carry, or too much of it.
    """
    try:
        data = _RECORDS[type(value)].encode(value).SerializeToString()
    except (KeyError, TypeError, ValueError) as error:
        raise ExchangeError(f"a {type(value).__name__} cannot be sent: {error}") from error
    if len(data) > MAX_MESSAGE_BYTES:
        raise ExchangeError(f"a {type(value).__name__} of {len(data)} bytes exceeds the limit of {MAX_MESSAGE_BYTES}")
    return data


def decode(kind: type[T], data: bytes) -> T:
    """The ``kind`` (:class:`Envelope` or another record that is sent by itself) that ``data`` holds.

    Raises:
        ExchangeError: it holds something else, or too much.
    """
    if len(data) > MAX_MESSAGE_BYTES:
        raise ExchangeError(f"a message of {len(data)} bytes exceeds the limit of {MAX_MESSAGE_BYTES}")
    record = _RECORDS[kind]
    try:
        message = record.message.FromString(data)
    except (pb.DecodeError, UnicodeDecodeError) as error:
        raise ExchangeError(f"what arrived is no {kind.__name__}") from error
    if kind is Envelope and message.WhichOneof("message") == "hello" and _newest(message.hello.peer) > NEWEST:
        # Versions are named in greetings, so these alone may hold what only a newer version knows.
        message.hello.DiscardUnknownFields()
    return typing.cast("T", record.decode(message))


def _newest(peer: Any) -> int:
    """The newest version of the protocol that a peer's message names."""
    named = [peer.versions, *(setting.versions for setting in peer.settings[:1])]
    return max(int(versions.newest) for versions in named)


def _require_known(message: Any) -> None:
    if len(UnknownFieldSet(message)):
        raise ExchangeError(f"a {message.DESCRIPTOR.name} holds fields that this version of Swarm does not know")


def _record(kind: type) -> _Record:
    if kind not in _RECORDS:
        _RECORDS[kind] = (_PeerRecord if kind is PeerInfo else _Record)(kind)
    return _RECORDS[kind]


def _converter(hint: Any) -> _Converter:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union) and len(arguments) == 2 and arguments[1] is types.NoneType:
        inner = _converter(arguments[0])
        return _Converter(inner.encode, inner.decode, nested=inner.nested, optional=True)
    if origin is tuple and arguments[1:] == (...,):
        return _repeated(_converter(arguments[0]))
    if hint == tuple[str, str]:
        return _Converter(
            encode=lambda pair: swarm_pb2.Setting(name=pair[0], value=pair[1]),
            decode=_pair,
        )
    if isinstance(hint, type) and issubclass(hint, enum.StrEnum):
        return _Converter(encode=lambda member: hint(member).value, decode=lambda text: _member(hint, text))
    if is_dataclass(hint) and isinstance(hint, type):
        record = _record(hint)
        return _Converter(record.encode, record.decode, nested=True)
    if hint is str:
        return _TEXT
    if hint in (bytes, int, float, bool):
        return _SCALAR
    raise TypeError(f"the wire cannot carry a field of type {hint}")


def _pair(message: Any) -> tuple[str, str]:
    _require_known(message)
    return _bounded(message.name), _bounded(message.value)


def _repeated(item: _Converter) -> _Converter:
    def decode_items(values: Sequence[Any]) -> tuple[Any, ...]:
        if len(values) > MAX_ITEMS:
            raise ExchangeError(f"a list of {len(values)} entries exceeds the limit of {MAX_ITEMS}")
        return tuple(item.decode(value) for value in values)

    return _Converter(encode=lambda values: [item.encode(value) for value in values], decode=decode_items)


def _member(kind: type[enum.StrEnum], text: str) -> enum.StrEnum:
    try:
        return kind(text)
    except ValueError:
        raise ExchangeError(f"{text[:40]!r} is no {kind.__name__}: expected {', '.join(kind)}") from None


def _snake(kind: type) -> str:
    return re.sub(r"(?<!^)([A-Z])", r"_\1", kind.__name__).lower()


_RECORDS: dict[type, _Record] = {}
for _kind in (Envelope, StreamHeader, FetchRequest, DataChannelRequest, DataChannelOffer):
    _record(_kind)
