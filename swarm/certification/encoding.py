"""Records as JSON and back, as ledgers, checkpoints and peers hold and send them.

What is decoded holds only what ``limits`` allows, as in a message. There is one text for a value: any other text of it
is refused, so that a hash over the text stands for the value.
"""

from __future__ import annotations

import enum
import json
import types
import typing
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar

from swarm import limits
from swarm.certification.statements import canonical, left_out, plain
from swarm.errors import ExchangeError
from swarm.records import Commit

T = TypeVar("T")
MAX_BYTES = 4 * 2**20
"""Of an encoded record. The same record is shorter in a message, where it has at most 2 MiB."""
MAX_PARTS = 2**17
"""Of lists, records and items in a text, together: each may take 200 bytes of memory."""
MAX_WHOLE = 2**53
"""The largest whole number where a fraction is allowed too."""

_Decode = Callable[[Any], Any]


def encode_record(record: Commit) -> bytes:
    """A record with its certificate, as one line of JSON."""
    return encode(record)


def decode_record(data: bytes) -> Commit:
    """The record in ``data``, which ``encode_record`` gives.

    Raises:
        ValueError: there is none, or it holds what no record may hold.
    """
    return decode(Commit, data)


def encode(value: Any) -> bytes:
    """A frozen record as one line of JSON."""
    return canonical(plain(value))


def decode(kind: type[T], data: bytes) -> T:
    """The ``kind`` in ``data``, which ``encode`` gives.

    Args:
        kind: a frozen record whose fields have limits.
        data: one line of JSON.

    Raises:
        ValueError: it is something else, or too much.
    """
    if len(data) > MAX_BYTES or sum(map(data.count, (b",", b"{", b"["))) > MAX_PARTS:
        raise ValueError(f"this is no {kind.__name__}: its {len(data)} bytes hold too much")
    try:
        found = _DECODERS[kind](json.loads(data))
    except (ExchangeError, RecursionError) as error:
        raise ValueError(f"this is no {kind.__name__}: {error}") from error
    if encode(found) != data:
        raise ValueError(f"this {kind.__name__} is not written as Swarm writes it")
    return typing.cast("T", found)


class _Decoders(dict[type, _Decode]):
    """A decoder for each record class, made from its type hints on first use."""

    def __missing__(self, kind: type) -> _Decode:
        hints = typing.get_type_hints(kind)
        names = [field.name for field in fields(kind)]
        of_fields = {name: _decoder(hints[name], kind.__name__, name) for name in names}
        absent = left_out(kind)

        def decode_fields(value: Any) -> Any:
            if type(value) is not dict or (value.keys() ^ of_fields.keys()) - (absent - value.keys()):
                raise ExchangeError(f"the fields of {kind.__name__} are {', '.join(of_fields)}")
            return kind(**{name: convert(value[name]) for name, convert in of_fields.items() if name in value})

        self[kind] = decode_fields
        return decode_fields


_DECODERS = _Decoders()


def _decoder(hint: Any, record: str, name: str) -> _Decode:
    """What decodes the field ``name`` of a record."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is types.UnionType and len(arguments) == 2 and arguments[1] is types.NoneType:
        inner = _decoder(arguments[0], record, name)
        return lambda value: None if value is None else inner(value)
    if origin is tuple and arguments[1:] == (...,):
        return _list(_decoder(arguments[0], record, name), name, unique=arguments[0] is str)
    if is_dataclass(hint) and isinstance(hint, type):
        return _DECODERS[hint]
    if isinstance(hint, type) and issubclass(hint, enum.StrEnum):
        words = {member.value: member for member in hint}
        return lambda value: _member(words, value, name)
    if hint is str:
        convert, what = limits.entry(limits.TEXTS, record, name)
        return lambda value: limits.check_text(name, _typed(value, str, name), convert, what)
    if hint is bool:
        return lambda value: _typed(value, bool, name)
    if hint in (int, float):
        allowed = limits.entry(limits.RANGES, record, name)
        return lambda value: limits.check_number(name, _number(value, hint, name), allowed)
    raise TypeError(f"a record cannot hold a field of type {hint}")


def _list(item: _Decode, name: str, *, unique: bool) -> _Decode:
    def decode_items(value: Any) -> tuple[Any, ...]:
        limits.check_items(name, len(_typed(value, list, name)))
        items = tuple(map(item, value))
        if unique:
            limits.check_unique(name, items)
        return items

    return decode_items


def _member(words: dict[str, enum.StrEnum], value: Any, name: str) -> enum.StrEnum:
    found = words.get(_typed(value, str, name))
    if found is None:
        raise ExchangeError(f"{name} is none of {', '.join(words)}")
    return found


def _number(value: Any, kind: type, name: str) -> Any:
    if kind is float and type(value) is int and abs(value) <= MAX_WHOLE:
        return value
    return _typed(value, kind, name)


def _typed(value: Any, kind: type, name: str) -> Any:
    if type(value) is not kind:
        raise ExchangeError(f"{name} is no {kind.__name__}")
    return value


def require_limits(kind: type) -> None:
    """Check, on import, that every field of a record has its limits.

    Raises:
        TypeError: one has none.
    """
    _DECODERS[kind]


require_limits(Commit)
