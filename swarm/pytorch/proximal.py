"""FedProx with PyTorch: a term in the gradients that draws the weights to the last committed model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from swarm.errors import ConfigurationError
from swarm.pytorch.arrays import memory
from swarm.pytorch.gradients import GradientHooks, Parameters, by_parameter, real, trained
from swarm.tensors.model import Correction
from swarm.tensors.state import TensorKind

if TYPE_CHECKING:
    import torch
    from torch.optim import Optimizer

    from swarm.tensors.state import ModelState


class ProximalTerm(Correction):
    """Adds ``strength * (weights - committed weights)`` to the gradients before each step of the optimizers.

    That is the gradient of ``strength / 2`` times the squared distance from the committed model (Li et al. 2020,
    arXiv 1812.06127). Weights of which the site keeps its own values, and parameters without a gradient, get none. It
    comes after the scale of a ``GradScaler`` is removed and after gradients are clipped in a loop or by Lightning.
    """

    def __init__(self, strength: float, optimizers: Sequence[Optimizer], parameters: Parameters) -> None:
        """Nothing changes before ``follow``.

        Args:
            strength: µ of the paper, above 0.
            optimizers: those of the model.
            parameters: gives the parameters of the model that take part, by name.

        Raises:
            ConfigurationError: the optimizers train none of them.
        """
        known = {*map(memory, parameters().values())}
        if known.isdisjoint(memory(real(each.data)) for each in trained(optimizers)):
            raise ConfigurationError(
                f"proximal={strength} needs the optimizer of the model: the one given trains nothing that is merged"
            )
        self._strength = strength
        self._optimizers = tuple(optimizers)
        self._parameters = parameters
        self._committed: dict[int, torch.Tensor] = {}
        self.hooks = GradientHooks("proximal", optimizers, self._term)

    def follow(self, committed: ModelState, *, unmerged: int) -> None:
        weights = {
            spec.name: array for spec, array in committed.arrays() if spec.kind is TensorKind.WEIGHT and not spec.kept
        }
        self._committed = by_parameter(self._optimizers, self._parameters, weights)
        self.hooks.begin()

    def stop(self) -> None:
        self.hooks.end()
        self._committed = {}

    def _term(self, parameter: torch.Tensor, _: Mapping[str, Any]) -> torch.Tensor | None:
        committed = self._committed.get(id(parameter))
        return None if committed is None else (real(parameter.data) - committed).mul_(self._strength)
