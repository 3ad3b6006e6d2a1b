"""One training run of a torch model in the swarm, for the callbacks that count its batches."""

from __future__ import annotations

import logging
import sys
import weakref
from typing import TYPE_CHECKING, Any, Protocol

import torch

from swarm.errors import ConfigurationError
from swarm.pytorch.evaluation import TorchEvaluator
from swarm.pytorch.port import TorchPort

if TYPE_CHECKING:
    from torch import nn

    from swarm.callback import CallbackArguments
    from swarm.config import Settings
    from swarm.model import Evaluator, ModelPort
    from swarm.session import Session

NEVER = sys.maxsize
"""Batches to the next sync point once there is none."""


class SessionFactory(Protocol):
    """Makes the session of a run; tests put their own in its place."""

    def __call__(
        self, settings: Settings, port: ModelPort, *, evaluate: Evaluator | None, logger: logging.Logger
    ) -> Session:
        """A session that has not begun."""
        ...


def open_session(settings: Settings, port: ModelPort, *, evaluate: Evaluator | None, logger: logging.Logger) -> Session:
    """A session over the transport that ``settings`` name."""
    from swarm.session import Session  # which loads the network: only a run needs it

    return Session(settings, port, evaluate=evaluate, logger=logger)


class Run:
    """One session, from joining the swarm to its closing model.

    Callbacks count batches on their own, down from what ``begin`` and ``sync`` return, so that a batch between two
    merges costs them one subtraction. A run that is neither finished nor aborted when the process ends, or when
    nobody refers to it any more, leaves the swarm politely.
    """

    def __init__(
        self, factory: SessionFactory, arguments: CallbackArguments, model: nn.Module, evaluate: Evaluator | None
    ) -> None:
        self._logger = logger_of(arguments)
        self.session = factory(arguments.settings, TorchPort(model), evaluate=evaluate, logger=self._logger)
        self._loss_is_odd = False
        self._interval = 0
        self._leave = weakref.finalize(self, self.session.abort, "the process ended before on_train_end")

    @property
    def live(self) -> bool:
        """Whether the run has joined and neither finished nor left."""
        return self._leave.alive

    def begin(self) -> int:
        """Join and take on the common initial weights; returns the batches to the first sync point.

        Raises:
            SwarmError: as ``Session.begin``; the run has then left the swarm.
        """
        try:
            self.session.begin()
        except BaseException:
            self.abort("training could not begin")
            raise
        return self._next()

    def sync(self, left: int, loss: object = None) -> int:
        """Tell the session of the batches counted down to ``left``, at a boundary: it merges when one is due.

        Returns:
            The batches to the next sync point.
        """
        self.session.advance(self._interval - left, at_boundary=True, loss=self._number(loss))
        return self._next()

    def epoch_end(self, left: int, epoch: int) -> int:
        """Tell the session that an epoch ended; nothing is merged. Returns as ``sync``."""
        left = self._count(left)
        self.session.epoch_end(epoch)
        return left

    def finish(self, left: int) -> None:
        """Go through the closing round; the model then holds the swarm's closing model."""
        self._count(left)
        try:
            self.session.end()
        except BaseException:
            self.abort("training could not end")
            raise
        self._leave.detach()

    def abort(self, reason: str) -> None:
        """Leave the swarm; nothing happens when the run is over."""
        if self._leave.detach() is not None:
            self.session.abort(reason)

    def _count(self, left: int) -> int:
        if (batches := self._interval - left) and not self.session.over:
            self.session.advance(batches, at_boundary=False)
        return self._next()

    def _number(self, loss: Any) -> float | None:
        """The training loss, for display only: what is no number costs one warning, not the run."""
        if loss is None:
            return None
        try:
            return float(loss.detach().double().mean() if isinstance(loss, torch.Tensor) else loss)
        except (TypeError, ValueError, RuntimeError) as error:
            if not self._loss_is_odd:
                self._loss_is_odd = True
                self._logger.warning(
                    "loss is ignored, allowed are a number and a tensor: a %s was given, %s", type(loss).__name__, error
                )
            return None

    def _next(self) -> int:
        self._interval = NEVER if self.session.over else self.session.batches_left
        return self._interval


def evaluator_for(arguments: CallbackArguments, model: nn.Module) -> Evaluator | None:
    """The evaluator that the arguments ask for, or None after one line on what is missing.

    Raises:
        ConfigurationError: adaptive sync has nothing to follow, or validation is asked for in an unknown way.
    """
    settings = arguments.settings
    if arguments.val_data is None or arguments.loss_function is None:
        missing = "val_data" if arguments.val_data is None else "loss_function"
        if settings.use_adaptive_sync:
            raise ConfigurationError(
                "use_adaptive_sync=True follows the merged model's validation loss, which for a torch model "
                f"needs val_data and loss_function: {missing} is missing"
            )
        if arguments.val_data is not None:
            logger_of(arguments).warning(
                "val_data is given without loss_function: merging goes on, but the merged model is not validated; "
                "pass loss_function=... to turn validation on"
            )
        return None
    return TorchEvaluator(
        model,
        arguments.val_data,
        loss_function=arguments.loss_function,
        loss_function_args=arguments.loss_function_args,
        metric_function=arguments.metric_function,
        metric_function_args=arguments.metric_function_args,
        batch_size=settings.val_batch_size,
        steps=settings.val_steps,
    )


def logger_of(arguments: CallbackArguments) -> logging.Logger:
    """The user's logger, else ours."""
    return arguments.logger or logging.getLogger("swarm")
