"""Tumours in hospitals that see different patients: a Keras network on a table of measurements.

Four hospitals here:   swarm up -n 4 --data-dir data --model-dir model -- python biased_sites.py
One hospital, alone:   DATA_DIR=data MODEL_DIR=model SWARM_LOOPBACK=true python biased_sites.py

Almost all tumours of one hospital may be malignant, and almost none of another. So the hospitals scale their
measurements by common statistics, and merge often.
"""

from __future__ import annotations

import keras
from site_files import RANK, Curve, in_turn, load, model_dir, parser, report

import swarm
from swarm_keras import SwarmCallback


def main() -> None:
    """Standardise with the statistics of all hospitals, then train on this hospital's tumours."""
    options = parser(__doc__, epochs=2, steps=80, sync_interval=4).parse_args()
    x, benign = load("train")
    test_x, test_benign = load("test")
    stats = swarm.pool(x, share_statistics=True)
    x, test_x = stats.standardise(x).astype("float32"), stats.standardise(test_x).astype("float32")

    seed = 1000 * options.seed + RANK
    keras.utils.set_random_seed(seed)
    layers = [keras.layers.Dense(16, activation="relu"), keras.layers.Dense(1)]
    model = keras.Sequential([keras.Input(x.shape[1:]), *layers])
    model.compile(
        optimizer=keras.optimizers.SGD(learning_rate=0.05, momentum=0.9),
        loss=keras.losses.BinaryCrossentropy(from_logits=True),
    )

    def accuracy() -> float:
        if keras.backend.backend() == "jax":
            model.jax_state_sync()  # during fit() the weights are not in the model
        return float(((model.predict_on_batch(test_x)[:, 0] > 0) == test_benign).mean())

    order = in_turn(len(benign), options.steps * options.batch_size, seed)
    curve = Curve(options.steps, accuracy)
    callback = SwarmCallback(sync_interval=options.sync_interval, agree={"statistics": stats.digest})
    model.fit(
        x[order],
        benign[order],
        batch_size=options.batch_size,
        epochs=options.epochs,
        callbacks=[callback, keras.callbacks.LambdaCallback(on_train_batch_end=curve.step)],
        verbose=0,
    )

    model.save(model_dir() / "model.keras")
    report(curve, model.get_weights(), callback.metrics)


if __name__ == "__main__":
    main()
