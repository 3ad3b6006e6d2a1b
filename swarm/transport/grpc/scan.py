"""Reads where the outermost fields of an encoded protobuf message are, before anything is made of it.

Source: https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

MOST_FIELDS = 32
"""Fields of a message in which no field stands twice."""
_LONGEST_VARINT = 10


class Field(NamedTuple):
    """One field: its number, where it begins, where its content begins and ends."""

    number: int
    start: int
    content: int
    end: int


def once(data: bytes) -> dict[int, Field]:
    """The outermost fields of a message in which no field stands twice, by number.

    Raises:
        ValueError: it is no such message.
    """
    found: dict[int, Field] = {}
    for field in fields(data):
        if field.number in found or len(found) == MOST_FIELDS:
            raise ValueError("a field stands twice, or there are too many")
        found[field.number] = field
    return found


def split(
    data: bytes, lists: Mapping[int, str], check: Callable[[str, int, int], None]
) -> tuple[bytes, dict[str, list[bytes]]]:
    """A message without its ``lists``; and the encoded items of each list, by name.

    Args:
        data: the message.
        lists: the name of each list, by the number of its field.
        check: called before an item is kept, with the name of its list, the number of items and the bytes of this one.

    Raises:
        ValueError: it is no message, or another field stands twice.
    """
    items: dict[str, list[bytes]] = {name: [] for name in lists.values()}
    others: dict[int, bytes] = {}
    for field in fields(data):
        name = lists.get(field.number)
        if name is not None:
            check(name, len(items[name]) + 1, field.end - field.content)
            items[name].append(data[field.content : field.end])
        elif field.number in others or len(others) == MOST_FIELDS:
            raise ValueError("a field stands twice, or there are too many")
        else:
            others[field.number] = data[field.start : field.end]
    return b"".join(others.values()), items


def fields(data: bytes) -> Iterator[Field]:
    """The outermost fields of ``data``, in order.

    Raises:
        ValueError: it is no message.
    """
    at = 0
    while at < len(data):
        start = at
        tag, at = _varint(data, at)
        content = at
        match tag & 7:
            case 0:
                _, at = _varint(data, at)
            case 1:
                at += 8
            case 2:
                size, content = _varint(data, at)
                at = content + size
            case 5:
                at += 4
            case _:
                raise ValueError("a kind of field that proto3 does not have")
        if at > len(data):
            raise ValueError("a field that is cut off")
        yield Field(tag >> 3, start, content, at)


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """A number, and where it ends."""
    if at < len(data) and (value := data[at]) < 0x80:  # most have one byte
        return value, at + 1
    value = 0
    for index, byte in enumerate(data[at : at + _LONGEST_VARINT]):
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:  # its highest bit says that more follows
            return value, at + index + 1
    raise ValueError("a number that does not end")
