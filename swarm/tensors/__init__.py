"""The representation of a model: named arrays as flat segments and a side block, and operations on them.

An integration gives its model as a ``ModelPort``.
"""

from __future__ import annotations

from swarm.tensors.model import Correction, Evaluation, Evaluator, LearningRate, ModelPort, changed, without_samples
from swarm.tensors.optimizer import OptimizerState, StateArrays, moment, nadam_product, steps, with_optimizer
from swarm.tensors.selection import Candidate, Normalization, Selection
from swarm.tensors.state import Array, ModelState, Schema, SpectralNorm, TensorKind, TensorSpec, numpy_dtype
from swarm.tensors.training import TrainingState, Tree

__all__ = [
    "Array",
    "Candidate",
    "Correction",
    "Evaluation",
    "Evaluator",
    "LearningRate",
    "ModelPort",
    "ModelState",
    "Normalization",
    "OptimizerState",
    "Schema",
    "Selection",
    "SpectralNorm",
    "StateArrays",
    "TensorKind",
    "TensorSpec",
    "TrainingState",
    "Tree",
    "changed",
    "moment",
    "nadam_product",
    "numpy_dtype",
    "steps",
    "with_optimizer",
    "without_samples",
]
