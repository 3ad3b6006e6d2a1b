"""Outer optimizers: how the next committed model follows from the last one and from what a round has merged.

They see the difference between the two models as a gradient, the pseudo-gradient. Every member computes the step
itself, from values that are the same everywhere, so nothing more travels. Their state is a part of the committed model.
"""

from __future__ import annotations

from swarm.outer.base import OuterOptimizer
from swarm.outer.optimizers import FedAdam, FedAvgM, FedYogi, Nesterov, outer_optimizer
from swarm.outer.step import OuterStep

__all__ = ["FedAdam", "FedAvgM", "FedYogi", "Nesterov", "OuterOptimizer", "OuterStep", "outer_optimizer"]
