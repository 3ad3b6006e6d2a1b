"""What a swarm gains over training alone, and what it loses against pooled data, on data divided among sites.

Four arms have the same initial weights, batches and local steps: pooled data (the better of two batch sizes), each site
alone, a reference FedAvg without Swarm, and the swarm. `--gate` trains what a goal needs and says whether it is met.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch

from benchmarks.harness.command import Benchmark, Record, integer, positive
from benchmarks.harness.figures import aligned, listed, verdict
from benchmarks.learning.figures import against_fixed, summary
from benchmarks.learning.gates import GATES, Gate, Result
from benchmarks.learning.models import MODELS, OPTIMIZERS, SCHEDULES
from benchmarks.learning.outcome import Outcome, measure
from benchmarks.learning.plan import TASKS, Plan
from swarm.demo import partitions
from swarm.errors import SwarmError

FIRST_SEED = 100
"""Learning rates were chosen with seeds below."""
HIDDEN = ("runs", "benchmark", "gates")


def _options(parser: argparse.ArgumentParser) -> None:
    default, add = Plan(), parser.add_argument
    add("--task", choices=TASKS, default=default.task, help=f"(default {default.task})")
    add("--model", choices=tuple(MODELS), default=default.model, help=f"(default {default.model})")
    text = (
        "iid, dirA (Dirichlet), shardK (K shards a site), quantity, feature (each site its own kind of images), natural"
    )
    add("--partition", type=_partition, default=default.partition, help=f"{text} (default {default.partition})")
    add("--skew", type=_label_skew, default=default.skew, help="label skew of the partition feature (default iid)")
    add("--sizes", type=_numbers, default=default.sizes, help="of the partition quantity, in proportion: 9,2,1")
    add("--peers", type=integer(2, 64), help=f"sites (default {default.peers}; natural: 4)")
    add("--interval", type=integer(1), default=default.interval, help=f"batches (default {default.interval})")
    add("--batch-size", dest="batch", type=integer(1), default=default.batch, help=f"(default {default.batch})")
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--steps", type=integer(1), help="batches of each site (default: by task)")
    length.add_argument("--epochs", type=integer(1), help="passes of each site over its own data")
    text = "how fast the sites train: with 4,2,1 the last makes a quarter of --steps, and of --interval between merges"
    add("--paces", type=_whole_numbers, default=default.paces, help=text)
    add("--optimizer", choices=tuple(OPTIMIZERS), default=default.optimizer, help=f"(default {default.optimizer})")
    add("--learning-rate", dest="rate", type=positive, help="(default: by optimizer)")
    text = f"of the learning rate (default {default.schedule})"
    add("--schedule", choices=tuple(SCHEDULES), default=default.schedule, help=text)
    add("--optimizer-state", help="keep, reset or merge")
    add("--normalization", help="pooled, silobn or fedbn")
    add("--rule", default=default.rule, help=f"merge rule (default {default.rule})")
    add("--outer", help="outer optimizer: nesterov, fedavgm, fedadam or fedyogi")
    add("--outer-rate", type=positive, help="its learning rate (default: by optimizer)")
    add("--outer-momentum", type=positive, help="which part of its momentum it keeps (default .9)")
    add("--normalize-steps", action="store_true", help="merge as if all sites had made as many steps")
    add("--proximal", type=positive, help="strength of FedProx")
    add("--scaffold", action="store_true", help="control variates at the sites")
    add("--policy", help="sync policy")
    add("--policy-seconds", type=positive, help="from merge to merge, with --policy seconds")
    add("--codec", default=default.codec, help=f"(default {default.codec})")
    add("--overlap", action="store_true", help="train on while a round runs")
    text = "with --overlap: the share of the interval after which a round's result is loaded"
    add("--delay", type=_share, default=default.delay, help=f"{text} (default {default.delay:g})")
    add("--train-until", help="own or all")
    add("--finished", help="checkin_model_on_train_end: snapshot, active or inactive")
    add("--weights", choices=("equal", "samples"), default=default.weights, help=f"(default {default.weights})")
    add("--local", metavar="PATTERN", help="tensors that stay with each site")
    add("--seeds", type=integer(1), default=5, help="how many (default 5)")
    add("--first-seed", type=integer(0), default=FIRST_SEED, help=f"(default {FIRST_SEED})")
    add("--processes", action="store_true", help="also train with real processes, and compare the weights")
    text = "also train with the fixed interval that gives as many rounds, and compare"
    add("--against-fixed", action="store_true", help=text)
    add("--gate", choices=(*GATES, "all"), help="a goal, with its own settings; most other options are ignored")


def _partition(text: str) -> str:
    if text in ("feature", "natural") or partitions.known(text):
        return text
    raise argparse.ArgumentTypeError(f"{text} is no partition")


def _label_skew(text: str) -> str:
    if partitions.known(text):
        return text
    raise argparse.ArgumentTypeError(f"{text} is no label skew")


def _numbers(text: str) -> tuple[float, ...]:
    return tuple(positive(number) for number in text.split(","))


def _whole_numbers(text: str) -> tuple[int, ...]:
    return tuple(integer(1)(number) for number in text.split(","))


def _share(text: str) -> float:
    if positive(text) > 1:
        raise argparse.ArgumentTypeError(f"{text} is more than the interval")
    return float(text)


def _measure(options: argparse.Namespace) -> Record:
    torch.set_num_threads(1)
    try:
        if options.gate is None:
            plan = Plan.of(options)
            outcomes = _outcomes(plan, _seeds(options, options.seeds), with_processes=options.processes)
            compared = against_fixed(outcomes, _as_often(plan, outcomes)) if options.against_fixed else {}
            return {**summary(plan, outcomes), **compared}
        names = tuple(GATES) if options.gate == "all" else (options.gate,)
        return {"gates": {name: _judged(name, GATES[name], options) for name in names}}
    except SwarmError as error:
        raise RuntimeError(f"{type(error).__name__}: {error}") from error


def _seeds(options: argparse.Namespace, count: int) -> Sequence[int]:
    return range(options.first_seed, options.first_seed + count)


def _outcomes(plan: Plan, seeds: Sequence[int], **arms: bool) -> list[Outcome]:
    outcomes = []
    for seed in seeds:
        outcome = measure(plan, seed, **arms)
        text = f"seed {seed}: pooled {outcome.pooled:.4f}, alone {outcome.alone:.4f}, swarm {outcome.swarm:.4f}"
        print(f"{text}, {outcome.seconds:.1f} s", file=sys.stderr, flush=True)
        outcomes.append(outcome)
    return outcomes


def _as_often(plan: Plan, outcomes: Sequence[Outcome]) -> list[Outcome]:
    """The same seeds under the fixed interval whose number of rounds is nearest to that of each outcome."""
    if plan.policy in (None, "fixed") or plan.equal_steps is None:
        raise RuntimeError("--against-fixed compares a policy (--policy) by numbers of steps (--steps), not by epochs")
    print("the same with fixed intervals", file=sys.stderr, flush=True)
    steps, fixed = plan.equal_steps, []
    for outcome in outcomes:
        # the founding round is no merge
        interval = max(round(steps / max(outcome.rounds - 1, 1)), 1)
        fixed += _outcomes(
            replace(plan, policy=None, policy_seconds=None, interval=interval), [outcome.seed], with_reference=False
        )
    return fixed


def _judged(name: str, gate: Gate, options: argparse.Namespace) -> dict[str, Any]:
    """The verdict and the records of a gate; a setting that this Swarm has not makes it missed."""
    seeds = _seeds(options, max(options.seeds, gate.seeds))
    results: dict[str, list[Outcome]] = {variant: [] for variant in gate.variants}
    errors: dict[str, str] = {}
    for seed in seeds:  # the variants of a seed share the trainings without Swarm
        for variant, plan in gate.variants.items():
            if variant not in errors:
                print(f"{name}, {variant}", file=sys.stderr, flush=True)
                try:
                    results[variant] += _outcomes(plan, [seed], with_reference=gate.with_reference)
                except SwarmError as error:
                    errors[variant] = f"{type(error).__name__}: {error}"
    records = {variant: summary(gate.variants[variant], each) for variant, each in results.items() if each}
    record = {"goal": gate.goal, "seeds": len(seeds), "variants": records, "errors": errors}
    if set(errors) - set(gate.beside):
        return {**record, "met": False, "figures": f"not measured: {'; '.join(errors.values())}"}
    judged = gate.judge({variant: Result(results[variant], record) for variant, record in records.items()})
    return {**record, "met": judged.met, "figures": judged.text}


def table(record: Record) -> str:
    """The figures for people."""
    if "gates" in record:
        return "\n".join(_gate_lines(record["gates"]))
    return listed({name: value for name, value in record.items() if name not in HIDDEN and value not in (None, {}, ())})


def _gate_lines(gates: Mapping[str, Mapping[str, Any]]) -> list[str]:
    rows = [("gate", "goal", "")]
    rows += [(name, gate["goal"], f"{verdict(gate['met'])}: {gate['figures']}") for name, gate in gates.items()]
    return aligned(rows, right=False)


def _failed(record: Record) -> bool:
    return not all(gate["met"] for gate in record.get("gates", {}).values())


LEARNING = Benchmark(
    name="learning", description=__doc__, add_options=_options, measure=_measure, table=table, failed=_failed
)

if __name__ == "__main__":
    LEARNING.main()
