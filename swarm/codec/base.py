"""The interface of a codec."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from swarm.errors import ExchangeError
from swarm.overrides import is_outdated

if TYPE_CHECKING:
    from swarm.tensors.state import Array

COMPARED = 1 << 13
"""Values compared at a time when looking for a change."""


class Codec(ABC):
    """How a chunk of a segment travels: as bytes of a length that the receiver knows beforehand.

    A chunk is coded relative to the same chunk of the *reference*, the last committed model, which sender and receiver
    both hold. A chunk that equals its reference to the bit is sent as no bytes at all, under every codec. All arrays
    are 1-D and contiguous, of one dtype and length (which may be 0).

    **Error feedback.** What coding loses can be kept in a *residual*, one array of the segment's dtype for each chunk,
    zeros at first, and is added to the next round's values. ``encode`` only reads it, however many attempts a round
    takes; ``carry`` moves it on. So the caller holds one residual, no copy, and a aborted attempt leaves nothing to
    restore. It calls ``carry`` when the round has committed, for each chunk it sent in the attempt that did, with the
    values and the reference that it gave to ``encode`` and before it lets go of them.

    A codec holds no state that matters from one call to the next, and may be called by several threads at once.
    """

    name: ClassVar[str]
    """What settings call it."""
    feedback: ClassVar[bool] = False
    """Whether what it loses is so much that a residual should be kept."""
    norm_tolerance: ClassVar[float] = 0.5
    """How far off the Euclidean norm of decoded differences may be, as a share of the norm of those that were coded,
    the residual included.

    Owners of slices measure what arrives, and a peer is left out where that contradicts what it offered: so this must
    hold for any values whatever, with room for another order of summation in float32 (one part in a thousand).
    """

    def __init_subclass__(cls) -> None:
        """Send no values as they are past an ``encode`` or ``decode`` that a subclass has overridden."""
        super().__init_subclass__()
        if is_outdated(cls, "verbatim", "encode", "decode", "encoded_nbytes"):
            cls.verbatim = Codec.verbatim  # type: ignore[method-assign]

    @abstractmethod
    def exact(self, dtype: str) -> bool:
        """Whether values of this dtype come back to the bit. Then ``reference`` may be None; there is no residual."""

    def verbatim(self, dtype: str) -> bool:
        """Whether the bytes of an encoded chunk are those of its values: a shortcut, False unless a codec says so.

        Such a chunk is sent from the memory where it lies and received where it belongs, without ``encode`` and
        ``decode``. A class that overrides one of these does not inherit it.
        """
        return False

    @abstractmethod
    def encoded_nbytes(self, size: int, dtype: str) -> int:
        """Bytes that a chunk of ``size`` values takes unless it is unchanged, in which case it takes none."""

    @abstractmethod
    def encode(self, values: Array, reference: Array | None, out: memoryview, residual: Array | None = None) -> int:
        """Write a chunk as bytes.

        Args:
            values: what to send.
            reference: what the receiver has already.
            out: writable bytes, ``encoded_nbytes`` of them or more.
            residual: what earlier rounds lost; only read.

        Returns:
            How many bytes of ``out`` to send: ``encoded_nbytes``, or 0 for an unchanged chunk.

        Raises:
            ExchangeError: a value cannot be coded: it is, or would become, NaN or infinite.
        """

    @abstractmethod
    def decode(self, data: memoryview, reference: Array | None, out: Array) -> None:
        """Read a chunk from bytes, which may come from anybody, into ``out``.

        The same bytes and reference give the same values on every machine: only conversions, additions and
        multiplications of IEEE 754 numbers are used, one by one, rounded to nearest, ties to even.

        Raises:
            ExchangeError: ``data`` has another length, or codes NaN or infinity.
        """

    @abstractmethod
    def carry(self, values: Array, reference: Array, residual: Array) -> None:
        """Replace ``residual`` by what coding the same values with it has lost, in place; for an exact dtype, nothing.

        Raises:
            ExchangeError: as ``encode``.
        """


def unchanged(values: Array, reference: Array | None, residual: Array | None = None) -> bool:
    """Whether a chunk needs no bytes: it equals its reference to the bit, and nothing is left from earlier rounds."""
    if reference is None:
        return False
    bits = f"u{values.itemsize}"  # so that zeros of both signs differ
    ours, theirs = values.view(bits), reference.view(bits)
    if values.size and ours[0] != theirs[0]:  # as a rule that is all there is to look at
        return False
    alike = all(
        np.array_equal(ours[start : start + COMPARED], theirs[start : start + COMPARED])
        for start in range(0, values.size, COMPARED)
    )
    return alike and not (residual is not None and residual.any())


def take_reference(reference: Array | None, out: Array) -> None:
    """Decode an unchanged chunk.

    Raises:
        ExchangeError: there is no reference that it could equal.
    """
    if reference is None:
        raise ExchangeError(f"a chunk of {out.size} values came as unchanged, and there is no reference model")
    np.copyto(out, reference)


def require_length(data: memoryview, expected: int, out: Array, codec: str) -> None:
    """Refuse encoded bytes of another length than the schema asks for.

    Raises:
        ExchangeError: says what was expected.
    """
    if len(data) != expected:
        raise ExchangeError(f"a chunk of {out.size} {out.dtype} takes {expected} bytes in {codec}, not {len(data)}")
