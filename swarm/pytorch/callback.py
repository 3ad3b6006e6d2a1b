"""The callback that a raw PyTorch loop calls by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from swarm.errors import ConfigurationError, SwarmError
from swarm.pytorch.run import Run, SessionFactory, evaluator_for, logger_of, open_session

if TYPE_CHECKING:
    import logging

    from swarm.callback import CallbackArguments
    from swarm.session import Session


class TorchCallback:
    """Calls into the swarm from a training loop: begin, after each ``optimizer.step()``, after each epoch, end.

    ::

        callback.on_train_begin()
        for epoch in range(epochs):
            for x, y in loader:
                ...
                optimizer.step()
                callback.on_batch_end()
            callback.on_epoch_end(epoch)
        callback.on_train_end()

    ``on_batch_end`` counts, and merges at every ``sync_interval``-th batch. After ``on_train_end`` the model holds
    the swarm's closing model. A second ``on_train_begin`` starts a new run. A process that ends without
    ``on_train_end`` tells the other peers that it leaves.
    """

    session_factory: ClassVar[SessionFactory] = staticmethod(open_session)

    def __init__(self, arguments: CallbackArguments) -> None:
        """Check what concerns torch; nothing is opened before ``on_train_begin``.

        Raises:
            ConfigurationError: ``model``, ``optimizer``, ``loss_function``, ``metric_function`` or ``val_data``
                is not what it should be.
        """
        if not isinstance(arguments.model, nn.Module):
            given = "missing" if arguments.model is None else f"a {type(arguments.model).__name__}"
            raise ConfigurationError(f"model is {given}: ml_platform 'PYTORCH' needs model=, a torch.nn.Module")
        if not isinstance(arguments.optimizer, torch.optim.Optimizer | None):
            raise ConfigurationError(
                f"optimizer is a {type(arguments.optimizer).__name__}, allowed: a torch.optim.Optimizer"
            )
        self.model = arguments.model
        self.logger: logging.Logger = logger_of(arguments)
        self._arguments = arguments
        self._evaluate = evaluator_for(arguments, self.model)
        self._run: Run | None = None
        self._left = 0
        self._epoch = 0

    @property
    def session(self) -> Session | None:
        """The session of the current or last run."""
        return None if self._run is None else self._run.session

    @property
    def swarm_over(self) -> bool:
        """Whether the session has closed, or this peer was removed from it."""
        return self._run is not None and self._run.session.over

    @property
    def metrics(self) -> dict[str, float]:
        """What is known of the swarm so far, such as ``swarm_rounds`` and ``swarm_val_loss``."""
        metrics = {} if self._run is None else dict(self._run.session.metrics())
        if self._arguments.optimizer is not None:
            metrics["swarm_learning_rate"] = float(self._arguments.optimizer.param_groups[0]["lr"])
        return metrics

    def on_train_begin(self) -> None:
        """Join the swarm and take on its initial weights, or those of a swarm that is already training.

        Raises:
            ConfigurationError: no swarm is configured, or the model is spread over several processes.
            StartTimeoutError: too few peers came.
            IncompatiblePeerError: a peer trains another model, or under other settings.
            ModelError: the model holds a tensor that cannot be merged.
        """
        if isinstance(self.model, DistributedDataParallel) and torch.distributed.get_world_size() > 1:
            raise ConfigurationError(
                f"model is trained by {torch.distributed.get_world_size()} processes under DistributedDataParallel: "
                "a peer is one process, give the swarm a model of one process"
            )
        if self._run is not None:
            self._run.abort("on_train_begin was called again")
        self._run = Run(self.session_factory, self._arguments, self.model, self._evaluate)
        self._left = self._epoch = 0
        self._left = self._run.begin()

    def on_batch_end(self, batch: object = None, loss: object = None) -> None:
        """Count a batch; merge when it is due. Call it after ``optimizer.step()``.

        ``loss``, a number or tensor, is this batch's training loss; it is read only where a merge is due.
        """
        self._left -= 1
        if self._left <= 0:
            self._left = self._live("on_batch_end").sync(self._left, loss)

    def on_epoch_end(self, epoch: int | None = None) -> None:
        """Note the end of an epoch, for progress. ``epoch`` may be left out, and may count from 0 or 1."""
        self._epoch = self._epoch + 1 if epoch is None else epoch
        self._left = self._live("on_epoch_end").epoch_end(self._left, self._epoch)

    def on_train_end(self) -> None:
        """Take part until every peer is done; the model then holds the swarm's closing model."""
        self._live("on_train_end").finish(self._left)
        self._left = 0

    def _live(self, hook: str) -> Run:
        if self._run is None:
            raise SwarmError(f"{hook} was called before on_train_begin")
        if not self._run.live:
            raise SwarmError(f"{hook} was called after the run had ended; on_train_begin starts a new one")
        return self._run
