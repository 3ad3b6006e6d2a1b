"""The Keras callback: counts batches, and calls the session at every sync point."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import keras

from swarm.callback import BaseCallback, foreign
from swarm.errors import ConfigurationError
from swarm.tensors import LearningRate, with_optimizer
from swarm_keras._plugin import serves
from swarm_keras.callback_order import calling_list, give_metrics_to_all, refuse_later_restorers
from swarm_keras.evaluation import KerasEvaluator
from swarm_keras.optimizer_state import KerasOptimizerState
from swarm_keras.port import KerasPort, attach_state
from swarm_keras.training_state import KerasTrainingState
from swarm_keras.validation_data import evaluate_arguments

if TYPE_CHECKING:
    from swarm.records import Resumed
    from swarm.tensors import Evaluator


class SwarmCallback(BaseCallback, keras.callbacks.Callback):
    """Trains a Keras model together with the other peers of its swarm.

    In ``model.fit(callbacks=[...])`` list it after callbacks that restore weights, such as
    ``EarlyStopping(restore_best_weights=True)``. A second ``fit`` is a new run. ``History`` gets ``swarm_rounds``,
    ``swarm_peers`` and the rest of ``metrics`` every epoch.

    In a custom loop pass ``model=`` and call the hooks yourself::

        swarm_callback = SwarmCallback(model=model, sync_interval=128)
        swarm_callback.on_train_begin()
        for epoch in range(epochs):
            for batch in data:
                ...
                swarm_callback.on_batch_end()
            swarm_callback.on_epoch_end(epoch)
        swarm_callback.on_train_end()

    ``on_train_begin``, ``on_batch_end`` and ``on_train_end`` may change the model's variables:

    - A merge waits until an optimizer with ``gradient_accumulation_steps`` has no pending gradient.
    - TensorFlow: close a ``tf.GradientTape`` before ``on_batch_end``.
    - torch: call ``on_batch_end`` after the optimizer's step; parameters are written in place.
    - JAX: a stateless loop keeps the arrays itself. Assign them to ``model.trainable_variables`` and
      ``model.non_trainable_variables`` before each hook, and read ``variable.value`` again after it. With accumulated
      gradients also assign ``model.optimizer.variables``.

    A model without weights at ``on_train_begin`` joins the swarm at its first optimizer step, or at the end of the
    training if that comes first. It then loads the common weights; the batches before are not counted for a merge. With
    validation data the merged model is evaluated after every merge by ``model.evaluate``, so the model has to be
    compiled.

    Raises:
        ConfigurationError: an argument is unknown or out of range, see ``swarm.SwarmCallback``.
    """

    platforms = ("KERAS", "TF")
    averages_loss = True

    def prepare(self) -> None:
        """Set the model that was given as ``model=``.

        Raises:
            ConfigurationError: it is known to be no model of Keras 3, an argument is for PyTorch only, or training is
                to go on after the last epoch.
        """
        if self.arguments.settings.train_until == "all":
            raise ConfigurationError(
                "train_until='all' is not possible under Keras, where a callback cannot make fit() train more epochs: "
                "leave it at 'own' at every peer, and have each make the same number of steps, by fit() with the same "
                "steps_per_epoch and a dataset that repeats (dataset.repeat())"
            )
        if asked := self.arguments.settings.corrects:
            raise ConfigurationError(
                f"{asked} is not possible under Keras, whose optimizers show their gradients to no callback: leave it "
                "out at every peer"
            )
        self._validation: Mapping[str, Any] | None = None
        self._epoch = self._last_batch = -1
        self._top_batch = sys.maxsize
        self._moved = False
        """Whether ``fit`` was told with which epoch to begin."""
        if self.arguments.stateful is not None:
            raise ConfigurationError(
                "stateful is for a loop in raw PyTorch: under Keras leave it out, checkpoints have the state of the "
                "optimizer that the model is compiled with"
            )
        if self.arguments.model is not None:
            _require_supported(self.arguments.model, "model= was given")
            super().set_model(self.arguments.model)

    def set_model(self, model: Any) -> None:
        """Set the model that ``fit`` trains.

        Raises:
            ConfigurationError: it is not the one given as ``model=``, or of Keras 2.
        """
        _require_supported(model, "the SwarmCallback of Keras 3 was given to the fit() of")
        if self.arguments.model is not None and self.arguments.model is not model:
            raise ConfigurationError(
                f"model={self.arguments.model.name!r} was given to the SwarmCallback, but fit() trains {model.name!r}:"
                " leave model= out with fit()"
            )
        super().set_model(model)

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        """Join the swarm, and load the common initial weights.

        Raises:
            ConfigurationError: no model, or a callback that restores weights is listed after this one.
            StartTimeoutError: too few peers joined.
        """
        model = self.model
        if model is None:
            raise ConfigurationError("the SwarmCallback has no model: pass model= when its hooks are called by hand")
        callbacks, fit = calling_list(self)
        if callbacks is not None:
            refuse_later_restorers(callbacks.callbacks, self)
        self._warn_of_moving_averages(model)
        # Keras calls no hook if fit() raises: the run ends with fit() itself, or when its callback list is deleted
        port, setting = KerasPort(model, self.selection), self.arguments.settings.optimizer_state
        merged = with_optimizer(port, KerasOptimizerState(setting, model, port.variables), setting)
        self.abort("a new run began with the same callback")
        before = self.resumed
        self.open_run(
            merged,
            self._evaluator(model),
            fit=fit,
            owner=callbacks,
            learning_rate=_learning_rate(model),
            training=KerasTrainingState(model),
        )
        steps = None if callbacks is None else (self.params or {}).get("steps")
        self._top_batch = steps - 1 if steps else sys.maxsize
        self._epoch = self._last_batch = -1
        if _built(model):
            self.join()
            before = self.resumed
        else:
            self.arguments.settings.require_swarm()
        self._epoch = before.epochs - 1
        if callbacks is not None:
            give_metrics_to_all(callbacks, self)
            self._go_on_after(before, steps)

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Reset the batch number."""
        self._last_batch = -1
        self._begin_anew_next_time()

    def on_train_batch_end(self, batch: int | None = None, logs: Mapping[str, Any] | None = None) -> None:
        """Count up to ``batch``, or one batch without it, and merge if a sync point is reached.

        ``batch`` is the index of the last trained batch in the epoch. With ``steps_per_execution`` Keras calls this
        once for several batches, and the index may exceed the end of the epoch.
        """
        if batch is None:
            batch = self._last_batch + 1
        elif batch > self._top_batch:
            batch = self._top_batch
        counted = batch - self._last_batch
        self._last_batch = batch
        self.counted += counted if counted > 0 else batch + 1
        if self.counted >= self.due:
            self._merge_point(logs)

    def on_batch_end(
        self, batch: int | None = None, logs: Mapping[str, Any] | None = None, *, loss: object = None
    ) -> None:
        """``on_train_batch_end`` for custom loops.

        ``loss``, a number or tensor, is the batch's training loss; it may be given instead of ``logs``.
        """
        self.on_train_batch_end(batch, logs if loss is None else {"loss": loss})

    def on_epoch_end(self, epoch: int | None = None, logs: dict[str, Any] | None = None) -> None:
        """Report progress, and add the swarm's metrics to ``logs``."""
        self._epoch = self._epoch + 1 if epoch is None else epoch
        self.end_epoch(self._epoch)
        if logs is not None:
            logs.update(self.metrics)

    def on_train_end(self, logs: Mapping[str, Any] | None = None) -> None:
        """Wait until every peer has finished; then load the swarm's closing model."""
        self._begin_anew_next_time()
        self.require_run("on_train_end")
        if not self.joined:
            if not _built(self.model):
                self.abort("no batch was trained")
                self.logger.warning(
                    "no batch was trained, so model %r was never built and took no part in the swarm; the other peers"
                    " may wait for it until start_timeout. Build it first: begin it with keras.Input, or call"
                    " model.build()",
                    self.model.name,
                )
                return
            # fewer batches than one accumulated optimizer step
            self.join()
        self.finish()
        self.save_result(".keras", self.model.save)

    def _go_on_after(self, done: Resumed, steps: int | None) -> None:
        """Let ``fit`` begin with the first epoch that is not complete, as Keras' own ``BackupAndRestore`` does."""
        epochs = done.epochs + (1 if steps and done.epoch_batches >= steps else 0)
        if epochs > (self.model._initial_epoch or 0):  # noqa: SLF001 - there is no public way
            self.model._initial_epoch = epochs  # noqa: SLF001
            self._moved = True
            self.logger.info("fit() goes on with epoch %d", epochs + 1)

    def _begin_anew_next_time(self) -> None:
        """``fit`` has begun: the next one begins where it is told to."""
        if self._moved:
            self._moved = False
            self.model._initial_epoch = None  # noqa: SLF001

    def _merge_point(self, logs: object) -> None:
        self.require_run("on_batch_end")
        if wait := _batches_to_step(self.model):
            self.postpone(wait)
        elif self.joined:
            self.sync(logs.get("loss") if isinstance(logs, Mapping) else logs)
            if self.should_stop:
                self.model.stop_training = True
        else:
            self.join()

    def _evaluator(self, model: Any) -> Evaluator | None:
        settings, data = self.arguments.settings, self.arguments.val_data
        if self.arguments.loss_function is not None or self.arguments.metric_function is not None:
            self.logger.warning(
                "loss_function and metric_function are for PyTorch: Keras uses those given to model.compile()"
            )
        if data is None:
            return None
        if not model.compiled:
            remedy = f"compile model {model.name!r}, model.compile(loss=...), to have the merged model evaluated"
            if settings.policy == "validation":
                raise ConfigurationError(f"{settings.policy_setting} needs a validation loss: {remedy}")
            self.logger.warning("val_data is not used: %s", remedy)
            return None
        if self._validation is None:
            self._validation = evaluate_arguments(data, batch_size=settings.val_batch_size, steps=settings.val_steps)
        return KerasEvaluator(
            model, self._validation, own_statistics=settings.normalization != "pooled", logger=self.logger
        )

    def _warn_of_moving_averages(self, model: Any) -> None:
        if getattr(_optimizer(model), "use_ema", False):
            self.logger.warning(
                "the optimizer has use_ema=True: its moving averages do not include merges, and replace the merged"
                " weights whenever it writes them to the model"
            )


