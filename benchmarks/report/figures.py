"""The figures of the page, from the results that are kept."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.attacks.__main__ import GOAL
from benchmarks.learning.figures import Interval, interval
from benchmarks.report.plan import COMMANDS

Result = Mapping[str, Any]
_MB = 1e6
_NOT_ATTACKS = ("oracle", "clean")


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """Everything that was measured, by the names of the files."""

    intervals: Sequence[Result]
    codecs: Sequence[Result]
    policies: Sequence[Result]
    far_apart: Sequence[Result]
    outers: Sequence[Result]
    unequal: Sequence[Result]
    attacks: Sequence[Result]

    @classmethod
    def read(cls, directory: Path) -> Results:
        """What ``measure`` has written."""
        return cls(**{name: json.loads((directory / f"{name}.json").read_text(encoding="utf-8")) for name in COMMANDS})

    def exact(self, partition: str, every: int) -> Result:
        """The result with exact weights for a partition and an interval."""
        return next(each for each in self.intervals if (each["partition"], each["interval"]) == (partition, every))


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A configuration: what it costs a site, and how good the model is."""

    rounds: float
    megabytes: float
    """Sent by a site."""
    ratio: Interval
    """Accuracy over that on pooled data."""


def point(result: Result) -> Point:
    """The means over the seeds of a result."""
    runs = result["runs"]
    return Point(
        rounds=interval([run["rounds"] for run in runs]).mean,
        megabytes=interval([run["bytes"] / result["peers"] / _MB for run in runs]).mean,
        ratio=interval([run["swarm"] / run["pooled"] for run in runs]),
    )


def difference(result: Result, other: Result) -> Interval:
    """By how much the accuracy of a result is higher than that of another one, seed by seed."""
    pairs = zip(result["runs"], other["runs"], strict=True)
    return interval([one["swarm"] - two["swarm"] for one, two in pairs])


def accuracy(result: Result) -> Interval:
    """Of the common model, over the seeds."""
    return interval([run["swarm"] for run in result["runs"]])


def gain(result: Result) -> Interval:
    """By how much a policy is better than the fixed interval that gives as many rounds, seed by seed."""
    pairs = zip(result["runs"], result["fixed_swarm"], strict=True)
    return interval([run["swarm"] - fixed for run, fixed in pairs])


def of_the_oracle(result: Result) -> dict[str, Interval]:
    """By attack, ``clean`` first: accuracy over that of the mean of the honest sites alone, seed by seed."""
    runs = result["runs"]
    names = ["clean", *(name for name in runs if name not in _NOT_ATTACKS)]
    return {
        name: interval([one / best for one, best in zip(runs[name], runs["oracle"], strict=True)]) for name in names
    }


def worst(result: Result) -> tuple[str, Interval]:
    """The attack with the lowest mean, and its ratio."""
    attacked = {name: each for name, each in of_the_oracle(result).items() if name != "clean"}
    return min(attacked.items(), key=lambda item: item[1].mean)


def holding(results: Iterable[Result], *, sure: bool = False) -> Iterator[str]:
    """The rules that keep ``GOAL`` of the oracle under every attack, in the mean or, if ``sure``, in the interval."""
    for result in results:
        attacked = [each for name, each in of_the_oracle(result).items() if name != "clean"]
        if min((each.low or 0.0) if sure else each.mean for each in attacked) >= GOAL:
            yield result["rule"]
