"""The callback for a raw PyTorch training loop."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from swarm.callback import BaseCallback, foreign, hook_of_another
from swarm.errors import ConfigurationError, ForeignHookError, SwarmError
from swarm.pytorch.evaluation import evaluator_for
from swarm.pytorch.learning_rate import learning_rate_of
from swarm.pytorch.optimizers import trained_by
from swarm.pytorch.port import TorchPort

if TYPE_CHECKING:
    from collections.abc import Iterator


class TorchCallback(BaseCallback):
    """Connects a training loop to the swarm. Call it at the begin, after each step, after each epoch, at the end.

    ::

        callback.on_train_begin()
        for epoch in range(epochs):
            for x, y in loader:
                ...
                optimizer.step()
                callback.on_batch_end()
            callback.on_epoch_end(epoch)
        callback.on_train_end()

    ``for epoch in callback.epochs(n)`` in place of the ``range`` calls ``on_epoch_end`` by itself, and trains on for
    the other peers where ``train_until="all"`` asks for that.

    ``on_batch_end`` counts batches and merges at every ``sync_interval``-th. After ``on_train_end`` the model has the
    weights of the swarm's closing model. A second ``on_train_begin`` starts a new run. A process that ends without
    ``on_train_end`` informs the other peers that it leaves.
    """

    platforms = ("PYTORCH",)

    def prepare(self) -> None:
        """Check the arguments that concern torch.

        Raises:
            ConfigurationError: ``model``, ``optimizer``, ``loss_function``, ``metric_function`` or ``val_data``
                is invalid.
        """
        arguments = self.arguments
        if not isinstance(arguments.model, nn.Module):
            given = "missing" if arguments.model is None else f"a {type(arguments.model).__name__}"
            known = None if arguments.model is None else foreign(arguments.model)
            remedy = f"; {known.remedy}" if known else ""
            raise ConfigurationError(f"model is {given}: ml_platform 'PYTORCH' needs model=, a torch.nn.Module{remedy}")
        if not isinstance(arguments.optimizer, torch.optim.Optimizer | None):
            raise ConfigurationError(
                f"optimizer is a {type(arguments.optimizer).__name__}, allowed: a torch.optim.Optimizer"
            )
        if arguments.optimizer is None and arguments.settings.optimizer_state != "keep":
            raise ConfigurationError(
                f"optimizer_state={arguments.settings.optimizer_state!r} needs the optimizer: give optimizer=, or set"
                ' optimizer_state="keep" at every peer'
            )
        if arguments.optimizer is None and (asked := arguments.settings.corrects):
            raise ConfigurationError(f"{asked} needs the optimizer: give optimizer=, or leave it out at every peer")
        self.model = arguments.model
        self._evaluate = evaluator_for(arguments, self.model)
        self._epoch, self._first_epoch = -1, 0
        self._epoch_told = self._uses_epochs = False

    def __getattr__(self, name: str) -> Any:
        """Report the error if the trainer of another framework looks up its own hooks.

        Raises:
            AttributeError: there is no such attribute. If it is such a hook, the error is a ConfigurationError too.
        """
        problem = hook_of_another(name)
        if problem:
            raise ForeignHookError(problem)
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    @property
    def metrics(self) -> dict[str, float]:
        """Metrics of the swarm, such as ``swarm_rounds``, and ``swarm_learning_rate``."""
        metrics = super().metrics
        if self.arguments.optimizer is not None:
            metrics["swarm_learning_rate"] = float(self.arguments.optimizer.param_groups[0]["lr"])
        return metrics

    def on_train_begin(self) -> None:
        """Join the swarm and load its initial weights, or those of a swarm that is already training.

        Raises:
            ConfigurationError: no swarm is configured, or the model is distributed over several processes.
            StartTimeoutError: too few peers joined.
            IncompatiblePeerError: a peer trains another model, or has other settings.
            ModelError: the model contains a tensor that cannot be merged.
        """
        if isinstance(self.model, DistributedDataParallel) and torch.distributed.get_world_size() > 1:
            raise ConfigurationError(
                f"model is trained by {torch.distributed.get_world_size()} processes under DistributedDataParallel: "
                "a peer is one process, give the swarm a model of one process"
            )
        self._epoch, self._first_epoch = -1, 0
        self._epoch_told = self._uses_epochs = False
        optimizers = [] if self.arguments.optimizer is None else [self.arguments.optimizer]
        port, correction = trained_by(optimizers, TorchPort(self.model, self.selection), self.arguments.settings)
        self.open_run(port, self._evaluate, learning_rate=learning_rate_of(optimizers), correction=correction)
        self.join()

    def on_batch_end(self, batch: object = None, loss: object = None) -> None:
        """Count a batch, and merge if a merge is due. Call it after ``optimizer.step()``.

        ``loss``, a number or tensor, is the training loss of this batch. It is read only if a merge is due.
        """
        self.counted = counted = self.counted + 1  # each attribute is read once: a class with __getattr__ is slower
        if counted >= self.due:
            self.sync(loss)

    def on_epoch_end(self, epoch: int | None = None) -> None:
        """Record the end of an epoch, for progress. ``epoch`` is optional and may count from 0 or 1."""
        if epoch == 1 and self._epoch < 0:
            self._first_epoch = 1
        self._epoch = self._epoch + 1 if epoch is None else epoch - self._first_epoch
        self._epoch_told = True
        self.end_epoch(self._epoch)

    def epochs(self, count: int, *, start: int = 0) -> Iterator[int]:
        """The numbers of the epochs to train: ``start`` to ``count - 1``, and more where ``train_until="all"``.

        With ``train_until="all"`` further numbers follow until every peer has trained its own epochs. Call it between
        ``on_train_begin`` and ``on_train_end``. It calls ``on_epoch_end`` after each epoch for which the loop does not.
        An epoch that is under way when all are done can end early::

            for epoch in callback.epochs(10):
                for x, y in loader:
                    ...
                    callback.on_batch_end()
                    if callback.all_done:
                        break

        Args:
            count: epochs of this peer.
            start: the first one, where training continues from a checkpoint of your own.

        Raises:
            SwarmError: no run is open, or it has such a loop already and ``train_until="all"``.
        """
        self.require_run("epochs")
        if self._uses_epochs and self.arguments.settings.train_until == "all":
            raise SwarmError(
                "epochs was called twice in one run: with train_until='all' the end of the first loop is that of the "
                "training. Use one loop, or on_train_begin() for a new run"
            )
        self._uses_epochs = True
        return self._numbered(start, count)

    def _numbered(self, epoch: int, count: int) -> Iterator[int]:
        while epoch < count or self.extend():
            self._epoch_told = False
            yield epoch
            if not self._epoch_told:
                self.on_epoch_end(epoch)
            epoch += 1

    def on_train_end(self) -> None:
        """Wait until every peer has finished; then load the swarm's closing model.

        Raises:
            IncompleteSwarmError: ``require_members`` is set and a site is missing. The closing model is loaded by then.
        """
        settings = self.arguments.settings
        if settings.train_until == "all" and not (self._uses_epochs or settings.loopback):
            self.logger.warning(
                "train_until='all' had no effect: this peer trained its own epochs only, as its loop does not use "
                "`for epoch in callback.epochs(n)`"
            )
        self.finish()
