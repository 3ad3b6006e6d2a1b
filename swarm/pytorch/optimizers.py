"""What settings ask for of the optimizers of a PyTorch model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from swarm.pytorch.optimizer_state import with_optimizers
from swarm.pytorch.proximal import ProximalTerm
from swarm.pytorch.scaffold import Scaffold
from swarm.tensors.optimizer import with_optimizer

if TYPE_CHECKING:
    from torch.optim import Optimizer

    from swarm.config import Settings
    from swarm.pytorch.port import TorchPort
    from swarm.tensors.model import Correction, ModelPort


def trained_by(
    optimizers: Sequence[Optimizer], port: TorchPort, settings: Settings
) -> tuple[ModelPort, Correction | None]:
    """The port of a model that ``optimizers`` train, and what changes their gradients.

    The optimizers may be wrapped by Accelerate.

    Raises:
        ConfigurationError: one of them cannot be used with a setting.
    """
    optimizers = [_inner(each) for each in optimizers]
    if settings.scaffold:
        scaffold = Scaffold(optimizers, port.parameters)
        return with_optimizer(port, scaffold, "merge"), scaffold
    term = ProximalTerm(settings.proximal, optimizers, port.parameters) if settings.proximal else None
    return with_optimizers(port, settings.optimizer_state, optimizers), term


def without_deepspeed(optimizer: Any) -> Any:
    """The torch optimizer inside one of DeepSpeed, such as that of ZeRO; anything else as it is."""
    while any(base.__name__ == "DeepSpeedOptimizer" for base in type(optimizer).__mro__):
        optimizer = optimizer.optimizer
    return optimizer


def _inner(optimizer: Optimizer) -> Optimizer:
    """The optimizer inside Accelerate's wrapper."""
    while any(base.__name__ == "AcceleratedOptimizer" for base in type(optimizer).__mro__):
        optimizer = optimizer.optimizer  # type: ignore[attr-defined]
    return optimizer
