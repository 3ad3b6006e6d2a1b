"""A Keras script as users of HPE Swarm Learning 2.x have it, after its one change under Keras 3: the name it saves to.

Only the end is added: it tells what it ended with.
"""

import hashlib
import logging
import os

import keras
import numpy as np

from swarm import SwarmCallback

max_epochs = int(os.getenv("MAX_EPOCHS", "2"))
min_peers = int(os.getenv("MIN_PEERS", "2"))
scratch_dir = os.getenv("SCRATCH_DIR", os.environ["MODEL_DIR"])

x = np.random.default_rng().normal(size=(64, 5, 2)).astype(np.float32)
y = (x.sum(axis=(1, 2)) > 0).astype(int)
model = keras.models.Sequential(
    [
        keras.layers.Flatten(input_shape=(5, 2)),
        keras.layers.Dense(16, activation="relu"),
        keras.layers.Dropout(0.2),
        keras.layers.Dense(2, activation="softmax"),
    ]
)
model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])

swarmCallback = SwarmCallback(  # noqa: N816 - as HPE's examples spell it
    syncFrequency=4,
    minPeers=min_peers,
    useAdaptiveSync=False,
    adsValData=(x, y),
    adsValBatchSize=8,
    checkinModelOnTrainEnd="snapshot",
    nodeWeightage=50,
    mlPlatform="KERAS",
    mergeMethod="coordmedian",
    totalEpochs=max_epochs,
)
swarmCallback.logger.setLevel(logging.DEBUG)
stop_early = keras.callbacks.EarlyStopping(monitor="loss", patience=3)
history = model.fit(
    x, y, batch_size=8, epochs=max_epochs, verbose=2, validation_data=(x, y), callbacks=[stop_early, swarmCallback]
)
assert "swarm_val_loss" in history.history
scores = model.evaluate(x, y, verbose=0)
swarmCallback.logger.info("test loss: %s, accuracy: %s", *scores)

path = f"{scratch_dir}/saved_model.keras"
model.save(path)
saved = keras.models.load_model(path)
print("DIGEST", hashlib.sha256(b"".join(value.tobytes() for value in saved.get_weights())).hexdigest())
