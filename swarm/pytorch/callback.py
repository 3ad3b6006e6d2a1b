"""The callback that a raw PyTorch loop calls by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from swarm.callback import RunningCallback
from swarm.callback.foreign import foreign, hook_of_another
from swarm.errors import ConfigurationError
from swarm.pytorch.evaluation import evaluator_for
from swarm.pytorch.port import TorchPort

if TYPE_CHECKING:
    from swarm.callback import CallbackArguments


class _ForeignHookError(ConfigurationError, AttributeError):
    """Another framework's trainer was given this callback. An AttributeError, so that ``hasattr`` answers False."""


class TorchCallback(RunningCallback):
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

    platforms = ("PYTORCH",)

    def _take(self, arguments: CallbackArguments) -> None:
        """Check what concerns torch.

        Raises:
            ConfigurationError: ``model``, ``optimizer``, ``loss_function``, ``metric_function`` or ``val_data``
                is not what it should be.
        """
        if not isinstance(arguments.model, nn.Module):
            given = "missing" if arguments.model is None else f"a {type(arguments.model).__name__}"
            known = None if arguments.model is None else foreign(arguments.model)
            remedy = f"; {known.remedy}" if known else ""
            raise ConfigurationError(f"model is {given}: ml_platform 'PYTORCH' needs model=, a torch.nn.Module{remedy}")
        if not isinstance(arguments.optimizer, torch.optim.Optimizer | None):
            raise ConfigurationError(
                f"optimizer is a {type(arguments.optimizer).__name__}, allowed: a torch.optim.Optimizer"
            )
        super()._take(arguments)
        self.model = arguments.model
        self._evaluate = evaluator_for(arguments, self.model)
        self._epoch, self._first_epoch = -1, 0

    def __getattr__(self, name: str) -> Any:
        """Say so where the trainer of another framework asks for its own hooks.

        Raises:
            AttributeError: there is no such attribute; where it is such a hook, the error is a ConfigurationError too.
        """
        problem = hook_of_another(name)
        if problem:
            raise _ForeignHookError(problem)
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    @property
    def metrics(self) -> dict[str, float]:
        """What is known of the swarm so far, such as ``swarm_rounds``, and ``swarm_learning_rate``."""
        metrics = super().metrics
        if self._arguments.optimizer is not None:
            metrics["swarm_learning_rate"] = float(self._arguments.optimizer.param_groups[0]["lr"])
        return metrics

    def on_train_begin(self) -> None:
        """Join the swarm and load its initial weights, or those of a swarm that is already training.

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
        self._epoch, self._first_epoch = -1, 0
        self._left = self._open(TorchPort(self.model, self._selection), self._evaluate).begin()

    def on_batch_end(self, batch: object = None, loss: object = None) -> None:
        """Count a batch; merge when it is due. Call it after ``optimizer.step()``.

        ``loss``, a number or tensor, is this batch's training loss; it is read only where a merge is due.
        """
        self._left -= 1
        if self._left <= 0:
            self._left = self._running("on_batch_end").sync(self._left, loss)

    def on_epoch_end(self, epoch: int | None = None) -> None:
        """Note the end of an epoch, for progress. ``epoch`` may be left out, and may count from 0 or 1."""
        if epoch == 1 and self._epoch < 0:
            self._first_epoch = 1
        self._epoch = self._epoch + 1 if epoch is None else epoch - self._first_epoch
        self._left = self._running("on_epoch_end").epoch_end(self._left, self._epoch)

    def on_train_end(self) -> None:
        """Take part until every peer is done; the model then holds the swarm's closing model."""
        self._finish(self._running("on_train_end"))
