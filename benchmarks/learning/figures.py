"""Figures over all seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean, stdev
from typing import Any, NamedTuple

from scipy.stats import t

from benchmarks.learning.outcome import Outcome
from benchmarks.learning.plan import Plan

CONFIDENCE = 0.95
DIGITS = 4
MEANS = ("alone", "pooled", "reference", "swarm", "label_distance", "rounds", "bytes", "seconds")


class Interval(NamedTuple):
    """A mean and its confidence interval; that is None for one value."""

    mean: float
    low: float | None
    high: float | None


def interval(values: Sequence[float]) -> Interval:
    """The mean, with the interval of Student's t distribution that has it with 95 % confidence."""
    mean, count = fmean(values), len(values)
    if count < 2:
        return Interval(mean, None, None)
    half = float(t.ppf((1 + CONFIDENCE) / 2, count - 1)) * stdev(values) / math.sqrt(count)
    return Interval(mean, mean - half, mean + half)


def paired(before: Sequence[Outcome], after: Sequence[Outcome]) -> Interval:
    """By how much the ratio to pooled data is lower ``after`` than ``before``, seed by seed."""
    return interval([one.ratio - other.ratio for one, other in zip(before, after, strict=True)])


def against_fixed(adaptive: Sequence[Outcome], fixed: Sequence[Outcome]) -> dict[str, Any]:
    """By how much the accuracy is higher than with the fixed interval that has as many rounds, seed by seed."""
    gains = [one.swarm - other.swarm for one, other in zip(adaptive, fixed, strict=True)]
    gain = interval(gains)
    return {
        "gain_over_fixed": _rounded(gain.mean),
        "gain_over_fixed_low": _rounded(gain.low),
        "gain_over_fixed_high": _rounded(gain.high),
        "fixed_rounds": [outcome.rounds for outcome in fixed],
        "fixed_swarm": [outcome.swarm for outcome in fixed],
    }


def summary(plan: Plan, outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """The record of a plan: means over seeds; ``runs`` has each seed."""
    ratio = interval([outcome.ratio for outcome in outcomes])
    gains = [_mean([outcome.own_gain[rank] for outcome in outcomes]) for rank in range(plan.peers)]
    differences = [each.reference_difference for each in outcomes if each.reference_difference is not None]
    aucs = outcomes[0].auc
    return {
        **plan.record(),
        "seeds": [outcome.seed for outcome in outcomes],
        "ratio": _rounded(ratio.mean),
        "ratio_low": _rounded(ratio.low),
        "ratio_high": _rounded(ratio.high),
        **{name: _mean([getattr(outcome, name) for outcome in outcomes]) for name in MEANS},
        "own_alone": _by_site([outcome.own_alone for outcome in outcomes]),
        "own_swarm": _by_site([outcome.own_swarm for outcome in outcomes]),
        "own_worst": min(gain for gain in gains if gain is not None),
        "own_worst_of_a_seed": _rounded(min(min(outcome.own_gain) for outcome in outcomes)),
        "reference_difference": max(differences, default=None),
        "steps": outcomes[0].steps,
        "warnings": sorted({text for outcome in outcomes for lines in outcome.warnings for text in lines}),
        "auc": {arm: _mean([outcome.auc[arm] for outcome in outcomes]) for arm in aucs},
        "processes": {name: max(outcome.processes[name] for outcome in outcomes) for name in outcomes[0].processes},
        "runs": [outcome.record() for outcome in outcomes],
    }


def _by_site(rows: Sequence[Sequence[float]]) -> list[float | None]:
    return [_mean(column) for column in zip(*rows, strict=True)]


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return _rounded(fmean(known)) if known else None


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, DIGITS)
