"""Swarm for PyTorch: the only place in ``swarm`` that loads torch."""

from swarm.pytorch.callback import TorchCallback
from swarm.pytorch.evaluation import TorchEvaluator
from swarm.pytorch.port import TorchPort
from swarm.pytorch.run import Run, SessionFactory, evaluator_for, logger_of, open_session

__all__ = [
    "Run",
    "SessionFactory",
    "TorchCallback",
    "TorchEvaluator",
    "TorchPort",
    "evaluator_for",
    "logger_of",
    "open_session",
]
