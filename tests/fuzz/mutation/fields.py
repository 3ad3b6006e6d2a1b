"""Changes of protobuf messages that leave them messages: of fields, values, lengths, counts and nesting."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from random import Random
from typing import NamedTuple

from tests.fuzz.mutation import raw

VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5
MANY = (2, 2, 3, 10, 100, 1000)
"""How often a field may be repeated."""
TEXTS = (
    b"",
    b"\xff",
    b"\x00",
    b"\x1b[31m\r\n",
    "\u202e\u2028\U000e0001".encode(),
    b"\xed\xa0\x80",
    b"a" * 300,
    b"training",
    b"counter",
    b"float32",
    b"f4,(",
    b"V99",
    b"127.0.0.1:0",
    b"[::1]:99999",
    b"exact",
    b"../../x",
    b"%s{0}",
)


class Field(NamedTuple):
    """One field of a message, as it is on the wire."""

    number: int
    kind: int
    value: int | bytes
    """A number for VARINT; the bytes of the value for all others."""


def parse(data: bytes) -> list[Field] | None:
    """The fields of a message; None if it is none."""
    fields, place, end = [], 0, len(data)
    while place < end:
        tag, place = _read(data, place)
        if tag < 8 or place > end:
            return None
        kind = tag & 7
        value: int | bytes
        if kind == VARINT:
            value, place = _read(data, place)
        elif kind in (FIXED32, FIXED64):
            size = 4 if kind == FIXED32 else 8
            value, place = data[place : place + size], place + size
        elif kind == LENGTH:
            size, place = _read(data, place)
            value, place = data[place : place + size], place + size
        else:
            return None
        if place > end:
            return None
        fields.append(Field(tag >> 3, kind, value))
    return fields


def pack(fields: Sequence[Field]) -> bytes:
    """The message with these fields."""
    out = []
    for number, kind, value in fields:
        out.append(varint(number << 3 | kind))
        if isinstance(value, int):
            out.append(varint(value))
        else:
            if kind == LENGTH:
                out.append(varint(len(value)))
            out.append(value)
    return b"".join(out)


def varint(number: int) -> bytes:
    """A number in 7 bits a byte."""
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


def change(random: Random, data: bytes, others: Sequence[bytes]) -> bytes:
    """One change of a message, at a random depth; of its bytes if it is none."""
    fields = parse(data)
    if not fields:
        return raw.change(random, data, others)
    place = random.randrange(len(fields))
    field = fields[place]
    if field.kind == LENGTH and isinstance(field.value, bytes) and random.random() < 0.6 and parse(field.value):
        fields[place] = field._replace(value=change(random, field.value, _inner(random, others)))
        return pack(fields)
    match random.randrange(8):
        case 0:
            del fields[place]
        case 1:
            fields[place:place] = [field] * random.choice(MANY)
        case 2:
            fields[place] = field._replace(number=random.choice((random.randint(1, 30), 31, 2**29 - 1)))
        case 3 if others:
            donor = parse(random.choice(others))
            if donor:
                fields.insert(place, random.choice(donor))
        case 4:
            random.shuffle(fields)
        case 5:
            fields[place] = Field(field.number, LENGTH, pack([field]))
        case _:
            fields[place] = field._replace(value=_value(random, field))
    return pack(fields)


def _value(random: Random, field: Field) -> int | bytes:
    if isinstance(field.value, int):
        number = random.choice((field.value, *raw.INTEGERS)) + random.randint(-1, 1)
        return number % 2**64
    if field.kind == FIXED64:
        return struct.pack("<d", random.choice(raw.FLOATS))
    if field.kind == FIXED32:
        return random.randbytes(4)
    if random.random() < 0.5:
        return random.choice(TEXTS)
    return raw.change(random, field.value, ())


def _inner(random: Random, others: Sequence[bytes]) -> list[bytes]:
    """The messages within one of ``others``."""
    fields = (parse(random.choice(others)) if others else None) or ()
    return [field.value for field in fields if field.kind == LENGTH and isinstance(field.value, bytes)]


def _read(data: bytes, place: int) -> tuple[int, int]:
    """A varint, and the place behind it; a place behind the end if there is none."""
    number = shift = 0
    while place < len(data):
        byte = data[place]
        place += 1
        number |= (byte & 127) << shift
        if byte < 128:
            return number % 2**64, place
        shift += 7
        if shift > 63:
            break
    return 0, len(data) + 1
