"""What bad sites can do to the model under a merge rule.

Of `--peers` sites the last `--bad` ones attack, in each way in turn. `oracle` is the accuracy of the mean of the honest
sites alone, `clean` that of the rule where all sites are honest. Everything passes the checks of a round first.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

import torch

from benchmarks.attacks.kinds import ATTACKS
from benchmarks.attacks.training import Attacked, train
from benchmarks.harness.command import Benchmark, Record, integer
from benchmarks.harness.figures import aligned, verdict
from benchmarks.learning.data import problem
from benchmarks.learning.plan import Plan
from swarm.demo import partitions
from swarm.errors import ConfigurationError
from swarm.merge import WeightedMean
from swarm.merge.screen import screened
from swarm.plugins import PluginRegistry

FIRST_SEED = 1000
"""Other benchmarks use lower ones."""
GOAL = 0.95
"""The least ratio to the oracle under every attack, for a rule that limits bad contributions."""
COLLAPSED = 0.2
"""The accuracy below which the mean must fall under the attack x10: else the attack is too weak."""
DIGITS = 4


def _options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--task", choices=("digits", "mnist"), default="digits", help="(default digits)")
    add("--partition", default="dir0.5", help="iid, dirA (Dirichlet), shardK (default dir0.5)")
    add("--peers", type=integer(2, 64), default=11, help="sites, bad ones included (default 11)")
    add("--bad", type=integer(1, 31), default=2, help="sites that attack (default 2)")
    add("--rule", default="mean", help="merge rule (default mean)")
    text = "which contributions are left out: by their norms, or also by their distances (default norms)"
    add("--screen", choices=("norms", "distances"), default="norms", help=text)
    add("--attack", choices=tuple(ATTACKS), action="append", help="only this attack; may be repeated (default all)")
    add("--interval", type=integer(1), default=20, help="batches between two merges (default 20)")
    add("--steps", type=integer(1), default=480, help="batches of each site (default 480)")
    add("--seeds", type=integer(1), default=5, help="how many (default 5)")
    add("--first-seed", type=integer(0), default=FIRST_SEED, help=f"(default {FIRST_SEED})")


def _measure(options: argparse.Namespace) -> Record:
    torch.set_num_threads(1)
    try:
        rule = PluginRegistry().merge_rule(options.rule)
        rule = screened(rule) if options.screen == "distances" else rule
    except (ConfigurationError, ValueError) as error:
        raise RuntimeError(str(error)) from error
    if options.peers < max(rule.fewest, 2 * options.bad + 1):
        raise RuntimeError(
            f"--peers {options.peers} --bad {options.bad}: too few honest sites, or too few for the rule"
        )
    if not partitions.known(options.partition):
        raise RuntimeError(f"--partition {options.partition} is no partition")
    plan = Plan(
        task=options.task,
        partition=options.partition,
        peers=options.peers,
        interval=options.interval,
        steps=options.steps,
        rule=options.rule,
    )
    bad = range(options.peers - options.bad, options.peers)
    names = options.attack or list(ATTACKS)
    oracle: list[float] = []
    clean: list[Attacked] = []
    attacked: dict[str, list[Attacked]] = {name: [] for name in names}
    seeds = range(options.first_seed, options.first_seed + options.seeds)
    for seed in seeds:
        try:
            sites = problem(plan, seed)
        except ConfigurationError as error:
            raise RuntimeError(str(error)) from error
        oracle.append(train(plan, sites, seed, WeightedMean(), bad=bad).accuracy)
        clean.append(train(plan, sites, seed, rule))
        for name in names:
            attacked[name].append(train(plan, sites, seed, rule, bad=bad, attack=name))
        print(f"seed {seed}: oracle {oracle[-1]:.4f}, clean {clean[-1].accuracy:.4f}", file=sys.stderr, flush=True)
    return {
        **summary(options.rule, oracle, [each.accuracy for each in clean], attacked, options.screen),
        "seeds": list(seeds),
        "plan": plan.record(),
        "bad": [*bad],
        "screen": options.screen,
        "clean_left_out": fmean(each.honest_left_out for each in clean),
    }


def summary(
    rule: str,
    oracle: Sequence[float],
    clean: Sequence[float],
    attacked: Mapping[str, Sequence[Attacked]],
    screen: str = "norms",
) -> dict[str, Any]:
    """Means over the seeds, and the verdict."""
    best = fmean(oracle)
    accuracy = {name: fmean(each.accuracy for each in runs) for name, runs in attacked.items()}
    worst = min(accuracy, key=lambda name: accuracy[name])
    if rule == WeightedMean.name and screen == "norms":
        missed = [name for name in ("x10",) if accuracy.get(name, 0.0) >= COLLAPSED]
        goal = f"x10 below {COLLAPSED:g}"
    else:
        missed = [name for name, each in accuracy.items() if each < GOAL * best]
        goal = f"at least {GOAL:g} of the oracle under every attack"
    return {
        "rule": rule,
        "oracle": round(best, DIGITS),
        "clean": round(fmean(clean), DIGITS),
        "accuracy": _rounded(accuracy),
        "ratio": _rounded({name: each / best for name, each in accuracy.items()}),
        "worst": worst,
        "left_out": _rounded({name: fmean(each.bad_left_out for each in runs) for name, runs in attacked.items()}),
        "honest_left_out": _rounded(
            {name: fmean(each.honest_left_out for each in runs) for name, runs in attacked.items()}
        ),
        "goal": {"what": goal, "met": not missed, "missed": missed},
        "runs": {
            "oracle": list(oracle),
            "clean": list(clean),
            **{name: [each.accuracy for each in runs] for name, runs in attacked.items()},
        },
    }


def _rounded(values: Mapping[str, float]) -> dict[str, float]:
    return {name: round(value, DIGITS) for name, value in values.items()}


def table(record: Record) -> str:
    """The figures for people."""
    accuracy, worst, goal, plan = record["accuracy"], record["worst"], record["goal"], record["plan"]
    rows = [("attack", "accuracy", "of the oracle", "left out")]
    for name, value in accuracy.items():
        rows.append((name, f"{value:.3f}", f"{record['ratio'][name]:.3f}", f"{record['left_out'][name]:.2f}"))
    sites = f"{len(record['bad'])} of {plan['peers']} sites bad"
    checked = ", screen by distances" if record["screen"] == "distances" else ""
    means = f"means of {len(record['seeds'])} seeds"
    head = f"{record['rule']}{checked}, {plan['task']}, {plan['partition']}, {sites}, {means}"
    best = f"oracle {record['oracle']:.3f}, clean {record['clean']:.3f}, worst {worst} {accuracy[worst]:.3f}"
    missed = f" ({', '.join(goal['missed'])})" if goal["missed"] else ""
    return "\n".join([*aligned(rows), head, best, f"goal: {goal['what']}: {verdict(goal['met'])}{missed}"])


ATTACKED = Benchmark(
    name="attacks",
    description=__doc__,
    add_options=_options,
    measure=_measure,
    table=table,
    failed=lambda record: not record["goal"]["met"],
)

if __name__ == "__main__":
    ATTACKED.main()
