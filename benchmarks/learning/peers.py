"""The swarm in this process: each peer is a thread with the callback of a user, on the memory transport."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors.torch import load_file

from benchmarks.learning import models
from benchmarks.learning.arms import Trained
from benchmarks.learning.data import Problem
from benchmarks.learning.plan import Plan
from benchmarks.learning.site import Report, arguments, train
from benchmarks.learning.training import Trainee
from swarm.config import Settings
from swarm.plugins import PluginRegistry
from swarm.session import Session
from swarm.simulate.threads import callback_class as with_sessions
from swarm.simulate.threads import in_memory
from swarm.storage.files import FINAL
from swarm.tensors.model import ModelPort
from swarm.testing.swarm import together

if TYPE_CHECKING:
    import torch
    from torch import nn

    from swarm.pytorch.callback import TorchCallback

DEADLINE = 900.0
"""Seconds for one training."""


def callback_class() -> type[TorchCallback]:
    """The callback for raw PyTorch, whose sessions meet in a network in memory of their own."""
    network = in_memory()

    def session(settings: Settings, port: ModelPort, **options: Any) -> Session:
        return Session(settings, port, **options, plugins=PluginRegistry(settings.disabled_plugins), network=network)

    return with_sessions(session)


def swarm(plan: Plan, problem: Problem, seed: int) -> tuple[Trained, list[Report]]:
    """Train with all peers in threads of this process.

    Raises:
        SwarmError: a setting is not allowed.
    """
    trainees = [Trainee.of(plan, site.train, problem.classes, seed, rank) for rank, site in enumerate(problem.sites)]
    kind, reports = callback_class(), [Report() for _ in trainees]
    with tempfile.TemporaryDirectory(prefix="swarm-learning-") as temporary:
        place = {"listen": "127.0.0.1:0", "world_size": plan.peers}
        callbacks = [
            kind(
                **arguments(plan, site.train, site.validation, trainee, reports[rank]),
                **place,
                name=f"peer-{rank}",
                model_dir=Path(temporary, f"peer-{rank}"),
            )
            for rank, (site, trainee) in enumerate(zip(problem.sites, trainees, strict=True))
        ]
        together(
            *(
                partial(train, plan, trainee, callback, report)
                for trainee, callback, report in zip(trainees, callbacks, reports, strict=True)
            ),
            deadline=DEADLINE,
        )
        closing = load_file(Path(temporary, "peer-0", FINAL))
    common = everyones(plan, problem, seed, closing)
    return Trained(common, [trainee.model for trainee in trainees], [report.steps for report in reports]), reports


def everyones(plan: Plan, problem: Problem, seed: int, closing: Mapping[str, torch.Tensor]) -> nn.Module | None:
    """The swarm's closing model; None if it has not all tensors of a model, since some stay at each site."""
    model = models.build(plan.model, problem.shape, problem.classes, seed)
    names = model.state_dict().keys()
    if not names <= closing.keys():
        return None
    model.load_state_dict({name: closing[name] for name in names})
    return model
