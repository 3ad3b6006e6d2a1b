"""What one site tells of its data: counts, sums, and extremes as integers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from swarm.errors import ConfigurationError

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
NOTHING = np.iinfo(np.int64).min
"""Stands for the extreme of no value."""
_SIGN = np.int64(np.iinfo(np.int64).max)


@dataclass(frozen=True, slots=True, eq=False)
class LocalStatistics:
    """Of the samples of one site; features are in one dimension. A group that is too small is told as an empty one."""

    samples: int
    count: Floats
    """Of values that are not missing, float64[features]."""
    mean: Floats
    squares: Floats
    """Sum of the squared differences from ``mean``."""
    lowest: Integers
    """The negated minimum as an integer of the same order, int64[features]."""
    highest: Integers
    """The maximum as an integer of the same order."""
    classes: Floats
    """Samples of each class, float64[classes]."""
    shape: tuple[int, ...]
    """Of a sample."""
    notes: tuple[str, ...] = ()
    """What is not told because it is of too few samples."""


def ordered(values: Floats) -> Integers:
    """Integers that have the order of ``values``, which contain no NaN."""
    bits: Integers = (values + 0.0).view(np.int64)  # without negative zeros
    return np.where(bits < 0, bits ^ _SIGN, bits)


def unordered(integers: Integers) -> Floats:
    """The values of which ``ordered`` made these integers; NaN for ``NOTHING``."""
    return np.where(integers < 0, integers ^ _SIGN, integers).view(np.float64)


def measure(
    features: Any, labels: Any, *, columns: Sequence[str] | None, classes: Sequence[Any] | None, least: int
) -> LocalStatistics:
    """Count and measure the data of this site.

    Args:
        features: array of shape ``[samples, ...]``; NaN is a missing value.
        labels: the class of each sample, or None.
        columns: the names of the features, or None.
        classes: all classes, or None.
        least: groups of fewer samples count as empty.

    Raises:
        ConfigurationError: the data does not fit the arguments, contains infinities, or is too little.
    """
    values = _numbers(features)
    shape, flat = values.shape[1:], values.reshape(len(values), math.prod(values.shape[1:]))
    if columns is not None and len(columns) != flat.shape[1]:
        raise ConfigurationError(f"columns has {len(columns)} names, and features has {flat.shape[1]} columns")
    names = list(columns) if columns is not None else [f"feature {index}" for index in range(flat.shape[1])]
    infinite = np.flatnonzero(np.isinf(flat).any(axis=0))
    if infinite.size:
        raise ConfigurationError(
            f"features contains infinity in {names[infinite[0]]!r}: give NaN where a value is missing"
        )
    present = ~np.isnan(flat)
    count = present.sum(axis=0).astype(np.float64)
    small = count < least
    notes = [
        f"{names[index]!r}: fewer than {least} values, told as none" for index in np.flatnonzero(small & (count > 0))
    ]
    present[:, small] = False
    count[small] = 0
    known = np.where(present, flat, 0.0)
    divisor = np.maximum(count, 1)
    with np.errstate(over="ignore", invalid="ignore"):  # checked below
        mean = (known / divisor).sum(axis=0)
        squares = (np.square(np.where(present, flat - mean, 0.0))).sum(axis=0)
        finite = np.isfinite(mean * count) & np.isfinite(squares)
    if not finite.all():
        raise ConfigurationError(f"the values in {names[int(np.argmin(finite))]!r} are too large for float64 sums")
    counts, told = _class_counts(labels, classes, len(values), least)
    return LocalStatistics(
        samples=len(values),
        count=count,
        mean=mean,
        squares=squares,
        lowest=_extreme(-flat, present),
        highest=_extreme(flat, present),
        classes=counts,
        shape=shape,
        notes=(*notes, *told),
    )


def _numbers(features: Any) -> Floats:
    array = np.asarray(features)
    if array.dtype.kind not in "biuf" and array.dtype != object:
        raise ConfigurationError(
            f"features is of dtype {array.dtype}: allowed are numbers, with NaN for missing values"
        )
    try:
        values = array.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise ConfigurationError(f"features contains what is no number: {error}") from error
    if values.ndim == 0:
        raise ConfigurationError("features is a single number: allowed is an array of shape [samples, features]")
    return values.reshape(-1, 1) if values.ndim == 1 else values


def _extreme(values: Floats, present: NDArray[np.bool_]) -> Integers:
    largest = np.where(present, values, -np.inf).max(axis=0, initial=-np.inf)
    return np.where(present.any(axis=0), ordered(largest), NOTHING)


def _class_counts(labels: Any, classes: Sequence[Any] | None, samples: int, least: int) -> tuple[Floats, list[str]]:
    if labels is None and classes is None:
        return np.zeros(0), []
    if labels is None or classes is None:
        raise ConfigurationError(
            "labels and classes belong together: classes is the list of all classes, the same at each site, since a "
            "site may lack some of them"
        )
    given = np.asarray(labels).reshape(-1).tolist()
    if len(given) != samples:
        raise ConfigurationError(f"labels has {len(given)} entries, and features has {samples} samples")
    counts = dict.fromkeys(classes, 0)
    if len(counts) < len(classes):
        raise ConfigurationError("classes names a class twice")
    for label in given:
        if label not in counts:
            raise ConfigurationError(f"labels contains {label!r}, which is not in classes")
        counts[label] += 1
    few = [each for each in counts if 0 < counts[each] < least]
    hidden = _with_complement(counts, few, least)
    notes = [f"class {each!r}: fewer than {least} samples, told as none" for each in few]
    notes += [f"class {each!r}: told as none, or else the others could be computed" for each in hidden - {*few}]
    return np.array([0.0 if each in hidden else float(number) for each, number in counts.items()]), notes


def _with_complement(counts: Mapping[Any, int], few: Sequence[Any], least: int) -> set[Any]:
    """Classes to hide: those with too few samples, and more until these have together ``least`` samples.

    The number of all samples is told. With one class hidden, its size is that number less those of the others.
    """
    hidden = {*few}
    others = sorted((each for each in counts if each not in hidden and counts[each]), key=lambda each: counts[each])
    while few and others and sum(counts[each] for each in hidden) < least:
        hidden.add(others.pop(0))
    return hidden
