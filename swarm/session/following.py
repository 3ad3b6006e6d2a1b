"""What this peer tells of what the sync policy follows, and which policy that is."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from swarm.errors import ConfigurationError
from swarm.limits import figure
from swarm.sync import SecondsInterval, Signal, SyncPolicy
from swarm.sync.guarded import GuardedPolicy

if TYPE_CHECKING:
    import logging

    from swarm.clock import Clock
    from swarm.config import Settings
    from swarm.peer.status import TrainingStatus
    from swarm.plugins import PluginRegistry
    from swarm.session.validation import Validation
    from swarm.tensors.model import LearningRate


class Signals:
    """The signals of one peer."""

    def __init__(
        self, validation: Validation, training: TrainingStatus, clock: Clock, learning_rate: LearningRate | None
    ) -> None:
        """Nothing is measured before ``goes_on``.

        Args:
            validation: has the validation loss.
            training: has the training loss.
            clock: tells the time.
            learning_rate: None where the framework was not given the optimizer.
        """
        self._validation = validation
        self._training = training
        self._clock = clock
        self._learning_rate = learning_rate
        self._since: tuple[float, int] | None = None
        """When the training went on last, and how many batches were done by then."""
        self._batch_seconds: float | None = None
        self._had_loss = False
        self._setting = ""
        """What chose the policy, for messages."""
        self.wanted = Signal.NONE
        """What the policy of the session follows."""

    def chosen(self, settings: Settings) -> Settings:
        """``settings`` with the policy that ``use_adaptive_sync`` stands for here, if it chose one."""
        if settings.sync_policy is not None or not settings.use_adaptive_sync or self._validation.possible:
            return settings
        decays = self._learning_rate is not None and self._learning_rate.decays
        return replace(settings, sync_policy="qsr" if decays else "adacomm")

    def policy(self, settings: Settings, plugins: PluginRegistry, logger: logging.Logger) -> SyncPolicy:
        """The policy of the session, whose signal is told from now on.

        Raises:
            ConfigurationError: this peer has no such signal.
        """
        factory = plugins.sync_policy(settings.policy)
        if factory is SecondsInterval:
            policy: SyncPolicy = SecondsInterval(settings.sync_interval, settings.sync_seconds)
        else:
            policy = factory(settings.sync_interval)
        remedy = self._missing(policy.signal)
        if remedy:
            raise ConfigurationError(
                f"{settings.policy_setting} follows {policy.signal}, which this peer has not: {remedy}, or choose "
                "another policy"
            )
        self.wanted = policy.signal
        by = " (chosen by use_adaptive_sync=True)" if settings.use_adaptive_sync else ""
        self._setting = f"{settings.policy_setting}{by}"
        return GuardedPolicy(policy, logger)

    def _missing(self, signal: Signal) -> str:
        if signal is Signal.VALIDATION_LOSS and not self._validation.possible:
            return "give val_data (and with PyTorch loss_function, with Keras a compiled model)"
        if signal is Signal.LEARNING_RATE and self._learning_rate is None:
            return "give optimizer=..."
        return ""

    def goes_on(self, batches: int) -> None:
        """The training goes on, after so many batches."""
        self._since = self._clock.now(), batches

    def stops(self, batches: int) -> None:
        """The training has reached a sync point."""
        if self._since and batches > self._since[1]:
            self._batch_seconds = (self._clock.now() - self._since[0]) / (batches - self._since[1])

    def require_loss(self) -> None:
        """Refuse a training that never gives its loss, where the policy follows that.

        Raises:
            ConfigurationError: the loss of the batch before the first sync point is not known.
        """
        self._had_loss = self._had_loss or self._training.loss is not None
        if self.wanted is Signal.TRAINING_LOSS and not self._had_loss:
            raise ConfigurationError(
                f"{self._setting} follows {self.wanted}, which is not known here: give it with "
                "on_batch_end(loss=...), or choose another policy"
            )

    def value(self) -> float | None:
        """What this peer tells now; None if it has nothing to tell yet."""
        found: float | None = None
        match self.wanted:
            case Signal.VALIDATION_LOSS:
                found = self._validation.merged.loss if self._validation.merged else None
            case Signal.TRAINING_LOSS:
                found = self._training.loss
            case Signal.LEARNING_RATE:
                found = self._learning_rate.now() if self._learning_rate else None
            case Signal.BATCH_SECONDS:
                found = self._batch_seconds
        return None if found is None else figure(found)