def _require_supported(model: Any, what: str) -> None:
    """Reject a model of another known framework. Unknown classes may have the methods of Keras 3 models.

    Raises:
        ConfigurationError: the model is not a Keras 3 model.
    """
    known = None if serves(model) else foreign(model)
    if known:
        raise ConfigurationError(f"{what} {type(model).__qualname__}, {known.what}: {known.remedy}")


def _optimizer(model: Any) -> Any:
    """The model's optimizer, without the wrapper for loss scaling; None if there is none."""
    optimizer = getattr(model, "optimizer", None)
    return getattr(optimizer, "inner_optimizer", optimizer)


def _learning_rate(model: Any) -> LearningRate | None:
    """That of the model's optimizer; None if there is none."""
    if _optimizer(model) is None:
        return None

    def now() -> float:
        attach_state(model)  # a schedule is computed from the steps of the optimizer
        return float(keras.ops.convert_to_numpy(_optimizer(model).learning_rate))

    # the public attribute is the present rate; a schedule is kept in another one
    schedule = getattr(_optimizer(model), "_learning_rate", None)
    return LearningRate(now, isinstance(schedule, keras.optimizers.schedules.LearningRateSchedule))


def _batches_to_step(model: Any) -> int:
    """Batches until no accumulated gradient is pending; 0 if none is."""
    optimizer = _optimizer(model)
    steps = getattr(optimizer, "gradient_accumulation_steps", None)
    if not steps:
        return 0
    # the public iterations count optimizer steps; reading the optimizer through the model syncs its state under JAX
    return int(-keras.ops.convert_to_numpy(optimizer._iterations) % steps)  # noqa: SLF001


def _built(model: Any) -> bool:
    """Whether every layer has its variables; TensorFlow builds an unbuilt model in its first train step."""
    return all(layer.built for layer in model._flatten_layers())  # noqa: SLF001 - .layers stops at composite layers
