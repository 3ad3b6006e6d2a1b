"""A Keras script as it was written for HPE Swarm Learning 0.3, but for the end: it tells what it ended with."""

import hashlib

import keras
import numpy as np

from swarm import SwarmCallback

model = keras.Sequential([keras.layers.Dense(16, activation="relu"), keras.layers.Dense(2, activation="softmax")])
model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
x = np.random.default_rng().normal(size=(64, 10)).astype(np.float32)
y = (x.sum(axis=1) > 0).astype(int)

swarm_callback = SwarmCallback(sync_interval=4, min_peers=2, val_data=(x, y), val_batch_size=8, node_weightage=50)
stop_early = keras.callbacks.EarlyStopping(monitor="loss", patience=3)
history = model.fit(x, y, batch_size=8, epochs=2, verbose=2, callbacks=[stop_early, swarm_callback])
assert "swarm_val_loss" in history.history

print("DIGEST", hashlib.sha256(b"".join(value.tobytes() for value in model.get_weights())).hexdigest())
