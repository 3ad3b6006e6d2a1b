"""Keras: ``model.fit`` of a linear model, on the backend that ``KERAS_BACKEND`` chooses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from benchmarks.hotpath.companion import Companion, require_company, require_untouched
from benchmarks.hotpath.turns import EMPTY, NONE, SWARM, Plan, Samples, Turns, put_between
from swarm_keras import SwarmCallback
from swarm_keras.port import KerasPort

HOOKS = ("on_train_batch_begin", "on_train_batch_end")
"""Every hook that Keras calls per batch."""
SAMPLES = 4
"""Per batch."""


class EmptyCallback(keras.callbacks.Callback):  # type: ignore[misc]  # Keras has no types
    """Overrides the hook that ours overrides, and does nothing there."""

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Nothing."""


def measure(plan: Plan) -> Samples:
    """Train by ``plan``, one call of ``fit`` for all arms."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    model.compile(optimizer=keras.optimizers.SGD(0.01), loss="mse")
    generator = np.random.default_rng(0)
    x, y = (generator.normal(size=(SAMPLES * plan.batches, width)).astype(np.float32) for width in (4, 1))
    turns = Turns(plan)
    with Companion(KerasPort(model).schema()) as companion:
        callback = SwarmCallback(**companion.arguments())
        callbacks = _callbacks(turns, callback, companion)
        listed = keras.callbacks.CallbackList(
            callbacks, add_history=True, model=model, epochs=plan.epochs, steps=plan.batches
        )
        callbacks[0].listed = listed.callbacks
        model.fit(x, y, batch_size=SAMPLES, epochs=plan.epochs, shuffle=False, verbose=0, callbacks=listed)
        require_company(callback.metrics)
    return turns.samples()


def _callbacks(turns: Turns, callback: Any, companion: Companion) -> list[Any]:
    """A clock, the callbacks of all arms, and another clock."""
    empty = EmptyCallback()
    arms: dict[str, list[Any]] = {NONE: [], EMPTY: [empty], SWARM: [callback]}
    after = _clock(turns.stop)()

    class Before(_clock(turns.start)):  # type: ignore[misc]  # a class made at run time
        """The first clock, which also puts the arms in place."""

        listed: list[Any]

        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            put_between(self.listed, self, after, arms[turns.begin()])

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            turns.end()
            if turns.complete:
                put_between(self.listed, self, after, [empty, callback])

        def on_train_end(self, logs: Any = None) -> None:
            require_untouched(callback.metrics, over=callback.swarm_over)
            companion.finish()

    return [Before(), empty, callback, after]


def _clock(stamp: Callable[[], None]) -> Any:
    """A class of callbacks that call ``stamp`` at every hook of a batch."""

    def hook(*_arguments: object, **_keywords: object) -> None:
        stamp()

    return type("Clock", (keras.callbacks.Callback,), dict.fromkeys(HOOKS, hook))
