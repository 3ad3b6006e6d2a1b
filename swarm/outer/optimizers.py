"""The outer optimizers: x are the weights before a round, m the merged ones, g = x - m, and x' those after the step."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from swarm.outer.base import OuterOptimizer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from swarm.config import Settings
    from swarm.outer.base import Numbers


class _Momentum(OuterOptimizer):
    """Keeps a momentum."""

    roles: ClassVar[tuple[str, ...]] = ("momentum",)

    def __init__(self, *, learning_rate: float, momentum: float) -> None:
        self._rate = learning_rate
        self._momentum = momentum


class Nesterov(_Momentum):
    """Nesterov momentum: b' = momentum b + g, x' = x - rate (g + momentum b').

    Source: DiLoCo (Douillard et al. 2023, arXiv 2311.08105), with a rate of .7 and a momentum of .9.
    """

    def change(self, gradient: Numbers, state: Sequence[Numbers]) -> Numbers:
        (momentum,) = state
        momentum *= self._momentum
        momentum += gradient
        change: Numbers = self._rate * self._momentum * momentum - (1 - self._rate) * gradient
        return change


class FedAvgM(_Momentum):
    """Heavy-ball momentum: b' = momentum b + g, x' = x - rate b'.

    Source: server momentum (Hsu et al. 2019, arXiv 1909.06335), with a rate of 1 and a momentum of .9.
    """

    def change(self, gradient: Numbers, state: Sequence[Numbers]) -> Numbers:
        (momentum,) = state
        momentum *= self._momentum
        momentum += gradient
        change: Numbers = self._rate * momentum - gradient
        return change


class _Adaptive(OuterOptimizer):
    """With d = -g: m' = momentum m + (1 - momentum) d, v' by the subclass, x' = x + rate m' / (sqrt(v') + epsilon).

    Source: adaptive federated optimization (Reddi et al. 2021, arXiv 2003.00295), without correction of the bias.
    """

    roles: ClassVar[tuple[str, ...]] = ("mean", "second_moment")

    def __init__(self, *, learning_rate: float, momentum: float, beta2: float, epsilon: float) -> None:
        self._rate = learning_rate
        self._momentum = momentum
        self._beta2 = beta2
        self._epsilon = epsilon

    def change(self, gradient: Numbers, state: Sequence[Numbers]) -> Numbers:
        mean, second = state
        mean *= self._momentum
        mean -= (1 - self._momentum) * gradient
        self._follow(second, gradient * gradient)
        change: Numbers = -(gradient + self._rate * mean / (np.sqrt(second) + self._epsilon))
        return change

    @abstractmethod
    def _follow(self, second: Numbers, square: Numbers) -> None:
        """Advance the second moment by the square of the pseudo-gradient, in place."""


class FedAdam(_Adaptive):
    """Adam: v' = beta2 v + (1 - beta2) d^2."""

    def _follow(self, second: Numbers, square: Numbers) -> None:
        second *= self._beta2
        second += (1 - self._beta2) * square


class FedYogi(_Adaptive):
    """Yogi: v' = v - (1 - beta2) d^2 sign(v - d^2), which is never negative."""

    def _follow(self, second: Numbers, square: Numbers) -> None:
        second -= (1 - self._beta2) * square * np.sign(second - square)


OPTIMIZERS: dict[str, type[Nesterov | FedAvgM | FedAdam | FedYogi]] = {
    "nesterov": Nesterov,
    "fedavgm": FedAvgM,
    "fedadam": FedAdam,
    "fedyogi": FedYogi,
}
"""By the value of the setting ``outer``."""


def outer_optimizer(settings: Settings) -> OuterOptimizer | None:
    """The outer optimizer of a session; None where the merged model itself is the next one."""
    kind = OPTIMIZERS.get(settings.outer)
    return kind(**settings.outer_parameters) if kind else None
