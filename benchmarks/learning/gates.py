"""The goals: for each, what is trained, and when it is met."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from benchmarks.learning.figures import paired
from benchmarks.learning.outcome import Outcome
from benchmarks.learning.plan import Plan

SLACK = 0.01
"""The lower end of the interval of a ratio may be this much below the goal."""
REFERENCE = 1e-5
HARM = 0.02
"""What a site may lose on its own data before a warning must say why."""
DROP = 0.01
"""What a setting may cost, by the upper end of the interval, to be recommended."""


class Result(NamedTuple):
    """Of a variant."""

    outcomes: Sequence[Outcome]
    """One for each seed."""
    record: Mapping[str, Any]
    """Their ``summary``."""


Results = Mapping[str, Result]
"""By variant."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a goal is met, and a sentence with the figures that decide."""

    met: bool
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """A goal."""

    goal: str
    variants: Mapping[str, Plan]
    """What is trained; all with the same seeds."""
    judge: Callable[[Results], Verdict]
    beside: Sequence[str] = ()
    """Variants that are shown for comparison: the gate does not need them."""
    with_reference: bool = False
    """Whether the reference FedAvg is needed."""
    seeds: int = 5
    """The fewest."""


def _ratio(goal: float, *names: str, over_alone: float | None = None) -> Callable[[Results], Verdict]:
    def judge(results: Results) -> Verdict:
        met, parts = True, []
        for name in names or results:
            record = results[name].record
            low = record["ratio_low"]
            met = met and record["ratio"] >= goal and (low is None or low >= goal - SLACK)
            part = f"{name}: ratio {record['ratio']:.3f} ({low} to {record['ratio_high']})"
            if over_alone is not None:
                gain = record["swarm"] - record["alone"]
                met, part = met and gain >= over_alone, f"{part}, {gain:+.3f} over alone"
            parts.append(part)
        return Verdict(met, "; ".join(parts))

    return judge


def _best(goal: float, *names: str) -> Callable[[Results], Verdict]:
    """Whether the best of some variants, by the mean over the seeds, reaches an accuracy."""

    def judge(results: Results) -> Verdict:
        means = {name: float(np.mean([each.swarm for each in results[name].outcomes])) for name in results}
        best = max(names, key=lambda name: means[name])
        shown = ", ".join(f"{name} {mean:.3f}" for name, mean in means.items())
        return Verdict(means[best] >= goal, f"best {best}: {shown}; pooled {results[best].record['pooled']}")

    return judge


def _own(least: float, name: str) -> Callable[[Results], Verdict]:
    def judge(results: Results) -> Verdict:
        record = results[name].record
        own = f"own data alone {record['own_alone']}, swarm {record['own_swarm']}"
        return Verdict(
            record["own_worst"] >= least, f"worst site {record['own_worst']:+.3f}; {own}; common {record['swarm']}"
        )

    return judge


def _warned(results: Results) -> Verdict:
    harmed, silent = 0, []
    for name, result in results.items():
        for outcome in result.outcomes:
            for rank, gain in enumerate(outcome.own_gain):
                if gain < -HARM:
                    harmed += 1
                    if not outcome.warnings[rank]:
                        silent.append(f"{name}, seed {outcome.seed}, site {rank}: {gain:+.3f}")
    return Verdict(not silent, f"{harmed} sites lost more than {HARM}, without a warning: {silent or 'none'}")


def _reference(results: Results) -> Verdict:
    differences = {name: result.record["reference_difference"] for name, result in results.items()}
    met = all(each is not None and each <= REFERENCE for each in differences.values())
    return Verdict(met, f"largest difference of a weight: {differences}")


def _cost(results: Results) -> Verdict:
    before, after = results.values()
    drop = paired(before.outcomes, after.outcomes)
    text = f"the ratio drops by {drop.mean:.4f} ({drop.low} to {drop.high})"
    return Verdict(drop.high is not None and drop.high <= DROP, text)


def _merged_and_kept(plan: Plan) -> Mapping[str, Plan]:
    return {state: replace(plan, optimizer_state=state) for state in ("merge", "keep")}


DIGITS = Plan(task="digits", peers=8, interval=8)
MNIST = Plan(task="mnist", peers=8, interval=8, partition="dir0.5")
HEART = Plan(task="heart", model="linear", partition="natural", peers=4, interval=10)
CANCER = Plan(task="breast_cancer", peers=4, partition="dir0.5")
SHARDS = replace(DIGITS, partition="shard2")
SKEWED = replace(DIGITS, partition="dir0.1")
QUANTITY = Plan(task="digits", partition="quantity", sizes=(9, 2, 1), peers=3, epochs=20)
SCANNERS = Plan(task="mnist", model="cnn_bn", partition="feature", skew="dir0.5", peers=4, interval=8, steps=400)
FAR = replace(SHARDS, interval=40)
RARE = replace(SKEWED, interval=128)
OUTERS = {
    "nesterov .7/.5": replace(FAR, outer="nesterov", outer_rate=0.7, outer_momentum=0.5),
    "nesterov .7/.9": replace(FAR, outer="nesterov", outer_rate=0.7, outer_momentum=0.9),
    "fedavgm 1/.5": replace(FAR, outer="fedavgm", outer_rate=1.0, outer_momentum=0.5),
    "fedadam .03": replace(FAR, outer="fedadam", outer_rate=0.03),
    "fedyogi .03": replace(FAR, outer="fedyogi", outer_rate=0.03),
}
COARSE = {
    "digits": replace(SKEWED, interval=32),
    "mnist": replace(MNIST, interval=32),
}

