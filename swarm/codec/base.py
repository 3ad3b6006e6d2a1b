"""The interface of a codec."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from swarm.errors import ExchangeError
from swarm.former import accepts_former_names
from swarm.overrides import is_outdated

if TYPE_CHECKING:
    from swarm.tensors.state import Array

COMPARED = 1 << 13
"""Number of values that ``unchanged`` compares at a time."""


@accepts_former_names
class Codec(ABC):
    """Encodes the chunks of a segment as bytes. The receiver knows the number of bytes in advance.

    A chunk is encoded relative to the same chunk of the *reference*, the last committed model, which sender and
    receiver both hold. A chunk that is bit-identical to its reference is encoded as 0 bytes, under every codec. All
    arrays are 1-D and contiguous, of one dtype and length (which may be 0).

    **Error feedback.** The error of the encoding can be kept in a *residual*: one array of the segment's dtype for each
    chunk, initially zeros, which is added to the values of the next round. ``encode`` only reads it, in every attempt
    of a round. ``update_residual`` changes it. The caller calls that once the round has committed, for each chunk that
    it sent in the committed attempt, with the values and the reference that it gave to ``encode``. So an aborted
    attempt needs no restore, and no copy of the residual is needed.

    A codec keeps no state between calls, and several threads may call it at the same time.
    """

    name: ClassVar[str]
    """The name in settings."""
    feedback: ClassVar[bool] = False
    """Whether its error is large enough to need a residual."""
    norm_tolerance: ClassVar[float] = 0.5
    """Maximum relative error of the Euclidean norm of decoded differences, relative to the norm of the encoded
    differences including the residual.

    The owners of slices measure the decoded norm. A peer is left out of the round if it contradicts the peer's offer.
    So the bound must hold for all values, with a margin of 0.1 % for another order of summation in float32.
    """

    def __init_subclass__(cls) -> None:
        """Disable the inherited ``verbatim`` if the subclass overrides ``encode`` or ``decode``."""
        super().__init_subclass__()
        if is_outdated(cls, "verbatim", "encode", "decode", "encoded_nbytes"):
            cls.verbatim = Codec.verbatim  # type: ignore[method-assign]

    @abstractmethod
    def exact(self, dtype: str) -> bool:
        """Whether decoded values of this dtype are exact. Then ``reference`` may be None, and there is no residual."""

    def verbatim(self, dtype: str) -> bool:
        """Whether the bytes of an encoded chunk are the bytes of its values. Optional; the default is False.

        Such a chunk is sent and received without a copy, and ``encode`` and ``decode`` are not called. A class that
        overrides one of these does not inherit this method.
        """
        return False

    @abstractmethod
    def encoded_nbytes(self, size: int, dtype: str) -> int:
        """Number of bytes of a changed chunk of ``size`` values; an unchanged chunk has 0 bytes."""

    @abstractmethod
    def encode(self, values: Array, reference: Array | None, out: memoryview, residual: Array | None = None) -> int:
        """Encode a chunk.

        Args:
            values: the values to send.
            reference: the values that the receiver already has.
            out: writable bytes, at least ``encoded_nbytes``.
            residual: the error of earlier rounds; read only.

        Returns:
            How many bytes of ``out`` to send: ``encoded_nbytes``, or 0 for an unchanged chunk.

        Raises:
            ExchangeError: a value cannot be encoded: it is, or would become, NaN or infinite.
        """

    @abstractmethod
    def decode(self, data: memoryview, reference: Array | None, out: Array) -> None:
        """Decode a chunk into ``out``. ``data`` comes from the network and is not trusted.

        The same bytes and reference must give the same values on every machine. So only single IEEE 754 conversions,
        additions and multiplications are used, rounded to nearest, ties to even.

        Raises:
            ExchangeError: ``data`` has another length, or encodes NaN or infinity.
        """

    @abstractmethod
    def update_residual(self, values: Array, reference: Array, residual: Array) -> None:
        """Replace ``residual`` in place by the error of encoding ``values`` with it; for an exact dtype, do nothing.

        Raises:
            ExchangeError: as ``encode``.
        """


def unchanged(values: Array, reference: Array | None, residual: Array | None = None) -> bool:
    """Whether a chunk needs no bytes: it is bit-identical to its reference, and the residual is zero."""
    if reference is None:
        return False
    bits = f"u{values.itemsize}"  # zeros of different sign must differ
    ours, theirs = values.view(bits), reference.view(bits)
    if values.size and ours[0] != theirs[0]:  # most changed chunks differ here
        return False
    alike = all(
        (ours[start : start + COMPARED] == theirs[start : start + COMPARED]).all()
        for start in range(0, values.size, COMPARED)
    )
    return alike and not (residual is not None and residual.any())


def take_reference(reference: Array | None, out: Array) -> None:
    """Decode an unchanged chunk.

    Raises:
        ExchangeError: there is no reference.
    """
    if reference is None:
        raise ExchangeError(f"a chunk of {out.size} values came as unchanged, but there is no reference model")
    np.copyto(out, reference)


def require_length(data: memoryview, expected: int, out: Array, codec: str) -> None:
    """Check the length of encoded bytes against the schema.

    Raises:
        ExchangeError: the length differs.
    """
    if len(data) != expected:
        raise ExchangeError(f"a chunk of {out.size} {out.dtype} takes {expected} bytes in {codec}, not {len(data)}")
