"""The hooks of the callback, for both import names of Lightning."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from swarm.callback import NEVER, BaseCallback, samples_of
from swarm.errors import ConfigurationError
from swarm.pytorch import evaluator_for, learning_rate_of, ranks_of, shared_part, trained_by
from swarm_lightning.trainers import last_checkpoints, require_supported

if TYPE_CHECKING:
    from lightning.pytorch import LightningModule, Trainer

    from swarm.tensors import Evaluation, Evaluator


_SHOWN = {"swarm_peers": "swarm/peers", "swarm_val_loss": "swarm/val_loss"}
"""Metrics that the progress bar shows, and under which names."""


class SwarmHooks(BaseCallback):
    """Trains a LightningModule together with the other peers of a swarm.

    The session begins in ``on_train_start``, when the module is on its device, and ends in ``on_train_end``, while
    it still is. Batches are counted; a merge waits for the first batch, at or after the ``sync_interval``-th, whose
    optimizer step moved ``trainer.global_step``, so that it never falls between accumulated gradients.
    Every ``fit`` is a run of its own. One that has no batch to train calls neither of the two hooks: it takes the
    initial weights and the closing model in ``on_fit_end``. ``fast_dev_run`` runs without the swarm.
    Under ``DDPStrategy`` and ``ModelParallelStrategy`` the processes of the Trainer are one peer.
    With ``train_until="all"`` the Trainer's ``max_epochs`` or ``max_steps``, whichever is reached first, moves on by
    one epoch or step at a time, until all peers have trained their own epochs.
    """

    platforms = ("LIGHTNING",)
    knows_trainable = True

    _steps: int
    """``trainer.global_step`` when it was last looked at."""
    _started: bool
    """Whether the current ``fit`` has started training, or is to run without the swarm."""
    _alone: bool
    """Whether the current ``fit`` is a ``fast_dev_run``, which does not join the swarm."""
    _extends: bool
    """Whether the current ``fit`` trains on until all peers have trained their own epochs."""
    _extended: bool
    """Whether the Trainer's limit was reached, which is that of this peer's own training."""
    _limits: tuple[int | None, int]
    """The Trainer's ``max_epochs`` and ``max_steps`` before they were moved."""
    _epoch_steps: int
    """``trainer.global_step`` at the end of the last epoch."""

    _told_rounds: float
    """Rounds of this run that progress bar and loggers have."""

    def prepare(self) -> None:
        """Begin without validation; the hooks set the other attributes for each ``fit``.

        Raises:
            ConfigurationError: an argument is for a loop in raw PyTorch only.
        """
        if self.arguments.stateful is not None:
            raise ConfigurationError(
                "stateful is for a loop in raw PyTorch: under Lightning leave it out, and resume from a checkpoint of "
                'Lightning\'s, trainer.fit(module, ckpt_path="last")'
            )
        self._evaluate: Evaluator | None = None

    @property
    def state_key(self) -> str:
        """A key that distinguishes the callbacks of several sessions in a checkpoint."""
        return f"SwarmLightningCallback[{self.arguments.settings.model_name}]"

    def state_dict(self) -> dict[str, float]:
        """The metrics when a checkpoint is written. A new run does not load them."""
        return self.metrics

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Check the configuration before any port is opened.

        Raises:
            ConfigurationError: no swarm is configured, or the Trainer's strategy or callbacks are not supported.
        """
        self._alone = bool(trainer.fast_dev_run)  # type: ignore[attr-defined]  # set by the Trainer, but not declared
        self._started = self._alone
        self._extends = self._extended = False
        if stage != "fit":
            return
        if self._alone:
            self.logger.warning("fast_dev_run: this fit takes no part in the swarm")
        else:
            self.arguments.settings.require_swarm()
        require_supported(trainer, pl_module, self, self.arguments)
        evaluate = evaluator_for(self.arguments, pl_module)
        if evaluate is not None:
            # Under mixed precision the forward pass needs the Trainer's context.
            def in_precision(evaluate: Evaluator = evaluate) -> Evaluation:
                with trainer.precision_plugin.forward_context():
                    return evaluate()

            self._evaluate = in_precision

    def stand_aside(self) -> None:
        """The current ``fit`` runs without this callback."""
        self._alone = self._started = True
        self._extends = self._extended = False

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Join the swarm, and load the common initial weights."""
        self._started = True
        if self._alone:
            self.due = NEVER
            return
        self._join(trainer, pl_module)
        self._steps = self._epoch_steps = trainer.global_step
        self._told_rounds = 0.0
        self._extends = self.arguments.settings.train_until == "all"
        self._limits = trainer.max_epochs, trainer.max_steps

    def _join(self, trainer: Trainer, pl_module: LightningModule) -> None:
        samples = samples_of(trainer.train_dataloader) if self.arguments.settings.by_samples else None
        settings = self.arguments.settings
        shared = shared_part(pl_module, settings, self.selection, self.logger)
        port, correction = trained_by(trainer.optimizers, shared.port, settings)
        self.open_run(
            port,
            self._evaluate,
            samples=samples,
            agree=shared.facts,
            learning_rate=learning_rate_of(trainer.optimizers),
            correction=correction,
            ranks=ranks_of(pl_module, shared.port, settings),
        )
        self.join()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count a batch, and merge if a merge is due and no gradient is pending."""
        self.counted += 1
        if self.counted >= self.due - 1:
            self._approach(trainer, pl_module, outputs)
        if self._extends:
            self._at_step(trainer)

    def _approach(self, trainer: Trainer, pl_module: LightningModule, outputs: Any) -> None:
        """Near a sync point: merge if one is due and this batch ended with an optimizer step.

        If the swarm has agreed that training ends, the Trainer stops.
        """
        steps = trainer.global_step
        stepped, self._steps = steps != self._steps, steps
        if self.counted >= self.due and stepped:
            loss = outputs.get("loss") if isinstance(outputs, Mapping) else outputs
            self.sync(loss)
            self._tell_round(trainer, pl_module)
            if self.should_stop:
                trainer.should_stop = True

    def _tell_round(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """After a merge: the progress bar and every logger get its round, its peers and the validation loss."""
        metrics, number = self.metrics, self.session.round if self.session else None
        rounds = metrics.get("swarm_rounds", 0.0)
        if rounds == self._told_rounds or number is None:
            return
        self._told_rounds = rounds
        found = {"swarm/round": float(number)}
        found |= {shown: metrics[name] for name, shown in _SHOWN.items() if name in metrics}
        # Lightning would log only every `log_every_n_steps` batches, and so miss most rounds.
        pl_module.log_dict(found, prog_bar=True, logger=False, on_step=True, on_epoch=False, batch_size=1)
        for logger in trainer.loggers:
            logger.log_metrics(found, step=trainer.global_step)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the swarm's metrics, as ``swarm_*``."""
        if self._alone:
            return
        self.end_epoch(trainer.current_epoch)
        if self._extends:
            self._at_epoch(trainer)
        pl_module.log_dict(self.metrics, sync_dist=trainer.world_size > 1)  # the same in all processes of the site

    def _at_step(self, trainer: Trainer) -> None:
        """At the Trainer's last step, move its limit while this peer trains on for others; stop when that is over."""
        if self._extended and self._over:
            trainer.should_stop = True
        elif 0 <= trainer.max_steps <= trainer.global_step and (self._extended or self._extend()):
            trainer.fit_loop.epoch_loop.max_steps = trainer.global_step + 1

    def _at_epoch(self, trainer: Trainer) -> None:
        """The same at the Trainer's last epoch."""
        ended = trainer.current_epoch + 1
        steps, self._epoch_steps = self._epoch_steps, trainer.global_step
        if trainer.max_epochs is None or not 0 <= trainer.max_epochs <= ended:
            return
        # An epoch without batches reaches no sync point, at which this peer could learn that it is to stop.
        ask = not self._extended or steps == trainer.global_step
        if self._extend() if ask else not self._over:
            trainer.fit_loop.max_epochs = ended + 1

    def _extend(self) -> bool:
        self._extended = True
        return self.extend()

    @property
    def _over(self) -> bool:
        """Whether training on for others is over."""
        return self.all_done or self.swarm_over

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Wait until every peer has finished; then load the swarm's closing model."""
        if self._alone:
            return
        self.finish()
        if self._extended:
            trainer.fit_loop.max_epochs, trainer.fit_loop.epoch_loop.max_steps = self._limits
        # All processes of the site take part in writing a checkpoint.
        self.save_result(".ckpt", trainer.save_checkpoint, writes=trainer.is_global_zero)
        # rank 0 decides: the others may not see its files
        for path, weights_only in trainer.strategy.broadcast(last_checkpoints(trainer)):
            write = partial(trainer.save_checkpoint, weights_only=weights_only)
            self.write_model(path, write, writes=trainer.is_global_zero)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take part if there was no batch to train: too little data, or the Trainer's limit was already reached.

        The strategy has already moved the module to the CPU.
        """
        if self._started:
            return
        self.logger.info("this fit trains no batch: the module takes the initial weights and the closing model")
        self._join(trainer, pl_module)
        self.on_train_end(trainer, pl_module)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Leave the swarm: Lightning calls neither ``on_train_end`` nor ``teardown`` after an exception."""
        self.abort(f"training stopped: {type(exception).__name__}")

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Leave the swarm if the session is still open."""
        self.abort("training was torn down")
