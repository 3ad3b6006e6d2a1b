"""Finds the ``fit`` and the callback list that call our callback; checks other callbacks, and gives them metrics."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import keras

from swarm.callback import Loop
from swarm.errors import ConfigurationError

if TYPE_CHECKING:
    from types import FrameType


def calling_list(callback: Any) -> tuple[Any | None, Loop | None]:
    """The ``CallbackList`` that is calling ``callback`` right now, and the ``fit`` of Keras that calls the list.

    Each is None if there is none: a custom loop may call hooks or a list itself. Keras passes the model and the
    parameters to a callback, but not its list. It is therefore read from the caller's frame. The variables of other
    frames are not read, because Python would then keep them alive.
    """
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001 - there is no public way
    while frame is not None:
        if frame.f_code is keras.callbacks.CallbackList.on_train_begin.__code__:
            caller = frame.f_locals["self"]
            if any(each is callback for each in caller.callbacks):
                return caller, _fit_in(frame.f_back)
        frame = frame.f_back
    return None, None


def _fit_in(frame: FrameType | None) -> Loop | None:
    """The loop in ``frame`` if it belongs to Keras. A user's function may begin training and return before its end."""
    if frame is None or frame.f_globals.get("__name__", "").partition(".")[0] != "keras":
        return None
    return Loop.at(frame)


def refuse_later_restorers(callbacks: list[Any], ours: Any) -> None:
    """Check that no callback after ours restores its own weights.

    Raises:
        ConfigurationError: ``EarlyStopping(restore_best_weights=True)``, which replaces the closing model, or
            ``BackupAndRestore``, which replaces the initial weights, comes after ours.
    """
    position = next(index for index, each in enumerate(callbacks) if each is ours)
    for later in callbacks[position + 1 :]:
        if getattr(later, "restore_best_weights", False) or isinstance(later, keras.callbacks.BackupAndRestore):
            name = type(later).__name__
            raise ConfigurationError(
                f"{name} comes after the SwarmCallback and would replace the swarm's weights by its own:"
                f" list it before, callbacks=[{name}(...), swarm_callback]"
            )


class _SwarmMetrics(keras.callbacks.Callback):
    """Adds the metrics of our callback to the logs of an epoch, before any other callback reads them."""

    def __init__(self, ours: Any) -> None:
        super().__init__()
        self.ours = ours

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if logs is not None:
            logs.update(self.ours.metrics)


def give_metrics_to_all(callbacks: Any, ours: Any) -> None:
    """Let callbacks before ours see ``swarm_*`` at the end of an epoch too, as ``ModelCheckpoint`` and ``CSVLogger``.

    Args:
        callbacks: the list that is calling ours. It goes on with the callbacks that it had.
        ours: our callback.
    """
    if not any(isinstance(each, _SwarmMetrics) and each.ours is ours for each in callbacks.callbacks):
        callbacks.callbacks = [_SwarmMetrics(ours), *callbacks.callbacks]
