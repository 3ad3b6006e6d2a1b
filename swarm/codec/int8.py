"""Differences as 8-bit integers, with a scale for each group."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np

from swarm.codec.delta import DeltaCodec
from swarm.errors import ExchangeError
from swarm.tensors.kernels import delta_kernels

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from swarm.codec.delta import Packed, Wide

LEVELS = 127
SCALE = np.dtype("<f4")
LARGEST_SCALE = np.finfo(np.float32).max / np.float32(LEVELS + 1)
LEAST_SCALE = np.finfo(np.float32).tiny
"""Groups whose largest difference is below 127 times this are encoded as zeros, so that no subnormal number is sent."""


class Int8Codec(DeltaCodec):
    """Groups of 1024 differences, each with a float32 scale and one int8 per value: 1.004 bytes per value.

    The scale is the largest absolute difference of the group divided by 127. Each difference is divided by the scale
    and rounded to nearest, ties to even, so its error is at most half a scale. A group of zeros has the scale 0.
    """

    name: ClassVar[str] = "int8"
    compiled = delta_kernels("int8")
    feedback: ClassVar[bool] = True
    group: ClassVar[int] = 1024
    norm_tolerance: ClassVar[float] = 0.4
    """The error of a difference is at most half a scale, plus at most a whole scale if the weight is rounded to its
    dtype: that error is half a unit in the last place, and changes nothing unless a quarter of that unit is less than
    half a scale. The scale is 1/127 of the largest difference, so the relative error of a group is at most
    1.5 x sqrt(1024) / 127 = 0.378. This is reached if one difference is much larger than all others and these lie
    halfway between two levels. Typically it is 1 %.
    """

    def packed_nbytes(self, size: int) -> int:
        return size + SCALE.itemsize * -(-size // self.group)

    def pack(self, differences: Wide, out: Packed) -> None:
        for values, scales, codes in self._rows(differences, out):
            largest = np.abs(values).max(axis=1, initial=0)
            with np.errstate(over="ignore", invalid="ignore"):
                scale = (largest / LEVELS).astype(np.float32)
            if not (scale <= LARGEST_SCALE).all():  # nor is NaN
                raise ExchangeError("a difference in int8 is NaN, infinite or too large")
            scale[scale < LEAST_SCALE] = 0
            scales[...] = scale[:, None]
            inverse = np.divide(LEVELS, largest, out=np.zeros_like(largest), where=scale > 0)
            np.multiply(values, inverse[:, None], out=values)
            np.rint(values, out=values)
            np.copyto(codes, values, casting="unsafe")

    def unpack(self, data: Packed, out: Wide) -> None:
        for values, scales, codes in self._rows(out, data):
            if not (np.abs(scales) <= LARGEST_SCALE).all():  # nor is NaN
                raise ExchangeError("a scale in int8 is NaN, infinite or too large")
            values[...] = codes
            np.multiply(values, scales, out=values)

    def _rows(self, values: Wide, packed: Packed) -> list[tuple[Wide, NDArray[np.float32], NDArray[np.int8]]]:
        """The full groups as one matrix, then the rest as another: values, scales (a column) and codes."""
        size = values.size - values.size % self.group
        middle = self.packed_nbytes(size)
        parts = [(values[:size], packed[:middle], self.group), (values[size:], packed[middle:], values.size - size)]
        rows = []
        for part, data, width in parts:
            if part.size:
                matrix = data.reshape(-1, width + SCALE.itemsize)
                scales = matrix[:, : SCALE.itemsize].view(SCALE)
                rows.append((part.reshape(-1, width), scales, matrix[:, SCALE.itemsize :].view(np.int8)))
        return rows
