"""A Keras model and ``fit``, on the backend that ``KERAS_BACKEND`` names."""

from __future__ import annotations

import os

import keras
import numpy as np

from benchmarks.matrix.programs.told import tell_model
from swarm_keras import SwarmCallback


def main() -> None:
    """Train, and tell the model that this process ends with."""
    seed = sum(os.environ["SWARM_NAME"].encode())
    keras.utils.set_random_seed(seed)
    model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(16, activation="relu"), keras.layers.Dense(3)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer=keras.optimizers.SGD(0.05), loss=loss)
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(256, 8)).astype(np.float32), rng.integers(0, 3, 256)
    swarm = SwarmCallback()
    model.fit(x, y, batch_size=16, epochs=2, verbose=0, callbacks=[swarm])
    tell_model(model.get_weights(), swarm.metrics)


if __name__ == "__main__":
    main()
