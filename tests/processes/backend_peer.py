"""One site of a swarm whose sites have different Keras backends: ``backend_peer.py BACKEND OPTIMIZER``."""

from __future__ import annotations

import os
import sys

BACKEND, OPTIMIZER = sys.argv[1:]
os.environ["KERAS_BACKEND"] = BACKEND

import hashlib

import keras
import numpy as np

from swarm_keras import SwarmCallback

assert keras.backend.backend() == BACKEND
rng = np.random.default_rng(sum(BACKEND.encode()))
x = rng.normal(size=(48, 8, 8, 1)).astype(np.float32)
y = (x.mean(axis=(1, 2, 3)) > 0).astype(np.int32)
model = keras.Sequential(
    [
        keras.Input((8, 8, 1)),
        keras.layers.Conv2D(4, 3, activation="relu"),
        keras.layers.BatchNormalization(),
        keras.layers.Flatten(),
        keras.layers.Dropout(0.2),
        keras.layers.Dense(2),
    ]
)
optimizer = keras.optimizers.get({"class_name": OPTIMIZER, "config": {"learning_rate": 0.01}})
model.compile(optimizer, keras.losses.SparseCategoricalCrossentropy(from_logits=True))
callback = SwarmCallback(sync_interval=4, normalization="pooled", optimizer_state="merge")
model.fit(x, y, batch_size=8, epochs=4, verbose=0, callbacks=[callback])
values = [np.ascontiguousarray(value) for value in model.get_weights()]
print("ROUNDS", callback.session.commit.round, flush=True)
print("DIGEST", hashlib.sha256(b"".join(value.tobytes() for value in values)).hexdigest(), flush=True)
