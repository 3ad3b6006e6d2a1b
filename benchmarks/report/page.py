"""The text of ``docs/learning.md``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from benchmarks.attacks.__main__ import GOAL
from benchmarks.learning.figures import Interval
from benchmarks.report.figures import (
    Result,
    Results,
    accuracy,
    difference,
    gain,
    holding,
    of_the_oracle,
    point,
    worst,
)
from benchmarks.report.plan import (
    CODECS,
    FAR_APART,
    INTERVALS,
    LONG,
    OUTER_GOAL,
    OUTERS,
    PARTITIONS,
    RATIO_GOALS,
    SKEWS,
    STEPS,
    UNEQUAL,
)


def _goal(value: float) -> str:
    """As goals are written: without a zero before the point, and without zeros at the end."""
    return f"{value:g}".removeprefix("0")


_GOAL = _goal(GOAL)
_HEAD = f"""# What was measured about learning

Interval, codec, sync policy, outer optimizer and merge rule, on handwritten digits of 8 by 8 pixels. `make report`
writes this page and its pictures from the results in `docs/learning/`; do not edit it. `make measure-learning` measures
them again, which takes about an hour of one core. A test compares the page with the results.

The task is small. Expect the direction of an effect on your data, not its size:
[`swarm simulate`](simulate.md) measures it with your own script. [Choosing settings](choosing.md) gives advice.

