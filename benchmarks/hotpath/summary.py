"""From samples to what the arms cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import quantiles
from typing import TypedDict

from benchmarks.hotpath.turns import ARMS, EMPTY, NONE, SWARM, Plan, Samples

GOAL = "pytorch"
"""The framework that the goal is for."""
GOAL_NS = 1000.0
"""The most that Swarm's callback should add to one of its batches, in nanoseconds."""


class Spread(TypedDict):
    """Median and quartiles over the repetitions, in nanoseconds per batch."""

    median: float
    q1: float
    q3: float


class Summary(TypedDict):
    """What one framework's callbacks cost. Differences are taken within each repetition."""

    swarm: Spread
    """Added by Swarm's callback, against none."""
    empty: Spread
    """Added by an empty callback, against none."""
    over_empty: Spread
    """Added by Swarm's callback, against an empty one."""
    batch: dict[str, Spread]
    """A whole batch, training step included, in each arm."""


def summarise(samples: Samples) -> Summary:
    """Medians and quartiles of one framework's samples."""
    hooks = samples["hooks"]
    return Summary(
        swarm=_difference(hooks[SWARM], hooks[NONE]),
        empty=_difference(hooks[EMPTY], hooks[NONE]),
        over_empty=_difference(hooks[SWARM], hooks[EMPTY]),
        batch={arm: _spread(samples["batch"][arm]) for arm in ARMS},
    )


def table(plan: Plan, results: Mapping[str, Summary]) -> str:
    """The results for people."""
    rows = [("framework", "Swarm adds", "an empty one adds", "a batch takes")]
    for name, each in results.items():
        rows.append(
            (name, _shown(each["swarm"]), _shown(each["empty"]), f"{each['batch'][NONE]['median'] / 1e3:.0f} µs")
        )
    lines = [f"{name:<18}{swarm:>24}{empty:>24}{batch:>16}" for name, swarm, empty, batch in rows]
    foot = f"ns per batch between merges: median (quartiles) of {plan.repeats} repetitions of {plan.batches} batches"
    if GOAL in results:
        met = "met" if results[GOAL]["swarm"]["median"] <= GOAL_NS else "missed"
        foot += f"; goal for {GOAL}, at most {GOAL_NS:.0f}: {met}"
    return "\n".join([*lines, foot])


def _difference(values: Sequence[float], less: Sequence[float]) -> Spread:
    return _spread([value - other for value, other in zip(values, less, strict=True)])


def _spread(values: Sequence[float]) -> Spread:
    q1, median, q3 = (round(cut, 1) for cut in quantiles(values, n=4, method="inclusive"))
    return Spread(median=median, q1=q1, q3=q3)


def _shown(spread: Spread) -> str:
    return f"{spread['median']:.0f} ({spread['q1']:.0f} to {spread['q3']:.0f})"
