"""The statistics of all sites together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from swarm.errors import ExchangeError
from swarm.pooling.local import unordered
from swarm.tensors.state import Array

ROUNDING = 64 * np.finfo(np.float64).eps
"""A standard deviation below this fraction of the mean is a rounding error and counts as 0."""
MOST_SAMPLES = 2.0**53
"""Up to which float64 holds every integer."""
Numbers = NDArray[np.floating[Any]]


@dataclass(frozen=True, slots=True, eq=False)
class Pooled:
    """Statistics over the samples of all sites; every site has the same bytes. Arrays have the shape of a sample."""

    samples: int
    """Of all sites."""
    sites: tuple[str, ...]
    """The names of the sites whose data is in it."""
    count: NDArray[np.int64]
    """Values of each feature that are not missing, without those of sites that have too few."""
    mean: NDArray[np.float64]
    """NaN where there is no value."""
    std: NDArray[np.float64]
    """Standard deviation with the divisor n, as scikit-learn's ``StandardScaler``."""
    min: NDArray[np.float64] | None
    """None without ``extremes=True``."""
    max: NDArray[np.float64] | None
    classes: Mapping[Any, int] = field(default_factory=lambda: MappingProxyType({}))
    """Samples of each class, without those of sites that have too few of it."""
    withheld: Mapping[Any, int] = field(default_factory=lambda: MappingProxyType({}))
    """Number of sites that tell 0 for a class: they have none of it, or too few to tell."""
    columns: tuple[str, ...] = ()
    """The names of the features, if they were given."""
    digest: str = ""
    """Of the merged numbers: equal at all sites."""

    def standardise(self, x: Any) -> Numbers:
        """``(x - mean) / std``; a feature without spread is only centred, and one without values stays as it is.

        Args:
            x: array of shape ``[..., *sample]``. Missing values stay NaN.

        Returns:
            A new array, float32 if ``x`` is, else float64.
        """
        values = np.asarray(x)
        known = self.count > 0
        spread = known & (self.std > 0)
        result = (values.astype(np.float64) - np.where(known, self.mean, 0.0)) / np.where(spread, self.std, 1.0)
        return result.astype(np.float32) if values.dtype == np.float32 else result

    def class_weights(self) -> dict[Any, float]:
        """For each class, samples / (classes · samples of the class): rare classes count more.

        The mean over all samples is 1. A class of which no sample is told has the weight 0. Source: the "balanced"
        weights of scikit-learn, after King and Zeng 2001.
        """
        present = {each: number for each, number in self.classes.items() if number > 0}
        total = sum(present.values())
        return {each: total / (len(present) * present[each]) if each in present else 0.0 for each in self.classes}


def record_of(
    values: Mapping[str, Array],
    members: Sequence[str],
    shape: tuple[int, ...],
    *,
    columns: Sequence[str] | None,
    classes: Sequence[Any] | None,
    digest: str,
) -> Pooled:
    """The record of merged values.

    Args:
        values: by name of the tensor, after both rounds.
        members: names of all that take part, in their order.
        shape: of a sample.
        columns: names of the features, or None.
        classes: all classes, or None.
        digest: of the values.

    Raises:
        ExchangeError: not the same sites have contributed to both rounds, or a site sent impossible numbers.
    """
    took_part = [_took_part(values[each].astype(np.float64)) for each in ("sites", "sites_of_squares")]
    first, second = ({name for name, there in zip(members, each, strict=True) if there} for each in took_part)
    if first != second or not first:
        odd = ", ".join(sorted(first ^ second)) or "all sites"
        raise ExchangeError(f"the statistics are not complete: {odd} contributed to one of two rounds only; try again")
    sites = len(first)
    _require_possible(values, sites)
    count = np.rint(values["count"].astype(np.float64) * sites)
    divisor = np.where(count > 0, count, np.nan)
    mean, std = values["sum"] * sites / divisor, np.sqrt(values["squares"] * sites / divisor)
    std = np.where(std <= ROUNDING * np.abs(mean), 0.0 * std, std)
    labels = list(classes or ())
    extremes = "lowest" in values

    def shaped(array: Any) -> Any:
        result = np.ascontiguousarray(array).reshape(shape)
        result.flags.writeable = False
        return result

    def counted(name: str) -> Mapping[Any, int]:
        numbers = np.rint(values[name].astype(np.float64) * sites).astype(int).tolist()
        return MappingProxyType(dict(zip(labels, numbers, strict=True)))

    return Pooled(
        samples=int(np.rint(values["samples"][0] * sites)),
        sites=tuple(sorted(first)),
        count=shaped(count.astype(np.int64)),
        mean=shaped(mean),
        std=shaped(std),
        min=shaped(-unordered(values["lowest"].astype(np.int64))) if extremes else None,
        max=shaped(unordered(values["highest"].astype(np.int64))) if extremes else None,
        classes=counted("classes"),
        withheld=counted("withheld"),
        columns=tuple(columns or ()),
        digest=digest,
    )


def _took_part(marks: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Who contributed to a round, of the mean of marks: each site sets its own to 1.

    Raises:
        ExchangeError: these are no such marks.
    """
    there: NDArray[np.bool_] = marks != 0
    if not np.allclose(marks[there] * there.sum(), 1.0):
        raise _impossible("marks of sites")
    return there


def _require_possible(values: Mapping[str, Array], sites: int) -> None:
    """Check what no honest site sends: negative or huge counts, or more of something than there are samples.

    Raises:
        ExchangeError: a number is impossible.
    """
    samples = float(values["samples"][0]) * sites
    with np.errstate(over="ignore"):
        totals = {
            name: values[name].astype(np.float64) * sites for name in ("count", "sum", "classes", "withheld", "squares")
        }
    if not 0 <= samples <= MOST_SAMPLES:
        raise _impossible("number of samples")
    for name, most in {"count": samples, "classes": samples, "withheld": sites, "squares": np.inf}.items():
        if not ((totals[name] >= 0) & (totals[name] <= most + 0.5)).all():
            raise _impossible(name)
    for name, total in totals.items():
        if not np.isfinite(total).all():
            raise _impossible(name)


def _impossible(what: str) -> ExchangeError:
    return ExchangeError(
        f"the statistics are not usable: the {what} of all sites together cannot be; a site lies or is broken"
    )
