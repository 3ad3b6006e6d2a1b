"""SCAFFOLD: control variates of torch's SGD, merged with the weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from swarm import SwarmCallback
from swarm.errors import ConfigurationError
from swarm.pytorch import TorchPort
from swarm.pytorch.scaffold import Scaffold
from swarm.tensors.optimizer import with_optimizer
from swarm.tensors.selection import Normalization, Selection
from swarm.tensors.state import ModelState
from swarm.testing.swarm import together

CURVATURES, TARGETS = (1.0, 4.0), (0.0, 1.0)
OPTIMUM = 0.8
"""Of the mean of (1/2) curvature (w - target)^2 over the two sites."""


class Scalar(nn.Module):
    """One weight, whose loss has another curvature and another target at each site."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.zeros(1))

    def descend(self, optimizer: torch.optim.Optimizer, rank: int) -> None:
        optimizer.zero_grad()
        (CURVATURES[rank] / 2 * (self.w - TARGETS[rank]) ** 2).sum().backward()
        optimizer.step()


def trained(place: Path, intervals: int, *, momentum: float = 0.0, **settings: object) -> list[float]:
    """The weights of two sites after some intervals of ten batches."""
    models = [Scalar(), Scalar()]

    def train(rank: int) -> None:
        optimizer = torch.optim.SGD(models[rank].parameters(), lr=0.05 * (1 - momentum), momentum=momentum)
        callback = SwarmCallback(
            model=models[rank],
            optimizer=optimizer,
            rendezvous=place,
            world_size=2,
            sync_interval=10,
            name=f"peer-{rank}",
            **settings,
        )
        callback.on_train_begin()
        for _ in range(10 * intervals):
            models[rank].descend(optimizer, rank)
            callback.on_batch_end()
        callback.on_train_end()
        assert not optimizer._optimizer_step_pre_hooks, "the term ends with the session"

    together(lambda: train(0), lambda: train(1), deadline=60)
    return [float(model.w) for model in models]


@pytest.mark.parametrize("momentum", [0.0, 0.5])
def test_sites_that_differ_reach_the_optimum_of_all_where_plain_averaging_does_not(tmp_path, momentum: float) -> None:
    plain = trained(tmp_path / "plain", 25, momentum=momentum)
    corrected = trained(tmp_path / "corrected", 25, momentum=momentum, scaffold=True)
    assert plain[0] == plain[1]
    assert corrected[0] == corrected[1]
    assert abs(plain[0] - OPTIMUM) > 0.05
    assert corrected[0] == pytest.approx(OPTIMUM, abs=0.004)


def test_three_intervals_follow_the_formula(tmp_path) -> None:
    common, own, at = 0.0, [0.0, 0.0], 0.0
    for _ in range(3):
        ends, after = [], []
        for curvature, target, control in zip(CURVATURES, TARGETS, own, strict=True):
            weight = at
            for _ in range(10):
                weight -= 0.05 * (curvature * (weight - target) - control + common)
            ends.append(weight)
            after.append(control - common + (at - weight) / (10 * 0.05))
        at, own, common = sum(ends) / 2, after, sum(after) / 2
    assert trained(tmp_path, 3, scaffold=True) == pytest.approx([at] * 2, rel=5e-3)  # they are rounded to bfloat16


def one(common: float = 0.0) -> tuple[Scalar, torch.optim.Optimizer, Scaffold, ModelState]:
    """A model with its control variates, and what it offers, which follow a model with those of all."""
    model = Scalar()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    port = TorchPort(model)
    scaffold = Scaffold([optimizer], port.parameters)
    merged = with_optimizer(port, scaffold, "merge")
    capture = ModelState.empty(merged.schema())
    merged.read(capture)
    committed = capture.copy()
    committed.segments["moments"][...] = common
    scaffold.follow(committed, unmerged=0)
    return model, optimizer, scaffold, capture


def offered(scaffold: Scaffold, capture: ModelState) -> tuple[float, int]:
    scaffold.read([(spec, array) for spec, array in capture.arrays() if spec.kind.of_optimizer])
    return float(capture.segments["moments"][0]), int(capture.side[0][0])


