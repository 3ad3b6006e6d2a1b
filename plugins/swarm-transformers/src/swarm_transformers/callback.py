"""The callback that a ``Trainer`` takes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from transformers import TrainerCallback

from swarm.callback import BaseCallback, samples_of
from swarm.errors import ConfigurationError
from swarm.pytorch import learning_rate_of, ranks_of, shared_part, trained_by
from swarm_transformers.evaluation import evaluator_of
from swarm_transformers.saving import save
from swarm_transformers.trainers import calling_loop, give_metrics_to_all, require_supported

if TYPE_CHECKING:
    from transformers import TrainerControl, TrainerState, TrainingArguments


class SwarmTrainerCallback(BaseCallback, TrainerCallback):
    """Trains the model of a ``Trainer`` together with the other peers of a swarm.

    ``Trainer(..., callbacks=[SwarmTrainerCallback(sync_interval=64)])``; the arguments are those of
    ``swarm.SwarmCallback``, all optional. It also serves trainers that inherit from ``Trainer``, as those of TRL.

    Of a model with adapters of PEFT these are merged, with the layers in ``modules_to_save``; the base must be the same
    everywhere. ``trainable_only=False`` merges the whole model.

    A Trainer over several processes (``torchrun``, ``accelerate launch``) is one peer: see ``docs/ranks.md``.

    Batches are counted, those of accumulated gradients too. A merge comes at the end of an optimizer step. Each
    ``train()`` is a run of its own. After it the model has the swarm's closing weights, whatever checkpoint
    ``load_best_model_at_end`` has loaded before; that one is then what this site contributes to the closing round.
    """

    platforms = ("HF_TRANSFORMER",)
    knows_trainable = True
    averages_loss = True

    _loss: float | None
    """The mean training loss of the batches that the Trainer logged last."""

    def prepare(self) -> None:
        """Check the arguments that concern the Trainer.

        Raises:
            ConfigurationError: training is to go on after the last epoch.
        """
        if self.arguments.settings.train_until == "all":
            raise ConfigurationError(
                "train_until='all' is not possible with a Trainer, which a callback cannot make train more epochs: "
                "leave it at 'own' at every peer, and give all peers the same max_steps in TrainingArguments"
            )
        self._loss = None

    def on_train_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        *,
        model: Any = None,
        optimizer: Any = None,
        train_dataloader: Any = None,
        **others: Any,
    ) -> None:
        """Join the swarm, and load the common initial weights, or those of a swarm that is already training.

        Raises:
            ConfigurationError: no swarm is configured, or the Trainer trains in a way that is not supported.
            StartTimeoutError: too few peers joined.
            IncompatiblePeerError: a peer trains another model, other frozen weights, or has other settings.
            ModelError: the model contains a tensor that cannot be merged.
        """
        settings = self.arguments.settings
        require_supported(args, model, self.arguments)
        if args.load_best_model_at_end:
            self.logger.warning(
                "load_best_model_at_end: the best checkpoint of this site is what it contributes to the closing round; "
                "after train() the model is the swarm's closing one, and the best checkpoint stays in %s",
                args.output_dir,
            )
        self._loss = None
        optimizers = [] if optimizer is None else [optimizer]
        evaluate = evaluator_of(self.arguments, model, train_dataloader)
        shared = shared_part(model, settings, self.selection, self.logger)
        port, correction = trained_by(optimizers, shared.port, settings)
        self.open_run(
            port,
            evaluate,
            fit=calling_loop(),
            samples=samples_of(train_dataloader) if settings.by_samples else None,
            agree=shared.facts,
            learning_rate=learning_rate_of(optimizers),
            correction=correction,
            ranks=ranks_of(model, shared.port, settings),
        )
        self.join()
        give_metrics_to_all(self)

    def on_substep_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **others: Any
    ) -> None:
        """Count a batch whose gradients wait for the next ones."""
        self.counted += 1

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **others: Any
    ) -> TrainerControl:
        """Count a batch after which the optimizer has made its step, and merge if a merge is due.

        Training stops where the swarm has agreed on that (``patience``, ``swarm stop``).
        """
        self.counted += 1
        if self.counted >= self.due:
            self.sync(self._loss)
            control.should_training_stop |= self.should_stop
        settings = self.arguments.settings
        if settings.use_adaptive_sync or settings.policy == "adacomm":
            # the policy needs the loss at the next merge, and the Trainer tells it only in its logs
            control.should_log |= self.counted + args.gradient_accumulation_steps >= self.due
        return control

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        *,
        logs: dict[str, Any] | None = None,
        **others: Any,
    ) -> None:
        """Keep the loss, and add the metrics of the swarm to ``trainer.state.log_history``, as ``swarm_*``."""
        if logs is None or not self.joined:
            return
        self._loss = logs.get("loss", self._loss)
        for entry in (logs, *state.log_history[-1:]):
            entry.update(self.metrics)

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **others: Any
    ) -> None:
        """Report progress."""
        self.end_epoch(max(math.ceil(state.epoch or 0) - 1, 0))

    def on_train_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        *,
        model: Any = None,
        processing_class: Any = None,
        **others: Any,
    ) -> None:
        """Wait until every peer has finished; then load the swarm's closing model.

        Raises:
            IncompleteSwarmError: ``require_members`` is set and a site is missing. The closing model is loaded by then.
        """
        self.finish()
        if hasattr(model, "save_pretrained"):
            writes = state.is_world_process_zero
            self.save_result("", lambda path: save(model, path, processing_class, writes=writes), writes=writes)
