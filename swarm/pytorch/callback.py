"""The callback for a raw PyTorch training loop."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import nn

from swarm.callback import OwnLoopCallback, foreign, hook_of_another
from swarm.errors import ConfigurationError, ForeignHookError
from swarm.pytorch.evaluation import evaluator_for
from swarm.pytorch.exporting import write_result
from swarm.pytorch.learning_rate import learning_rate_of
from swarm.pytorch.optimizers import trained_by, without_deepspeed
from swarm.pytorch.ranks import ranks_of, writes_files
from swarm.pytorch.trained_part import shared_part
from swarm.pytorch.training_state import TorchTrainingState, stateful_objects


class TorchCallback(OwnLoopCallback):
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

    Where several processes train the model with ``torch.distributed``, each makes the callback and calls its hooks
    after the same batches.
    """

    platforms = ("PYTORCH",)
    knows_trainable = True
    knows_master_weights = True

    def prepare(self) -> None:
        """Check the arguments that concern torch.

        Raises:
            ConfigurationError: ``model``, ``optimizer``, ``stateful``, ``master_weights``, ``loss_function``,
                ``metric_function`` or ``val_data`` is invalid.
        """
        arguments = self.arguments
        if not isinstance(arguments.model, nn.Module):
            given = "missing" if arguments.model is None else f"a {type(arguments.model).__name__}"
            known = None if arguments.model is None else foreign(arguments.model)
            remedy = f"; {known.remedy}" if known else ""
            raise ConfigurationError(f"model is {given}: ml_platform 'PYTORCH' needs model=, a torch.nn.Module{remedy}")
        self._optimizer = without_deepspeed(arguments.optimizer)
        if not isinstance(self._optimizer, torch.optim.Optimizer | None):
            raise ConfigurationError(
                f"optimizer is a {type(arguments.optimizer).__name__}, allowed: a torch.optim.Optimizer"
            )
        if not isinstance(arguments.master_weights, Mapping | None):
            raise ConfigurationError(
                f"master_weights is a {type(arguments.master_weights).__name__}, allowed: tensors by the name of their "
                "parameter, as in model.state_dict()"
            )
        self._stateful = stateful_objects(arguments.stateful)
        if arguments.optimizer is None and arguments.settings.optimizer_state != "keep":
            raise ConfigurationError(
                f"optimizer_state={arguments.settings.optimizer_state!r} needs the optimizer: give optimizer=, or set"
                ' optimizer_state="keep" at every peer'
            )
        if arguments.optimizer is None and (asked := arguments.settings.corrects):
            raise ConfigurationError(f"{asked} needs the optimizer: give optimizer=, or leave it out at every peer")
        self.model = arguments.model
        self._evaluate = evaluator_for(arguments, self.model)

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
        if self._optimizer is not None:
            metrics["swarm_learning_rate"] = float(self._optimizer.param_groups[0]["lr"])
        return metrics

    def on_train_begin(self) -> None:
        """Join the swarm and load its initial weights, or those of a swarm that is already training.

        Raises:
            ConfigurationError: no swarm is configured, or the model is distributed in a way that is not supported.
            RanksError: the processes of this site cannot reach each other.
            StartTimeoutError: too few peers joined.
            IncompatiblePeerError: a peer trains another model, or has other settings.
            ModelError: the model contains a tensor that cannot be merged.
        """
        optimizers = [] if self._optimizer is None else [self._optimizer]
        settings = self.arguments.settings
        shared = shared_part(self.model, settings, self.selection, self.logger, self.arguments.master_weights)
        ranks = ranks_of(self.model, shared.port, settings)
        port, correction = trained_by(optimizers, shared.port, settings)
        self.open_run(
            port,
            self._evaluate,
            agree=shared.facts,
            learning_rate=learning_rate_of(optimizers),
            correction=correction,
            training=TorchTrainingState(optimizers, self._stateful, self.logger),
            ranks=ranks,
        )
        self.join()

    def on_train_end(self) -> None:
        """Wait until every peer has finished; then load the swarm's closing model, and write it as a ``state_dict``.

        Raises:
            IncompleteSwarmError: ``require_members`` is set and a site is missing. The closing model is loaded by then.
        """
        super().on_train_end()
        result = self.session.result if self.session else None
        if result is not None and writes_files(self.model):
            self.save_result(".pt", partial(write_result, result))
