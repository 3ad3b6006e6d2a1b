"""Keras: ``model.fit`` of a linear model, on the backend that ``KERAS_BACKEND`` chooses."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from benchmarks.hotpath.clocks import between_clocks
from benchmarks.hotpath.companion import Companion, require_company
from benchmarks.hotpath.turns import Plan, Samples, Turns
from swarm_keras import SwarmCallback
from swarm_keras.port import KerasPort

HOOKS = ("on_train_batch_begin", "on_train_batch_end")
"""All hooks that Keras calls per batch."""
SAMPLES = 4
"""Per batch."""


class EmptyCallback(keras.callbacks.Callback):  # type: ignore[misc]  # Keras has no types
    """Overrides the same hook as Swarm's callback, and does nothing."""

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Do nothing."""


def measure(plan: Plan) -> Samples:
    """Train by ``plan``, with one call of ``fit`` for all arms."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    model.compile(optimizer=keras.optimizers.SGD(0.01), loss="mse")
    generator = np.random.default_rng(0)
    x, y = (generator.normal(size=(SAMPLES * plan.batches, width)).astype(np.float32) for width in (4, 1))
    turns = Turns(plan)
    with Companion(KerasPort(model).schema()) as companion:
        callback = SwarmCallback(**companion.arguments())
        callbacks = between_clocks(
            turns,
            keras.callbacks.Callback,
            HOOKS,
            ("on_epoch_begin", "on_epoch_end"),
            (EmptyCallback(), callback),
            companion,
            lambda: listed.callbacks,
        )
        listed = keras.callbacks.CallbackList(
            callbacks, add_history=True, model=model, epochs=plan.epochs, steps=plan.batches
        )
        model.fit(x, y, batch_size=SAMPLES, epochs=plan.epochs, shuffle=False, verbose=0, callbacks=listed)
        require_company(callback.metrics)
    return turns.samples()
