"""Handwritten digits with Keras: one callback connects fit() to a swarm.

One site:    DATA_DIR=data MODEL_DIR=model swarm run --name here --peer other.site:7700 -- python keras_mnist.py
No swarm:    DATA_DIR=data MODEL_DIR=model SWARM_LOOPBACK=true python keras_mnist.py

Any backend works: KERAS_BACKEND=tensorflow, jax or torch.
"""

from __future__ import annotations

import keras
from site_files import RANK, Curve, in_turn, load, model_dir, parser, report

from swarm_keras import SwarmCallback


def main() -> None:
    """Train on this site's images."""
    options = parser(__doc__, epochs=4, steps=200, sync_interval=8).parse_args()
    images, digits = load("train")
    test_images, test_digits = load("test")
    seed = 1000 * options.seed + RANK
    keras.utils.set_random_seed(seed)
    model = keras.Sequential(
        [keras.Input(images.shape[1:]), keras.layers.Dense(128, activation="relu"), keras.layers.Dense(10)]
    )
    model.compile(
        optimizer=keras.optimizers.SGD(learning_rate=0.1, momentum=0.9),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )

    def accuracy() -> float:
        if keras.backend.backend() == "jax":
            model.jax_state_sync()  # during fit() the weights are not in the model
        return float((model.predict_on_batch(test_images).argmax(axis=1) == test_digits).mean())

    order = in_turn(len(digits), options.steps * options.batch_size, seed)
    curve = Curve(options.sync_interval, accuracy)
    swarm = SwarmCallback(sync_interval=options.sync_interval)
    model.fit(
        images[order],
        digits[order],
        batch_size=options.batch_size,
        epochs=options.epochs,
        callbacks=[
            keras.callbacks.EarlyStopping(monitor="loss", patience=3),
            swarm,
            keras.callbacks.LambdaCallback(on_train_batch_end=curve.step),
        ],
        verbose=0,
    )

    model.save(model_dir() / "model.keras")
    report(curve, model.get_weights(), swarm.metrics)


if __name__ == "__main__":
    main()
