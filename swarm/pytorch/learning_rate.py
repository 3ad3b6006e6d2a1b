"""The learning rate of PyTorch optimizers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from swarm.tensors.model import LearningRate

if TYPE_CHECKING:
    from torch.optim import Optimizer


def learning_rate_of(optimizers: Sequence[Optimizer]) -> LearningRate | None:
    """The highest learning rate of their parameter groups; None without optimizers.

    A scheduler of ``torch.optim.lr_scheduler`` notes the rate that it began with in each group.
    """
    if not optimizers:
        return None

    def now() -> float:
        return max(float(group["lr"]) for optimizer in optimizers for group in optimizer.param_groups)

    return LearningRate(now, any("initial_lr" in each for optimizer in optimizers for each in optimizer.param_groups))
