"""Changes of bytes of which nothing is known."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from random import Random

INTEGERS = (
    *(0, 1, 2, 7, 16, 127, 128, 255, 256, 4095, 2**15, 2**16 - 1, 2**23, 2**31 - 1, 2**31, 2**32 - 1, 2**53),
    *(2**63 - 1, 2**63, 2**64 - 1),
)
FLOATS = (0.0, -0.0, 1e-45, 1.0, -1.0, 3.4e38, 1.8e308, float("inf"), float("-inf"), float("nan"))
PACKED = (
    *(struct.pack("<d", number) for number in FLOATS),
    *(struct.pack("<f", number) for number in FLOATS if number != 1.8e308),
)
LONGEST = 64
"""Bytes of a block that is usually copied or removed."""


def change(random: Random, data: bytes, others: Sequence[bytes]) -> bytes:
    """One change of ``data``; ``others`` are inputs from which something may be taken."""
    place = random.randrange(len(data) + 1)
    match random.randrange(10):
        case 0 | 1 if data:
            place = min(place, len(data) - 1)
            return data[:place] + bytes([data[place] ^ (1 << random.randrange(8))]) + data[place + 1 :]
        case 2:
            return data[:place] + random.randbytes(random.randint(1, 8)) + data[place + random.randint(0, 8) :]
        case 3 | 4:
            width = random.choice((1, 2, 4, 8))
            number = (random.choice(INTEGERS) + random.randint(-1, 1)) % (1 << 8 * width)
            return data[:place] + number.to_bytes(width, random.choice(("little", "big"))) + data[place + width :]
        case 5:
            packed = random.choice(PACKED)
            return data[:place] + packed + data[place + len(packed) :]
        case 6:
            return data[:place] + data[place + _length(random) :]
        case 7:
            block = data[place : place + _length(random)]
            return data[:place] + block * random.choice((2, 2, 2, 3, 16)) + data[place + len(block) :]
        case 8 if others:
            other = random.choice(others)
            cut = random.randrange(len(other) + 1)
            return data[:place] + other[cut:] if random.random() < 0.5 else other[:cut] + data[place:]
        case _:
            return data[:place]


def _length(random: Random) -> int:
    return random.randint(1, LONGEST if random.random() < 0.9 else 64 * LONGEST)
