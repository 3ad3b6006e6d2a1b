"""Spectral normalisation after a merge: the singular vectors of merged weights.

A layer under spectral normalisation divides its weight by u·(W v), where the unit vectors u and v that it keeps are
close to the first singular vectors of W. Those of one contributor are not those of a merged weight, so they are
computed anew, by power iteration (Miyato et al. 2018, arXiv 1802.05957). Every member of a round does so for itself:
all arithmetic is elementwise and in a fixed order, so it gives the same bytes on every machine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from typing import Any

    from numpy.typing import NDArray

    from swarm.state import ModelState

    Numbers = NDArray[np.floating[Any]]

MOST_STEPS = 200
TOLERANCE = 1e-5
"""The iteration ends when a step changes the singular value by less than this part of it."""
FRESH = 0.1
"""Part of the first vector that does not come from the contributor's: its vector may be orthogonal to the new one."""


def refresh(model: ModelState) -> None:
    """Set the singular vectors of each weight under spectral normalisation, in place.

    The first singular value of the normalised weight is then 1, within a part in a thousand where the singular values
    of the weight lie apart. Where the layer writes its normalised weight back, the weight is divided as well.
    """
    arrays = [array for _, array in model.arrays()]
    for norm in model.schema.spectral:
        weight, left = arrays[norm.weight], arrays[norm.left]
        if weight.size == 0:
            continue
        wide = np.dtype(np.float64 if weight.dtype == np.float64 else np.float32)
        rows = np.moveaxis(weight, norm.axis, 0).reshape(weight.shape[norm.axis], -1)
        value, u, v = _first_singular(_as(rows, wide), _as(left.reshape(-1), wide))
        if not 0 < value < np.inf:
            continue
        left[...] = u.reshape(left.shape).astype(left.dtype)
        if norm.right is not None:
            right = arrays[norm.right]
            right[...] = v.reshape(right.shape).astype(right.dtype)
        if norm.in_place:
            weight[...] = (_as(weight, wide) / value).astype(weight.dtype)


def _first_singular(matrix: Numbers, start: Numbers) -> tuple[Any, Numbers, Numbers]:
    """The largest singular value of a matrix, with its left and right vector, from an approximate left vector."""
    numbers = _as(np.arange(start.size, dtype=np.int64) * 7919 % 101 - 50, matrix.dtype)
    u = _unit(_unit(start) + _unit(numbers) * matrix.dtype.type(FRESH))
    value, v = matrix.dtype.type(0), np.zeros(matrix.shape[1], matrix.dtype)
    for _ in range(MOST_STEPS):
        v = _unit(_sum(matrix * u[:, None]))
        image = _sum((matrix * v).T)
        before, value = value, _length(image)
        if value == 0:
            break
        u = image / value
        if value - before <= TOLERANCE * value:
            break
    return value, u, v


def _as(array: NDArray[Any], dtype: np.dtype[Any]) -> Numbers:
    numbers: Numbers = array.astype(dtype)
    return numbers


def _sum(terms: Numbers) -> Numbers:
    """The sum along the first axis, by halves: NumPy's own order of summation depends on the machine."""
    while len(terms) > 1:
        half = len(terms) // 2
        rest, folded = terms[half : len(terms) - half], terms[:half] + terms[len(terms) - half :]
        terms = np.concatenate((folded, rest)) if len(rest) else folded
    total: Numbers = terms[0]
    return total


def _length(vector: Numbers) -> Any:
    """The Euclidean length, a scalar of the vector's dtype."""
    return np.sqrt(_sum(np.square(vector)))


def _unit(vector: Numbers) -> Numbers:
    length = _length(vector)
    return vector / length if length > 0 else vector
