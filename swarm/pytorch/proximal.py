"""FedProx with PyTorch: a term in the gradients that draws the weights to the last committed model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch

from swarm.errors import ConfigurationError
from swarm.pytorch.arrays import memory, shared_tensor
from swarm.tensors.model import Correction
from swarm.tensors.state import TensorKind

if TYPE_CHECKING:
    from torch.optim import Optimizer
    from torch.utils.hooks import RemovableHandle

    from swarm.pytorch.port import TorchPort
    from swarm.tensors.state import ModelState


def proximal_term(strength: float, optimizers: Sequence[Optimizer], port: TorchPort) -> ProximalTerm | None:
    """The term of the setting ``proximal``; None where it is 0."""
    return ProximalTerm(strength, optimizers, port.parameters) if strength else None


class ProximalTerm(Correction):
    """Adds ``strength * (weights - committed weights)`` to the gradients before each step of the optimizers.

    That is the gradient of ``strength / 2`` times the squared distance from the committed model (Li et al. 2020,
    arXiv 1812.06127). Weights of which the site keeps its own values, and parameters without a gradient, get none. It
    comes after the scale of a ``GradScaler`` is removed and after gradients are clipped in a loop or by Lightning.
    """

    def __init__(
        self,
        strength: float,
        optimizers: Sequence[Optimizer],
        parameters: Callable[[], Mapping[str, torch.Tensor]],
    ) -> None:
        """Nothing changes before ``follow``.

        Args:
            strength: µ of the paper, above 0.
            optimizers: those of the model.
            parameters: gives the parameters of the model that take part, by name.
        """
        self._strength = strength
        self._optimizers = tuple(optimizers)
        self._parameters = parameters
        self._anchors: dict[int, torch.Tensor] = {}
        """The committed values by the identity of the parameter, on its device; on the CPU in the committed memory."""
        self._handles: list[RemovableHandle] = []

    def follow(self, committed: ModelState) -> None:
        kinds = {spec.name: array for spec, array in committed.arrays() if spec.kind is TensorKind.WEIGHT}
        kept = {spec.name for spec in committed.schema.kept.tensors}
        found = {memory(tensor): name for name, tensor in self._parameters().items() if name not in kept}
        self._anchors = {}
        for parameter in (each for optimizer in self._optimizers for each in _parameters(optimizer)):
            name = found.get(memory(_real(parameter.data)))
            if name is not None:
                self._anchors[id(parameter)] = shared_tensor(kinds[name]).to(parameter.device)
        if not self._handles:
            self._handles = [each.register_step_pre_hook(self._before_step) for each in self._optimizers]

    def stop(self) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles, self._anchors = [], {}

    def _before_step(
        self, optimizer: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        """Add the term now, or where the optimizer computes its gradients itself, each time that it does."""
        closure = args[1] if len(args) > 1 else kwargs.get("closure")
        if closure is None:
            self._add(optimizer)
            return None

        def corrected() -> Any:
            with torch.enable_grad():
                loss = closure()
            self._add(optimizer)
            return loss

        if len(args) > 1:
            return (args[0], corrected, *args[2:]), kwargs
        return args, {**kwargs, "closure": corrected}

    @torch.no_grad()
    def _add(self, optimizer: Optimizer) -> None:
        scale = getattr(optimizer, "grad_scale", None)  # of an optimizer that removes it in its own kernel
        for parameter in _parameters(optimizer):
            anchor = self._anchors.get(id(parameter))
            if anchor is None or parameter.grad is None:
                continue
            if parameter.grad.is_sparse:
                raise ConfigurationError(
                    "proximal cannot be used with sparse gradients, as of an Embedding with sparse=True: make them "
                    "dense, or set proximal=0 at every peer"
                )
            term = (_real(parameter.data) - anchor).mul_(self._strength)
            _real(parameter.grad).add_(term if scale is None else term.mul_(scale))


def _parameters(optimizer: Optimizer) -> list[torch.Tensor]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def _real(tensor: torch.Tensor) -> torch.Tensor:
    """A complex tensor as pairs of real numbers in the same memory, as it takes part."""
    return torch.view_as_real(tensor) if tensor.is_complex() else tensor
