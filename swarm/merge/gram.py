"""The two halves of a rule with the scope GRAM: inner products of the contributions, and their combination.

Inner products add up over slices, so the owners of the slices each compute a part, exchange n x n numbers, and all
know the distances between whole vectors without any of them holding one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from swarm.merge.blocks import blocks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from swarm.state import Array


def partial_gram(columns: Sequence[Array]) -> NDArray[np.float64]:
    """Inner products of aligned pieces of the contributions, as float64[n, n].

    The parts of all slices add up to a matrix that gives the distances between whole contributions. The origin is
    the median of each coordinate: against the weights themselves, or against one contribution that has run away,
    the small distances between the others would be lost to cancellation.
    """
    count = len(columns)
    gram = np.zeros((count, count))
    for part in blocks(columns[0].size, count):
        values = np.stack([column[part] for column in columns]).astype(np.float64)
        values -= np.partition(values, count // 2, axis=0)[count // 2]
        gram += values @ values.T
    return gram


def combine(columns: Sequence[Array], coefficients: NDArray[np.float64]) -> Array:
    """The combination of aligned pieces by coefficients that sum to 1: same dtype, summed in float64, rounded once.

    It is computed as the piece with the largest coefficient minus the others' weighted differences from it. So equal
    contributions give exactly their value, signed zeros included, whatever the coefficients round to.
    """
    anchor = int(np.argmax(coefficients))
    others = [
        (column, factor) for i, (column, factor) in enumerate(zip(columns, coefficients, strict=True)) if i != anchor
    ]
    merged = np.empty_like(columns[anchor])
    for part in blocks(merged.size):
        origin = columns[anchor][part].astype(np.float64)
        offset = np.zeros_like(origin)
        for column, factor in others:
            offset += (origin - column[part].astype(np.float64)) * factor
        merged[part] = origin - offset
    return merged