Each figure is a mean over seeds with its 95 % interval (Student's t). A seed decides the test set, the division of the
data among the sites, the initial weights and the batches. Differences are taken seed by seed. Where an interval
contains 0, or 1 for a ratio, no difference is shown. There are many intervals on this page: expect one in twenty to
miss. The test set has 359 images, so that a difference of one image is .003, and smaller ones are not seen.

## Accuracy, rounds and bytes

Eight sites, {STEPS} batches of 32 at each, SGD with momentum .9, exact weights. *Of pooled* is the accuracy on a common
test set over that of the same model trained on all data in one place. *Sent* is by one site.

![Accuracy against rounds](learning/rounds.svg)
![Accuracy against bytes](learning/bytes.svg)
"""

_POLICIES = f"""
## Sync policies

A policy that changes the interval also changes the number of rounds, which alone changes the accuracy. So each policy
is compared with the fixed interval whose number of rounds is nearest to its own, for each of ten seeds: Dirichlet .1,
eight sites, {STEPS} batches. The gain is a difference of accuracies. For `qsr` the learning rate falls to 0 as a cosine
does, with the fixed interval too; for the others it is constant. How many rounds `seconds` makes depends on the
machine: here it aims at .1 s from merge to merge.
"""

_FAR_APART = f"""
## Sites with other labels

What is there for sites that differ much and merge rarely: eight sites, {LONG} batches at each, SGD with momentum .9.
The gain is a difference of accuracies to the first row.

### Dirichlet .1, 128 batches between merges
"""

_OUTERS = """
### Two classes a site, 40 batches between merges

Outer optimizers, with `outer_learning_rate` and `outer_momentum`.
"""

_UNEQUAL = """
### Unequal steps

Four sites with Dirichlet .1, which make 32, 16, 8 and 4 batches between two merges. The gain is that of
`normalize_steps`.
"""

_ATTACKS = f"""
## Merge rules under attack

Eleven sites, of which two attack in every round; 20 batches between merges. With Dirichlet .5 there are 24 rounds and
five seeds, with Dirichlet .1 12 and three, so that the intervals are wide. *Of the oracle* is the accuracy over that of
the mean of the nine honest sites alone.
[The benchmark](../benchmarks/README.md#what-bad-sites-can-do-to-the-model-attacks) says what each attack sends. The
goal is {_GOAL} of the oracle under every attack.
"""


def page(results: Results) -> str:
    """The page, from the results alone."""
    return "\n".join(_lines(results)).rstrip() + "\n"


def _lines(results: Results) -> Iterator[str]:
    yield _HEAD
    yield from _table(["data", "interval", "rounds", "sent", "of pooled"], _intervals(results))
    yield from _commands(results.intervals)
    yield "\n## Codecs\n"
    yield "The same with Dirichlet .1. The difference is that of the accuracy to exact weights.\n"
    yield from _table(["interval", "codec", "sent", "of pooled", "difference"], _codecs(results))
    yield from _commands(results.codecs)
    yield _POLICIES
    yield from _table(["policy", "first interval", "rounds", "rounds, fixed", "gain", ""], _policies(results))
    yield from _commands(results.policies)
    yield from _far_apart(results)
    yield _ATTACKS
    for partition in SKEWS:
        yield from _attacked(partition, [each for each in results.attacks if each["partition"] == partition])
    yield from _commands(results.attacks)


def _intervals(results: Results) -> Iterator[list[str]]:
    for partition, name in PARTITIONS.items():
        for every in INTERVALS:
            found = point(results.exact(partition, every))
            yield [name, str(every), f"{found.rounds:.0f}", _megabytes(found.megabytes), _shown(found.ratio)]


def _codecs(results: Results) -> Iterator[list[str]]:
    for every in INTERVALS:
        exact = results.exact("dir0.1", every)
        found = point(exact)
        yield [str(every), f"`{CODECS[0]}`", _megabytes(found.megabytes), _shown(found.ratio), ""]
        for result in results.codecs:
            if result["interval"] == every:
                found, less = point(result), difference(result, exact)
                sent, codec = _megabytes(found.megabytes), f"`{result['codec']}`"
                yield [str(every), codec, sent, _shown(found.ratio), _shown(less, signed=True)]


def _policies(results: Results) -> Iterator[list[str]]:
    for result in results.policies:
        rounds = sum(run["rounds"] for run in result["runs"]) / len(result["runs"])
        fixed = sum(result["fixed_rounds"]) / len(result["fixed_rounds"])
        found = gain(result)
        counts = [str(result["interval"]), f"{rounds:.1f}", f"{fixed:.1f}"]
        yield [f"`{result['policy']}`", *counts, _shown(found, signed=True), _verdict(found)]


def _verdict(found: Interval) -> str:
    if found.low is not None and found.low > 0:
        return "higher"
    return "lower" if found.high is not None and found.high < 0 else "no difference shown"


def _far_apart(results: Results) -> Iterator[str]:
    yield _FAR_APART
    yield from _table(["setting", "of pooled", "gain"], _compared(FAR_APART, results.far_apart))
    ratios = dict(zip(FAR_APART, (point(each).ratio.mean for each in results.far_apart), strict=True))
    reached = [f"{name} {_reached(ratios[name], goal)}" for name, goal in RATIO_GOALS.items()]
    yield f"\nThe goals: {'; '.join(reached)}."
    yield from _commands(results.far_apart)
    yield _OUTERS
    yield from _table(["outer optimizer", "of pooled", "gain"], _compared(OUTERS, results.outers))
    best = max(accuracy(each).mean for each in results.outers[1:])
    yield f"\nThe goal is an accuracy: the best of them {_reached(best, OUTER_GOAL)}."
    yield from _commands(results.outers)
    yield _UNEQUAL
    yield from _table(["steps normalized", "of pooled", "gain"], _compared(UNEQUAL, results.unequal))
    yield from _commands(results.unequal)


def _compared(names: Iterable[str], results: Sequence[Result]) -> Iterator[list[str]]:
    """One row for each result, with the gain over the first one."""
    for name, result in zip(names, results, strict=True):
        found = "" if result is results[0] else _shown(difference(result, results[0]), signed=True)
        yield [name, _shown(point(result).ratio), found]


def _reached(found: float, goal: float) -> str:
    return f"{'reaches' if found >= goal else 'misses'} {_goal(goal)} with {_number(found)}"


def _attacked(partition: str, results: Sequence[Result]) -> Iterator[str]:
    name = PARTITIONS[partition]
    yield f"\n### {name}\n"
    yield f"![Accuracy of each rule under each attack, {name}](learning/attacks-{partition}.svg)\n"
    kinds = list(of_the_oracle(results[0]))
    heads = ["rule", "no attack", *(f"`{kind}`" for kind in kinds[1:])]
    rows = [[f"`{each['rule']}`", *(_half(found) for found in of_the_oracle(each).values())] for each in results]
    yield from _table(heads, rows)
    yield ""
    yield from _table(["rule", "worst attack", "of the oracle"], _worst(results))
    yield ""
    held, surely = ([f"`{rule}`" for rule in holding(results, sure=sure)] for sure in (False, True))
    if held:
        yield f"The mean of {', '.join(held)} is at least {_GOAL} of the oracle under every attack."
        yield f"The whole interval is above it for {', '.join(surely) or 'none of them'}."
    else:
        yield f"**No rule holds this.** The mean of each one is below {_GOAL} of the oracle under at least one attack:"
        yield "honest sites are so far apart here that an attack hides among them."


def _worst(results: Sequence[Result]) -> Iterator[list[str]]:
    for each in results:
        attack, found = worst(each)
        yield [f"`{each['rule']}`", f"`{attack}`", _shown(found)]


def _commands(results: Sequence[Result]) -> Iterator[str]:
    yield "\n```console"
    yield from (f"$ python -m benchmarks.{each['command']}" for each in results)
    yield "```\n"
    seeds = dict.fromkeys(f"{each['seeds'][0]} to {each['seeds'][-1]}" for each in results)
    yield f"Seeds {', and '.join(seeds)}."


def _table(heads: Sequence[str], rows: Iterator[list[str]] | Sequence[list[str]]) -> Iterator[str]:
    yield f"| {' | '.join(heads)} |"
    yield f"|{' --- |' * len(heads)}"
    yield from (f"| {' | '.join(row)} |" for row in rows)


def _megabytes(amount: float) -> str:
    return f"{amount:.3g} MB"


def _shown(found: Interval, *, signed: bool = False) -> str:
    if found.low is None or found.high is None:
        return _number(found.mean, signed=signed)
    low, high = (_number(value, signed=signed) for value in (found.low, found.high))
    return f"{_number(found.mean, signed=signed)} ({low} to {high})"


def _half(found: Interval) -> str:
    return _number(found.mean) + ("" if found.high is None else f" ± {_number(found.high - found.mean)}")


def _number(value: float, *, signed: bool = False) -> str:
    """Three decimals, without a zero before the point."""
    text = f"{value:+.3f}" if signed else f"{value:.3f}"
    return text.replace("0.", ".", 1) if abs(value) < 1 else text