def step(model: Scalar, optimizer: torch.optim.Optimizer, gradient: float) -> None:
    model.w.grad = torch.full((1,), gradient)
    optimizer.step()


def test_a_site_offers_its_mean_gradient_once_it_has_made_a_step() -> None:
    model, optimizer, scaffold, capture = one()
    assert offered(scaffold, capture) == (0.0, 0)
    step(model, optimizer, 1.0)
    optimizer.param_groups[0]["lr"] = 0.25  # as a schedule does
    step(model, optimizer, 4.0)
    assert offered(scaffold, capture) == (pytest.approx((0.5 * 1 + 0.25 * 4) / 0.75), 1)


def test_an_interval_that_begins_with_other_steps_leaves_the_control_variate() -> None:
    model, optimizer, scaffold, capture = one()
    step(model, optimizer, 2.0)
    assert offered(scaffold, capture) == (2.0, 1)
    committed = capture.copy()
    step(model, optimizer, 2.0)
    scaffold.follow(committed, unmerged=1)
    step(model, optimizer, 8.0)
    assert offered(scaffold, capture) == (2.0, 1)


def test_weights_that_a_site_keeps_get_no_term_and_tell_its_own_gradient() -> None:
    model = nn.Sequential(nn.BatchNorm1d(1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    port = TorchPort(model, Selection(normalization=Normalization.FEDBN))
    scaffold = Scaffold([optimizer], port.parameters)
    merged = with_optimizer(port, scaffold, "merge")
    capture = ModelState.empty(merged.schema())
    merged.read(capture)
    committed = capture.copy()
    for spec, array in committed.arrays():
        array[...] = 2 if spec.kind.is_moment else 9  # what the others have made of it
    scaffold.follow(committed, unmerged=0)
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    assert [float(each) for each in model.parameters()] == [0.5, -0.5]
    merged.read(capture)
    assert capture.segments["moments"].astype(float).tolist() == [1.0, 1.0]


def test_a_peer_that_joins_takes_nothing_out_of_its_gradients_at_first() -> None:
    model, optimizer, scaffold, capture = one(common=3.0)
    step(model, optimizer, 2.0)
    assert float(model.w) == -1.0
    assert offered(scaffold, capture) == (2.0, 1)


def test_a_control_variate_outlives_models_that_follow_one_another() -> None:
    model, optimizer, scaffold, capture = one()
    step(model, optimizer, 2.0)
    assert offered(scaffold, capture) == (2.0, 1)
    committed = capture.copy()
    committed.segments["moments"][...] = 3.0
    scaffold.follow(committed, unmerged=1)
    scaffold.follow(committed, unmerged=1)
    assert offered(scaffold, capture) == (2.0, 1)


@pytest.mark.parametrize(
    ("optimizer", "said"),
    [
        (torch.optim.Adam, "not Adam"),
        (lambda parameters: torch.optim.SGD(parameters, lr=1, momentum=0.9, dampening=0.1), "without dampening"),
        (lambda parameters: torch.optim.SGD(parameters, lr=1, maximize=True), "and maximize"),
    ],
)
def test_other_optimizers_are_refused(optimizer, said: str) -> None:
    model = Scalar()
    callback = SwarmCallback(model=model, optimizer=optimizer(model.parameters()), scaffold=True, loopback=True)
    with pytest.raises(ConfigurationError, match=f"scaffold=True needs torch.optim.SGD, .*{said}"):
        callback.on_train_begin()


def test_an_optimizer_of_another_model_is_refused() -> None:
    scaffold = Scaffold([torch.optim.SGD(Scalar().parameters(), lr=1)], TorchPort(Scalar()).parameters)
    with pytest.raises(ConfigurationError, match="trains no parameter that is merged"):
        scaffold.tensors(TorchPort(Scalar()).schema())


def test_it_needs_the_optimizer() -> None:
    with pytest.raises(ConfigurationError, match="scaffold=True needs the optimizer: give optimizer="):
        SwarmCallback(model=Scalar(), scaffold=True, loopback=True)
