"""One site of a swarm: the training script of a user, with the batches of the other arms."""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from benchmarks.learning.plan import Plan
from benchmarks.learning.training import Trainee
from swarm.demo.sites import Samples

POLL = 0.0005
"""Seconds between two looks whether a round has ended, where the training waits for it."""
CALM: dict[str, Any] = {"failure_timeout": 120.0, "straggler_timeout": 600.0, "checkpoint_seconds": 3600.0}
"""Settings of all peers: they share a machine, so that all are slow, and none may be left out for that."""


@dataclass(slots=True)
class Report:
    """What a site tells of its training."""

    steps: int = 0
    rounds: int = 0
    bytes: int = 0
    """Sent, of weights and messages."""
    warnings: list[str] = field(default_factory=list)


class Warnings(logging.Handler):
    """Keeps what is logged as a warning or an error."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__(logging.WARNING)
        self._lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        self._lines.append(record.getMessage())


class Hooks:
    """Calls ``on_batch_end``. With ``overlap``, a round's result is loaded a fixed number of batches after its start.

    Otherwise it would be loaded as soon as the round has ended, which depends on the speed of this machine.
    """

    def __init__(self, plan: Plan, callback: Any, every: int = 1) -> None:
        """Call ``callback``, and let it merge only after a multiple of ``every`` batches."""
        self._callback = callback
        self._every = every
        self._made = 0
        self._delay = min(max(round(plan.delay * plan.interval), 1), plan.interval)
        self._whole = self._delay == plan.interval
        self._left = 0
        """Batches until the result of a round is loaded; 0 if there is none to load."""

    def batch_end(self, loss: object) -> None:
        """After each step."""
        callback = self._callback
        if self._left:
            callback.postpone(self._left)  # again at each batch, since the end of an epoch asks anew
            self._left -= 1
        called, loads = callback.counted + 1 >= callback.due, callback.session.round_open
        if called and loads:
            while callback.session.round_running:
                time.sleep(POLL)
        self._made += 1
        callback.on_batch_end(loss=loss, stepped=self._made % self._every == 0)
        if called and callback.session.round_open and (self._whole or not loads):  # a round has begun
            self._left = self._delay


def arguments(plan: Plan, samples: Samples, validation: Samples, trainee: Trainee, report: Report) -> dict[str, Any]:
    """The arguments of a site's callback, without those that say where its swarm is.

    Args:
        plan: what is trained.
        samples: of the site, to train on.
        validation: of the site, for policies that need a validation loss, and for BatchNorm layers, whose statistics
            are estimated on it.
        trainee: what the site trains.
        report: gets the warnings.
    """
    logger = logging.Logger("swarm", logging.INFO)  # noqa: LOG001 - each peer's own, which prints nothing
    logger.addHandler(Warnings(report.warnings))
    given = {**CALM, **plan.settings(len(samples)), "model": trainee.model, "optimizer": trainee.optimizer}
    if plan.policy not in (None, "fixed") or plan.model == "cnn_bn":
        given |= {
            "val_data": (validation.x, validation.y),
            "loss_function": nn.CrossEntropyLoss(),
            "val_batch_size": len(validation),
        }
    return {**given, "logger": logger}


def train(plan: Plan, trainee: Trainee, callback: Any, report: Report) -> None:
    """Train as planned, and take part until every site has finished; fills the report."""
    hooks, batches = Hooks(plan, callback, trainee.every), trainee.batches
    callback.on_train_begin()
    epochs: Iterable[int] = itertools.count()
    if plan.epochs:
        longer = plan.effective("train_until") not in (None, "own")
        epochs = callback.epochs(plan.epochs) if longer else range(plan.epochs)
    most = None if plan.epochs else trainee.planned
    for epoch in epochs:
        for batch in batches.epoch():
            hooks.batch_end(trainee.step(batch))
            report.steps += 1
            if report.steps == most:
                break
        callback.on_epoch_end(epoch)
        if report.steps == most:
            break
    callback.on_train_end()
    metrics = callback.metrics
    report.rounds, report.bytes = int(metrics["swarm_rounds"]), int(metrics["swarm_bytes_sent"])
