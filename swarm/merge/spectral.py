"""Spectral normalisation after a merge: the singular vectors of merged weights.

A layer under spectral normalisation divides its weight by u·(W v). It stores the unit vectors u and v, which are close
to the first singular vectors of W (Miyato et al. 2018, arXiv 1802.05957). The vectors of one contributor do not match a
merged weight, so they are recomputed by the Lanczos method on W Wᵀ (Golub and Van Loan, Matrix Computations, chapter
10). Every member of a round does this itself. All operations are elementwise and in a fixed order, and avoid subnormal
numbers, which some processors round to zero. So the result is the same on every machine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from typing import Any

    from numpy.typing import NDArray

    from swarm.tensors.state import ModelState

    Numbers = NDArray[np.floating[Any]]

MOST_STEPS = 40
LEAST_STEPS = 12
LOOK_EVERY = 4
"""Number of steps between two comparisons of the singular value."""
TOLERANCE = 1e-4
"""The method ends when the square of the singular value changes by less than this fraction between comparisons."""
FRESH = 0.1
"""Fraction of the start vector that is not the contributor's, which may be orthogonal to the solution."""
NEGLIGIBLE = 1e-12
"""Values below this fraction of the largest are set to zero: their products could be subnormal."""
SQUARINGS = 24
"""Enough to separate two eigenvalues with a relative difference of 1e-6."""


def refresh(model: ModelState) -> None:
    """Set the singular vectors of each weight under spectral normalisation, in place.

    The first singular value of the normalised weight is then 1, within 1 %. If the layer stores its normalised weight,
    the weight is divided as well.
    """
    with np.errstate(all="ignore"):
        _refresh(model)


def _refresh(model: ModelState) -> None:
    arrays = [array for _, array in model.arrays()]
    for norm in model.schema.spectral:
        weight, left = arrays[norm.weight], arrays[norm.left]
        if weight.size == 0:
            continue
        wide = np.dtype(np.float64 if weight.dtype == np.float64 else np.float32)
        rows = np.moveaxis(weight, norm.axis, 0).reshape(weight.shape[norm.axis], -1)
        matrix = _as(rows, wide)
        scale = np.abs(matrix).max()
        if not 0 < scale < np.inf:
            continue
        start = _as(left.reshape(-1), wide)
        if not np.isfinite(start).all():
            start = np.zeros_like(start)
        value, u, v = _first_singular(_without_negligible(matrix / scale), start)
        left[...] = u.reshape(left.shape).astype(left.dtype)
        if norm.right is not None:
            right = arrays[norm.right]
            right[...] = v.reshape(right.shape).astype(right.dtype)
        if norm.in_place:
            weight[...] = (_as(weight, wide) / (value * scale)).astype(weight.dtype)


def _first_singular(matrix: Numbers, start: Numbers) -> tuple[Any, Numbers, Numbers]:
    """The largest singular value of a matrix, with its left and right vector, from an approximate left vector.

    ``matrix`` is not zero, and its values are of the order of 1.
    """
    numbers = _as(np.arange(start.size, dtype=np.int64) * 7919 % 101 - 50, matrix.dtype)
    basis = [_unit(_without_negligible(_unit(start) + _unit(numbers) * matrix.dtype.type(FRESH)))]
    products: list[Numbers] = []
    inner = np.zeros((MOST_STEPS, MOST_STEPS))
    before = 0.0
    combination: Numbers = np.ones(1)
    for step in range(MOST_STEPS):
        products.append(_sum(matrix * basis[-1][:, None]))
        for other, product in enumerate(products):
            inner[step, other] = inner[other, step] = float(_sum(product * products[-1]))
        last = step + 1 == MOST_STEPS or len(basis) == start.size
        if last or (step + 1 >= LEAST_STEPS and (step + 1) % LOOK_EVERY == 0):
            square, combination = _top(inner[: step + 1, : step + 1])
            if last or square - before <= TOLERANCE * square:
                break
            before = square
        following = _sum((matrix * products[-1]).T)
        for _ in range(2):  # twice, because rounding errors reintroduce the old directions
            for vector in basis:
                following = following - vector * _sum(vector * following)
        length = _length(following)
        if length <= matrix.dtype.type(1e-6) * _length(products[-1]):
            square, combination = _top(inner[: step + 1, : step + 1])
            break
        basis.append(_unit(_without_negligible(following)))
    parts = [vector * matrix.dtype.type(factor) for vector, factor in zip(basis, combination, strict=False)]
    u = _unit(_without_negligible(_sum(np.array(parts))))
    image = _sum(matrix * u[:, None])
    value = _length(image)
    return value, u, _without_negligible(image / value) if value > 0 else image


def _top(matrix: Numbers) -> tuple[float, Numbers]:
    """The largest eigenvalue of a small positive semidefinite matrix, and its vector, by repeated squaring."""
    power = matrix
    for _ in range(SQUARINGS):
        power = _without_negligible(power / np.abs(power).max())
        power = _sum(np.swapaxes(power[:, :, None] * power[None, :, :], 0, 1))
    column = int(np.argmax(np.diagonal(power)))
    vector = _unit(_without_negligible(power[:, column] / np.abs(power[:, column]).max()))
    return float(_sum(vector * _sum(matrix.T * vector[:, None]))), vector


def _as(array: NDArray[Any], dtype: np.dtype[Any]) -> Numbers:
    numbers: Numbers = array.astype(dtype)
    return numbers


def _without_negligible(values: Numbers) -> Numbers:
    return np.where(np.abs(values) < NEGLIGIBLE * np.abs(values).max(), values.dtype.type(0), values)


def _sum(terms: Numbers) -> Numbers:
    """The sum along the first axis, by halves, because NumPy's order of summation depends on the machine."""
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
