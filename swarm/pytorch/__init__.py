"""Swarm for PyTorch: besides the tasks of ``swarm.simulate``, the only package in ``swarm`` that imports torch."""

from swarm.pytorch.callback import TorchCallback
from swarm.pytorch.evaluation import TorchEvaluator, evaluator_for
from swarm.pytorch.learning_rate import learning_rate_of
from swarm.pytorch.loading import load_weights
from swarm.pytorch.optimizer_state import with_optimizers
from swarm.pytorch.optimizers import trained_by
from swarm.pytorch.port import TorchPort
from swarm.pytorch.ranks import ranks_of
from swarm.pytorch.shards import whole_state
from swarm.pytorch.trained_part import Shared, shared_part

__all__ = [
    "Shared",
    "TorchCallback",
    "TorchEvaluator",
    "TorchPort",
    "evaluator_for",
    "learning_rate_of",
    "load_weights",
    "ranks_of",
    "shared_part",
    "trained_by",
    "whole_state",
    "with_optimizers",
]
