"""Trains sites of which some are bad, and merges them by a rule of Swarm after its checks of contributions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.attacks.kinds import ATTACKS, FLIPPED, UNTRAINED, Known, Vector
from benchmarks.attacks.networks import Networks
from benchmarks.learning.data import Problem
from benchmarks.learning.plan import Plan
from benchmarks.learning.training import accuracy
from swarm.consensus.norms import absurd
from swarm.demo.sites import Samples
from swarm.merge import MergeRule
from swarm.merge.distance import squared_distance
from swarm.merge.gram import partial_gram
from swarm.merge.screen import DistanceScreen
from swarm.records import ContributionStats
from swarm.tensors.state import is_finite
from swarm.testing.rules import apply_rule


@dataclass(slots=True)
class Attacked:
    """What came of one training."""

    accuracy: float
    """Of the last merged model on the common test set."""
    bad_left_out: float
    """The part of the contributions of bad sites that a check left out; 0 if there were none."""
    honest_left_out: float
    """The same of the others."""


def train(
    plan: Plan, problem: Problem, seed: int, rule: MergeRule, *, bad: Sequence[int] = (), attack: str | None = None
) -> Attacked:
    """Train all sites, ``plan.interval`` batches between two merges, and merge with equal weights.

    Args:
        plan: what is trained.
        problem: the data of the sites.
        seed: of the initial weights, the batches and the noise of an attack.
        rule: how updates are merged.
        bad: the sites that attack.
        attack: a name in ``ATTACKS``; None: the bad sites are left out of the training.
    """
    honest = [site for site in range(len(problem.sites)) if site not in bad]
    senders = honest if attack is None else [*honest, *bad]
    training = honest if attack in UNTRAINED else senders
    flipped = bad if attack == FLIPPED else ()
    samples = {site: _samples(problem, site, flipped=site in flipped) for site in training}
    networks, noise = Networks(plan, samples, problem.classes, seed), np.random.default_rng((seed, *bad))
    reference, left_out = networks.first, dict.fromkeys(senders, 0)
    rounds = (plan.equal_steps or 0) // plan.interval
    for number in range(rounds):
        updates = dict.fromkeys(senders, np.zeros_like(reference))
        updates |= zip(training, networks.train(reference, plan.interval) - reference, strict=True)
        if attack is not None:
            known = np.stack([updates[site] for site in honest])
            updates |= {site: ATTACKS[attack](Known(updates[site], known, noise)) for site in bad}
        contributions = {site: reference + updates[site] for site in senders}
        kept = passed(contributions, reference, number)
        for site in set(senders) - set(kept):
            left_out[site] += 1
        if kept:
            columns = [contributions[site] for site in kept]
            if isinstance(rule, DistanceScreen):
                for place in rule.far(partial_gram(columns), dict.fromkeys(range(len(kept)), 1)):
                    left_out[kept[place]] += 1
            columns += [reference] * rule.needs_reference
            reference = apply_rule(rule, columns, [1] * len(kept)).astype(np.float32, copy=False)
    attacks = [left_out[site] for site in bad if site in left_out]
    return Attacked(
        accuracy(networks.model(reference), problem.test),
        sum(attacks) / (rounds * max(len(attacks), 1)),
        sum(left_out[site] for site in honest) / (rounds * len(honest)),
    )


def passed(contributions: dict[int, Vector], reference: Vector, number: int) -> list[int]:
    """The sites whose contributions pass the checks of a round: finite values, and no absurd distance."""
    finite = [site for site, values in contributions.items() if is_finite(values)]
    stats = [
        ContributionStats(
            peer=str(site),
            round=number,
            weight=1,
            steps=1,
            delta_norm=math.sqrt(squared_distance(contributions[site], reference)),
        )
        for site in finite
    ]
    refused = absurd(stats)
    return [site for site in finite if str(site) not in refused]


def _samples(problem: Problem, site: int, *, flipped: bool) -> Samples:
    samples = problem.sites[site].train
    return Samples(samples.x, problem.classes - 1 - samples.y) if flipped else samples
