"""The arms without Swarm: alone, on pooled data, and the reference FedAvg."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from benchmarks.learning.data import Problem
from benchmarks.learning.plan import Plan
from benchmarks.learning.training import Trainee, accuracy

State = Mapping[str, torch.Tensor]


@dataclass(slots=True)
class Trained:
    """What an arm ends with."""

    common: nn.Module | None
    """The model for everyone; None if sites only have their own."""
    sites: Sequence[nn.Module]
    """The model that each site holds; empty for pooled data."""
    steps: Sequence[int]
    """By site."""


def alone(plan: Plan, problem: Problem, seed: int) -> Trained:
    """Every site trains on its own data, with the same batches as in the swarm."""
    trainees = _trainees(plan, problem, seed)
    steps = [trainee.train() for trainee in trainees]
    return Trained(None, [trainee.model for trainee in trainees], steps)


def pooled(plan: Plan, problem: Problem, seed: int) -> Trained:
    """All data in one place: with the batch of a site and with that of all, whichever is better on validation."""
    trained: list[tuple[float, nn.Module, int]] = []
    for batch in (plan.batch, plan.batch * plan.peers):
        trainee = Trainee.of(plan, problem.pooled, problem.classes, seed, plan.peers, batch)
        steps = trainee.train()
        trained.append((accuracy(trainee.model, problem.validation), trainee.model, steps))
    _, model, steps = max(trained, key=lambda each: each[0])
    return Trained(model, [], [steps])


def reference(plan: Plan, problem: Problem, seed: int) -> Trained:
    """FedAvg (McMahan et al., 2017) with the same initial weights and batches: the mean after every interval."""
    trainees, count = _trainees(plan, problem, seed), plan.equal_steps
    if count is None:
        raise ValueError("the reference FedAvg has the same number of steps at every site")
    weights = [len(site.train) if plan.weights == "samples" else 1 for site in problem.sites]
    streams = [trainee.batches.steps(count) for trainee in trainees]
    for number in range(1, count + 1):
        for trainee, stream in zip(trainees, streams, strict=True):
            trainee.step(next(stream))
        if number % plan.interval == 0 or number == count:
            merged = mean([trainee.model.state_dict() for trainee in trainees], weights)
            for trainee in trainees:
                trainee.model.load_state_dict(merged)
    return Trained(trainees[0].model, [trainee.model for trainee in trainees], [count] * len(trainees))


def mean(states: Sequence[State], weights: Sequence[float]) -> dict[str, torch.Tensor]:
    """The weighted mean; variances of BatchNorm as over all data, counters the largest."""
    shares = [weight / sum(weights) for weight in weights]

    def average(name: str, power: int = 1) -> torch.Tensor:
        return sum(share * state[name].double() ** power for share, state in zip(shares, states, strict=True))  # type: ignore[return-value]

    merged = {}
    for name, tensor in states[0].items():
        if not tensor.is_floating_point():
            value = torch.stack([state[name] for state in states]).amax(dim=0)
        elif name.endswith("running_var"):
            middle = name.removesuffix("var") + "mean"
            value = average(name) + average(middle, 2) - average(middle) ** 2
        else:
            value = average(name)
        merged[name] = value.to(tensor.dtype)
    return merged


def _trainees(plan: Plan, problem: Problem, seed: int) -> list[Trainee]:
    return [Trainee.of(plan, site.train, problem.classes, seed, rank) for rank, site in enumerate(problem.sites)]
