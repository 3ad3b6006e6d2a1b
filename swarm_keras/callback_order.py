"""Which callbacks run beside ours, and which of them would undo what the swarm agreed on."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import keras

from swarm.errors import ConfigurationError

if TYPE_CHECKING:
    from types import FrameType


def calling_list(callback: Any) -> Any | None:
    """The ``CallbackList`` that is calling ``callback`` right now, or None where its hooks are called by hand.

    Keras hands a callback the model and the parameters, but not its list: the caller's frame is where it can be found.
    No other frame is looked into, for Python then keeps its variables alive.
    """
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001 - the stack is all there is
    while frame is not None:
        if frame.f_code is keras.callbacks.CallbackList.on_train_begin.__code__:
            caller = frame.f_locals["self"]
            if any(each is callback for each in caller.callbacks):
                return caller
        frame = frame.f_back
    return None


def refuse_later_restorers(callbacks: list[Any], ours: Any) -> None:
    """Check that no callback after ours brings back weights of its own.

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
