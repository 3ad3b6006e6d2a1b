"""Terms in the gradients of PyTorch optimizers, and the committed values of their parameters."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch

from swarm.errors import ConfigurationError
from swarm.pytorch.arrays import memory, shared_tensor

if TYPE_CHECKING:
    from torch.optim import Optimizer
    from torch.utils.hooks import RemovableHandle

    from swarm.tensors.state import Array

Parameters = Callable[[], Mapping[str, torch.Tensor]]
"""Gives the parameters of a model that take part, by name; complex ones as real views."""
Term = Callable[[torch.Tensor, Mapping[str, Any]], torch.Tensor | None]
"""What to add to the gradient of a parameter of a group; None for nothing."""


class GradientHooks:
    """Adds a term to the gradients before each step of some optimizers.

    It comes when the gradients are there. Where an optimizer computes them itself, in a closure, that is after each
    call of the closure.

    Args:
        setting: which asks for the term, for messages.
        optimizers: those of the model.
        term: what to add.
    """

    def __init__(self, setting: str, optimizers: Sequence[Optimizer], term: Term) -> None:
        self._setting = setting
        self._optimizers = tuple(optimizers)
        self._term = term
        self._handles: list[RemovableHandle] = []

    def begin(self) -> None:
        """Add the term from now on; may be called more than once."""
        if not self._handles:
            self._handles = [each.register_step_pre_hook(self._before_step) for each in self._optimizers]

    def end(self) -> None:
        """Leave gradients as they are from now on; may be called more than once."""
        for handle in self._handles:
            handle.remove()
        self._handles = []

    def _before_step(
        self, optimizer: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        closure = args[1] if len(args) > 1 else kwargs.get("closure")
        if closure is None:
            self.add(optimizer)
            return None

        def corrected() -> Any:
            with torch.enable_grad():
                loss = closure()
            self.add(optimizer)
            return loss

        if len(args) > 1:
            return (args[0], corrected, *args[2:]), kwargs
        return args, {**kwargs, "closure": corrected}

    @torch.no_grad()
    def add(self, optimizer: Optimizer) -> None:
        """Add the term to the gradients of all parameters of an optimizer that have one.

        Raises:
            ConfigurationError: a gradient is sparse.
        """
        scale = getattr(optimizer, "grad_scale", None)  # of an optimizer that removes it in its own kernel
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None or (term := self._term(parameter, group)) is None:
                    continue
                if parameter.grad.is_sparse:
                    raise ConfigurationError(
                        f"{self._setting} cannot be used with sparse gradients, as of an Embedding with sparse=True: "
                        "make them dense, or leave it out at every peer"
                    )
                real(parameter.grad).add_(term if scale is None else term * scale)


def real(tensor: torch.Tensor) -> torch.Tensor:
    """A complex tensor as pairs of real numbers in the same memory, as it takes part."""
    return torch.view_as_real(tensor) if tensor.is_complex() else tensor


def by_parameter(
    optimizers: Sequence[Optimizer], parameters: Parameters, values: Mapping[str, Array]
) -> dict[int, torch.Tensor]:
    """Values of parameters by the identity of the parameter, on its device; on the CPU in the memory of ``values``."""
    names = {memory(tensor): name for name, tensor in parameters().items() if name in values}
    found = ((each, names.get(memory(real(each.data)))) for each in trained(optimizers))
    return {id(each): shared_tensor(values[name]).to(each.device) for each, name in found if name is not None}


def trained(optimizers: Sequence[Optimizer]) -> Iterator[torch.Tensor]:
    """The parameters of some optimizers."""
    return (each for optimizer in optimizers for group in optimizer.param_groups for each in group["params"])
