"""All arms for one seed, and what is measured of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from statistics import fmean
from typing import TYPE_CHECKING

from benchmarks.learning import arms, peers, processes
from benchmarks.learning.arms import Trained
from benchmarks.learning.data import Problem, problem
from benchmarks.learning.plan import Plan
from benchmarks.learning.training import accuracy, auc, copied, distance

if TYPE_CHECKING:
    from torch import nn

KEPT = 24
"""Trainings without Swarm that are kept, since several plans of a gate differ in settings of Swarm alone."""
SHOWN = 20
"""Warnings of a site in a record."""


@dataclass(slots=True, kw_only=True)
class Outcome:
    """The figures of one seed. Accuracies are on the common test set, unless their name begins with ``own``."""

    seed: int
    label_distance: float
    """Mean total variation distance of the sites' labels from those of all: 0 to 1."""
    pooled: float
    alone: float
    """The mean over sites."""
    reference: float | None
    """FedAvg without Swarm; None where sites make different numbers of steps, and where it is left out."""
    swarm: float
    """Of the closing model, or the mean over the sites' models if they have tensors of their own."""
    own_alone: list[float]
    own_swarm: list[float]
    reference_difference: float | None
    """The largest difference of a weight, where the swarm must equal the reference."""
    rounds: int
    bytes: int
    """Sent by all peers."""
    seconds: float
    """Of the training in the swarm."""
    steps: list[int]
    warnings: list[list[str]]
    """By site: the different texts."""
    auc: dict[str, float] = field(default_factory=dict)
    """By arm; of two classes."""
    processes: dict[str, float] = field(default_factory=dict)
    """The same training by real processes: the largest difference of a weight, its seconds and bytes."""

    @property
    def ratio(self) -> float:
        """Accuracy of the swarm over that on pooled data."""
        return self.swarm / self.pooled

    @property
    def own_gain(self) -> list[float]:
        """By site: what the swarm added to the accuracy on the site's own kind of data."""
        return [swarm - alone for swarm, alone in zip(self.own_swarm, self.own_alone, strict=True)]

    def record(self) -> dict[str, object]:
        """For JSON."""
        return {**asdict(self), "ratio": self.ratio}


def measure(plan: Plan, seed: int, *, with_processes: bool = False, with_reference: bool = True) -> Outcome:
    """Train all arms and test them.

    Args:
        plan: what is trained.
        seed: of data, weights and batches.
        with_processes: whether real processes train as well.
        with_reference: whether the reference FedAvg trains.

    Raises:
        RuntimeError: the plan is not possible with these data, or real processes failed.
        SwarmError: a setting of Swarm is not allowed.
    """
    base = _without_swarm(plan)
    sites = _problem(base, seed)
    alone, pooled = _alone(base, seed), _pooled(base, seed)
    fedavg = None
    if with_reference and plan.equal_steps is not None:
        fedavg = _reference(replace(base, interval=plan.interval, weights=plan.weights), seed)
    began = time.perf_counter()
    trained, reports = peers.swarm(plan, sites, seed)
    seconds = time.perf_counter() - began
    outcome = Outcome(
        seed=seed,
        label_distance=sites.label_distance,
        pooled=accuracy(_only(pooled), sites.test),
        alone=fmean(accuracy(model, sites.test) for model in alone.sites),
        reference=None if fedavg is None else accuracy(_only(fedavg), sites.test),
        swarm=_common(trained, lambda model: accuracy(model, sites.test)),
        own_alone=_own(sites, alone.sites),
        own_swarm=_own(sites, trained.sites),
        reference_difference=None,
        rounds=max(report.rounds for report in reports),
        bytes=sum(report.bytes for report in reports),
        seconds=seconds,
        steps=[report.steps for report in reports],
        warnings=[list(dict.fromkeys(report.warnings))[:SHOWN] for report in reports],
    )
    if fedavg is not None and plan.comparable and trained.common is not None:
        outcome.reference_difference = distance(copied(trained.common), copied(_only(fedavg)))
    if sites.classes == 2:
        outcome.auc = {
            "pooled": auc(_only(pooled), sites.test),
            "alone": fmean(auc(model, sites.test) for model in alone.sites),
            "swarm": _common(trained, lambda model: auc(model, sites.test)),
        }
    if with_processes:
        outcome.processes = _by_processes(plan, sites, seed, trained)
    return outcome


def _by_processes(plan: Plan, sites: Problem, seed: int, trained: Trained) -> dict[str, float]:
    began = time.perf_counter()
    other, reports = processes.swarm(plan, sites, seed)
    seconds = time.perf_counter() - began
    pairs = list(zip(_all(trained), _all(other), strict=True))
    return {
        "difference": max(distance(copied(here), copied(there)) for here, there in pairs),
        "seconds": seconds,
        "bytes": sum(report.bytes for report in reports),
    }


def _all(trained: Trained) -> list[nn.Module]:
    return [*trained.sites, *([trained.common] if trained.common else [])]


def _common(trained: Trained, score: Callable[[nn.Module], float]) -> float:
    return score(trained.common) if trained.common else fmean(map(score, trained.sites))


def _only(trained: Trained) -> nn.Module:
    if trained.common is None:
        raise ValueError("this arm has no model for everyone")
    return trained.common


def _own(sites: Problem, models: Sequence[nn.Module]) -> list[float]:
    return [accuracy(model, site.own, site.shares) for site, model in zip(sites.sites, models, strict=True)]


def _without_swarm(plan: Plan) -> Plan:
    """The plan of the arms without Swarm: its own settings do not change them."""
    data = ("task", "partition", "skew", "sizes", "peers")
    fields = (*data, "model", "batch", "steps", "epochs", "paces", "optimizer", "rate", "schedule")
    return Plan(**{name: getattr(plan, name) for name in fields})


_problem = lru_cache(KEPT)(problem)


@lru_cache(KEPT)
def _alone(plan: Plan, seed: int) -> Trained:
    return arms.alone(plan, _problem(plan, seed), seed)


@lru_cache(KEPT)
def _pooled(plan: Plan, seed: int) -> Trained:
    return arms.pooled(plan, _problem(plan, seed), seed)


@lru_cache(KEPT)
def _reference(plan: Plan, seed: int) -> Trained:
    return arms.reference(plan, _problem(_without_swarm(plan), seed), seed)