GATES: Mapping[str, Gate] = {
    "digits-dir0.5": Gate(
        goal="ratio >= .99 for intervals up to 32",
        variants={f"H = {interval}": replace(DIGITS, partition="dir0.5", interval=interval) for interval in (8, 32)},
        judge=_ratio(0.99),
    ),
    "digits-dir0.1": Gate(goal="ratio >= .97, better .99", variants={"H = 8": SKEWED}, judge=_ratio(0.97)),
    "digits-shard2": Gate(goal="ratio >= .97, better .99", variants={"H = 8": SHARDS}, judge=_ratio(0.97)),
    "digits-shard2-adam": Gate(
        goal="ratio >= .97 with merged moments",
        variants=_merged_and_kept(replace(SHARDS, optimizer="adam")),
        judge=_ratio(0.97, "merge"),
        beside=("keep",),
    ),
    "digits-shard2-outer": Gate(
        goal="accuracy >= .93 with the best outer optimizer",
        variants={"none": FAR, **OUTERS},
        judge=_best(0.93, *OUTERS),
        beside=("none",),
    ),
    "digits-dir0.1-h128": Gate(
        goal="ratio >= .97",
        variants={"FedAvg": RARE, "SCAFFOLD": replace(RARE, scaffold=True)},
        judge=_ratio(0.97, "FedAvg"),
        beside=("SCAFFOLD",),
    ),
    "digits-dir0.1-scaffold": Gate(
        goal="ratio >= .99 with control variates, H = 128",
        variants={"SCAFFOLD": replace(RARE, scaffold=True), "FedAvg": RARE},
        judge=_ratio(0.99, "SCAFFOLD"),
        beside=("FedAvg",),
    ),
    "mnist-dir0.5-h8": Gate(goal="ratio >= .985", variants={"H = 8": MNIST}, judge=_ratio(0.985)),
    "mnist-dir0.5-h32": Gate(goal="ratio >= .98", variants={"H = 32": COARSE["mnist"]}, judge=_ratio(0.98)),
    "mnist-feature": Gate(
        goal="own data >= alone - .01 at every site, by default",
        variants={"default": SCANNERS},
        judge=_own(-0.01, "default"),
    ),
    "digits-quantity": Gate(
        goal="every site >= alone with the recommended settings",
        variants={"recommended": replace(QUANTITY, weights="samples", train_until="all"), "default": QUANTITY},
        judge=_own(0.0, "recommended"),
        beside=("default",),
    ),
    "heart-natural": Gate(
        goal="ratio >= .985, and .04 over alone",
        variants={"H = 10": HEART},
        judge=_ratio(0.985, over_alone=0.04),
    ),
    "warned": Gate(
        goal=f"no site loses more than {HARM} on its own data without a warning, by default",
        variants={
            "heart": replace(HEART, interval=128),
            "breast_cancer": replace(CANCER, interval=128),
            "digits": replace(SKEWED, interval=128),
        },
        judge=_warned,
    ),
    "reference": Gate(
        goal="exact blocking means equal the reference FedAvg within 1e-5",
        variants={
            "digits": replace(DIGITS, steps=200),
            "adam": replace(SHARDS, optimizer="adam", optimizer_state="keep", steps=200),
            "heart": replace(HEART, steps=205),
            # Two merges: the network itself multiplies differences of rounding by about 30 in each interval.
            "cnn_bn": replace(SCANNERS, normalization="pooled", steps=16),
        },
        judge=_reference,
        with_reference=True,
    ),
    **{
        f"int8-{task}": Gate(
            goal=f"reported: the drop by int8; recommended where its upper 95 % <= {DROP}",
            variants={"exact": plan, "int8": replace(plan, codec="int8")},
            judge=_cost,
            seeds=10,
        )
        for task, plan in COARSE.items()
    },
    **{
        f"overlap-{task}": Gate(
            goal=f"reported: the drop by overlap, delay H/4; recommended where its upper 95 % <= {DROP}",
            variants={"blocking": plan, "overlap": replace(plan, overlap=True, delay=0.25)},
            judge=_cost,
            seeds=10,
        )
        for task, plan in COARSE.items()
    },
}
"""By name."""
