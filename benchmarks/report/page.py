"""The text of ``docs/learning.md``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from benchmarks.attacks.__main__ import GOAL
from benchmarks.learning.figures import Interval
from benchmarks.report.figures import (
    Result,
    Results,
    difference,
    gain,
    holding,
    of_the_oracle,
    point,
    worst,
)
from benchmarks.report.plan import CODECS, INTERVALS, PARTITIONS, SKEWS, STEPS

_GOAL = f"{GOAL:g}".removeprefix("0")
_HEAD = f"""# What was measured about learning

Interval, codec, sync policy and merge rule, on handwritten digits of 8 by 8 pixels. `make report` writes this page and
its pictures from the results in `docs/learning/`; do not edit it. `make measure-learning` measures them again, which
takes about half an hour of one core. A test compares the page with the results.

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
