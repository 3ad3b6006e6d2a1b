"""How the inputs of a target are built, and several changes of one input."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Literal

from tests.fuzz.mutation import fields, raw, texts

Form = Callable[[Random, bytes, Sequence[bytes]], bytes]
"""Makes one change of an input; may take something from others of its kind."""
BINARY: Form = raw.change
PROTOBUF: Form = fields.change
TEXT: Form = texts.change
MOST_BYTES = 1 << 16
"""Of an input, as a rule."""
MOST_BYTES_SELDOM = 1 << 20
"""One in ``SELDOM`` is repeated up to this size: some decoders need many times the memory of what they read."""
SELDOM = 5000
_LENGTH_BYTES = 3
_ORDER: Literal["little"] = "little"


def mutated(random: Random, data: bytes, others: Sequence[bytes], form: Form) -> bytes:
    """An input after one change or several."""
    changes = 1
    while changes < 16 and random.random() < 0.5:
        changes += 1
    for _ in range(changes):
        data = (form if random.random() < 0.8 else raw.change)(random, data, others)[:MOST_BYTES]
    if data and random.randrange(SELDOM) == 0:
        block = data[random.randrange(len(data)) :]
        data += block * ((MOST_BYTES_SELDOM - len(data)) // len(block))
    return data


def joined(*parts: bytes) -> bytes:
    """Several byte strings as one input: each behind its length, in three bytes."""
    return b"".join(len(part).to_bytes(_LENGTH_BYTES, _ORDER) + part for part in parts)


def split(data: bytes) -> list[bytes]:
    """The parts of any input; a last one that is cut short counts as well."""
    parts, place = [], 0
    while place < len(data):
        start = place + _LENGTH_BYTES
        place = start + int.from_bytes(data[place:start], _ORDER)
        parts.append(data[start:place])
    return parts


def in_parts(form: Form) -> Form:
    """The form of inputs made by ``joined`` of parts of one form, as the messages of a stream are."""

    def change(random: Random, data: bytes, others: Sequence[bytes]) -> bytes:
        parts = split(data)
        place = random.randrange(len(parts) + 1)
        match random.randrange(8):
            case 0:
                del parts[place : place + 1]
            case 1:
                parts[place:place] = parts[place : place + 1] * random.choice((1, 1, 2, 50))
            case 2:
                random.shuffle(parts)
            case 3 if others:
                parts[place:place] = random.sample(donor := split(random.choice(others)), min(1, len(donor)))
            case _ if parts:
                donors = split(random.choice(others)) if others else []
                place = min(place, len(parts) - 1)
                parts[place] = form(random, parts[place], donors)
        return joined(*parts)

    return change
