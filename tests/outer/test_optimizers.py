"""The formulas of outer optimizers, step by step."""

from __future__ import annotations

import math

import numpy as np
import pytest

from swarm.outer import FedAdam, FedAvgM, FedYogi, Nesterov, OuterOptimizer

EVERY = [
    Nesterov(learning_rate=0.7, momentum=0.9),
    FedAvgM(learning_rate=1.0, momentum=0.9),
    FedAdam(learning_rate=0.1, momentum=0.9, beta2=0.99, epsilon=1e-3),
    FedYogi(learning_rate=0.1, momentum=0.9, beta2=0.99, epsilon=1e-3),
]


def walked(optimizer: OuterOptimizer, gradients: list[float], dtype: type = np.float64) -> list[float]:
    """Where a weight that begins at 0 is after each round with these pseudo-gradients."""
    at, places = np.zeros(1, dtype), []
    state = [np.zeros(1, dtype) for _ in optimizer.roles]
    for gradient in gradients:
        pseudo = np.array([gradient], dtype)
        at = at - pseudo - optimizer.change(pseudo, state)
        places.append(float(at[0]))
    return places


def test_nesterov_accelerates_to_seven_times_the_pseudo_gradient() -> None:
    places = walked(Nesterov(learning_rate=0.7, momentum=0.9), [-1.0] * 200)
    assert places[:5] == pytest.approx([1.33, 3.227, 5.6343, 8.50087, 11.780783])
    assert places[-1] - places[-2] == pytest.approx(7.0)


def test_heavy_ball_momentum_follows_its_formula() -> None:
    assert walked(FedAvgM(learning_rate=0.5, momentum=0.5), [-1, -1, 2]) == pytest.approx([0.5, 1.25, 0.625])


@pytest.mark.parametrize("kind", [FedAdam, FedYogi])
def test_adaptive_optimizers_follow_their_formulas(kind: type[FedAdam | FedYogi]) -> None:
    gradients = [-1.0, 0.5, -2.0, 0.0, -0.1]
    at = mean = second = 0.0
    expected = []
    for difference in (-gradient for gradient in gradients):
        mean = 0.9 * mean + 0.1 * difference
        if kind is FedAdam:
            second = 0.99 * second + 0.01 * difference**2
        else:
            second -= 0.01 * difference**2 * np.sign(second - difference**2)
        at += 0.2 * mean / (math.sqrt(second) + 1e-3)
        expected.append(at)
    optimizer = kind(learning_rate=0.2, momentum=0.9, beta2=0.99, epsilon=1e-3)
    assert walked(optimizer, gradients) == pytest.approx(expected)


@pytest.mark.parametrize("kind", [Nesterov, FedAvgM])
def test_without_momentum_and_with_a_rate_of_one_nothing_changes(kind: type[Nesterov | FedAvgM]) -> None:
    gradients = np.random.default_rng(0).normal(size=1000).astype(np.float32)
    optimizer = kind(learning_rate=1.0, momentum=0.0)
    for _ in range(3):
        assert not optimizer.change(gradients, [np.ones(1000, np.float32)]).any()


@pytest.mark.parametrize("optimizer", EVERY, ids=lambda each: type(each).__name__)
def test_weights_that_nobody_has_trained_stay(optimizer: OuterOptimizer) -> None:
    assert not optimizer.change(np.zeros(3), [np.zeros(3) for _ in optimizer.roles]).any()
