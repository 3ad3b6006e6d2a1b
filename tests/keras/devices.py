"""A site that trains on two CPU devices, and another one in NumPy: ``devices.py DIRECTORY``."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from functools import partial
from pathlib import Path

import keras
import numpy as np

from swarm.config import resolve
from swarm.session import Session
from swarm.tensors.state import ModelState
from swarm.testing.swarm import ArrayModel, together
from swarm_keras import SwarmCallback
from swarm_keras.port import KerasPort


def scope():
    """Where the model is made, and the number of devices."""
    if keras.backend.backend() == "jax":
        distribution = keras.distribution.DataParallel(devices=keras.distribution.list_devices("cpu"))
        keras.distribution.set_distribution(distribution)
        return nullcontext(), len(keras.distribution.list_devices("cpu"))
    import tensorflow as tf

    (cpu,) = tf.config.list_physical_devices("CPU")
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    return strategy.scope(), strategy.num_replicas_in_sync


def arrays_of(port):
    state = ModelState.empty(port.schema())
    port.read(state)
    return state


def main(place: Path) -> None:
    where, devices = scope()
    keras.utils.set_random_seed(3)
    with where:
        model = keras.Sequential(
            [keras.Input((6,)), keras.layers.Dense(4), keras.layers.BatchNormalization(), keras.layers.Dense(1)]
        )
        model.compile(keras.optimizers.Adam(0.01), "mse")
    x = np.random.default_rng(3).normal(size=(64, 6)).astype(np.float32)
    settings = {"rendezvous": place, "world_size": 2, "sync_interval": 3, "normalization": "pooled"}
    state = arrays_of(KerasPort(model))
    kinds = {f"tensor {number}": spec.kind for number, spec in enumerate(state.schema.tensors)}
    other = ArrayModel(dict(zip(kinds, (array for _, array in state.arrays()), strict=True)), kinds)

    def train() -> None:
        session = Session(resolve({**settings, "name": "other"}).settings, other)
        session.begin()
        for _ in range(16):
            other.arrays["tensor 0"] += 0.1
            session.advance()
        session.end()

    callback = SwarmCallback(**settings, name="ada")
    fit = partial(model.fit, x, x.sum(axis=1, keepdims=True), batch_size=8, epochs=2, verbose=0, callbacks=[callback])
    together(train, fit, deadline=500.0)
    assert callback.session.commit.closing
    assert callback.session.commit.round >= 5
    print("DEVICES", devices, "SAME", arrays_of(KerasPort(model)).digest() == arrays_of(other).digest(), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
