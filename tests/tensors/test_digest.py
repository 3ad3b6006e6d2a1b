"""A digest does not depend on the order of hashing, and differs for other content."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
from blake3 import blake3

from swarm.tensors import digest as digests
from swarm.tensors.digest import BLOCK_BYTES, BlockDigest

SIZES = (3 * BLOCK_BYTES + 5, 0, 7, 2 * BLOCK_BYTES)


def segments(seed: int = 0) -> list[bytearray]:
    return [bytearray(random.Random(seed + size).randbytes(size)) for size in SIZES]


def digest(held: list[bytearray], side: list[bytes] | None = None) -> BlockDigest:
    return BlockDigest([memoryview(each) for each in held], [memoryview(each) for each in side or []])


@pytest.mark.parametrize("seed", range(5))
def test_it_does_not_matter_in_which_parts_it_was_covered(seed: int) -> None:
    held, dice = segments(), random.Random(seed)
    expected, other = digest(held).hexdigest(), digest(held)
    parts = []
    for number, size in enumerate(SIZES):
        cuts = sorted({0, size, *(dice.randrange(size + 1) for _ in range(dice.randrange(6)))})
        parts += [(number, start, stop) for start, stop in pairwise(cuts)]
    dice.shuffle(parts)
    for part in parts[: dice.randrange(len(parts) + 1)]:
        other.cover(*part)
    assert other.hexdigest() == expected


def test_blocks_are_hashed_when_they_are_covered_and_not_before() -> None:
    held = segments()
    before, early, late = digest(held).hexdigest(), digest(held), digest(held)
    early.cover(0, 0, len(held[0]))
    late.cover(0, 1, BLOCK_BYTES + 1)  # holds no whole block
    held[0][9] ^= 1
    assert early.hexdigest() == before
    assert late.hexdigest() == digest(held).hexdigest() != before


def test_a_block_is_hashed_when_the_last_part_of_it_is_covered() -> None:
    held = segments()
    before, parts = digest(held).hexdigest(), digest(held)
    half = BLOCK_BYTES // 2
    for start, stop in [
        (BLOCK_BYTES - half, BLOCK_BYTES + half),
        (0, BLOCK_BYTES - half),
        (BLOCK_BYTES + half, len(held[0])),
    ]:
        parts.cover(0, start, stop)
    held[0][:] = bytes(len(held[0]))
    assert parts.hexdigest() == before


RANGES = [(0, 9, 2 * BLOCK_BYTES + 1), (2, 0, 7), (3, 0, 2 * BLOCK_BYTES)]


def test_the_digest_of_ranges_is_that_of_their_bytes_alone() -> None:
    held = segments()
    expected = digest(held).of_ranges(RANGES)
    for number, place in ((0, 8), (0, 2 * BLOCK_BYTES + 1)):
        held[number][place] ^= 1
    assert digest(held).of_ranges(RANGES) == expected
    for number, start, stop in RANGES:
        for place in (start, stop - 1):
            held[number][place] ^= 1
            assert digest(held).of_ranges(RANGES) != expected
            held[number][place] ^= 1


def test_ranges_of_covered_blocks_are_not_hashed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    held = segments()
    covered, expected = digest(held), digest(held).of_ranges(RANGES)
    for number, size in enumerate(SIZES):
        covered.cover(number, 0, size)
    hashed: list[int] = []

    def counted(data: memoryview | None = None) -> object:
        hashed.append(len(data or b""))
        return blake3(data) if data else blake3()

    monkeypatch.setattr(digests, "blake3", counted)
    assert covered.of_ranges(RANGES) == expected
    assert sorted(hashed) == [0, 1, BLOCK_BYTES - 9]


@pytest.mark.parametrize("segment", [0, 2, 3])
def test_every_byte_counts(segment: int) -> None:
    held = segments()
    seen = {digest(held).hexdigest()}
    for place in {0, len(held[segment]) // 2, len(held[segment]) - 1}:
        held[segment][place] ^= 1
        seen.add(digest(held).hexdigest())
        held[segment][place] ^= 1
    assert len(seen) == 4


def test_the_order_of_blocks_and_arrays_counts() -> None:
    held = segments()
    swapped = [held[0][BLOCK_BYTES : 2 * BLOCK_BYTES] + held[0][:BLOCK_BYTES] + held[0][2 * BLOCK_BYTES :], *held[1:]]
    assert digest(swapped).hexdigest() != digest(held).hexdigest()
    assert digest(held, [b"one", b"two"]).hexdigest() != digest(held, [b"two", b"one"]).hexdigest()


def test_a_digest_means_the_same_in_every_version() -> None:
    """Peers compare it, and checkpoints contain it."""
    held = [bytearray(range(256)) * 1536, bytearray(b"tail")]
    expected = blake3(
        b"".join(blake3(part).digest() for part in (held[0][: 1 << 18], held[0][1 << 18 :], b"tail", b"side"))
    ).hexdigest()
    assert digest(held, [b"side"]).hexdigest() == expected
