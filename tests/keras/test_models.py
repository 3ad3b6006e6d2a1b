"""Models and trainings of every kind: mixed precision, a train step of one's own, two models, several devices."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import keras
import pytest

from swarm.config import resolve
from swarm.session import Session
from swarm.tensors.state import ModelState
from swarm.testing.swarm import ArrayModel, together
from swarm_keras import SwarmCallback
from swarm_keras.port import KerasPort

BACKEND = keras.backend.backend()


@pytest.fixture
def network():
    def network(kind=keras.Sequential, **arguments):
        keras.utils.set_random_seed(3)
        inputs = keras.Input((6,))
        outputs = keras.layers.Dense(1, dtype="float32")(keras.layers.Dense(4, "tanh")(inputs))
        model = keras.Model(inputs, outputs) if kind is keras.Sequential else kind(inputs, outputs)
        model.compile(**{"optimizer": keras.optimizers.Adam(0.01), "loss": "mse"} | arguments)
        return model

    return network


class OtherSite:
    """A site with a model of the same kind in NumPy, which needs no framework in its thread."""

    def __init__(self, model, settings) -> None:
        schema = KerasPort(model).schema()
        names = {f"tensor {number}": spec for number, spec in enumerate(schema.tensors)}
        state = ModelState.empty(schema)
        KerasPort(model).read(state)
        arrays = dict(zip(names, (array for _, array in state.arrays()), strict=True))
        self.model = ArrayModel(arrays, {name: spec.kind for name, spec in names.items()})
        self.session = Session(resolve({**settings, "name": "other"}).settings, self.model)

    def train(self, batches: int) -> None:
        self.session.begin()
        for _ in range(batches):
            for array in self.model.arrays.values():
                if array.dtype.kind not in "iub":
                    array[...] = array * array.dtype.type(0.75)
            self.session.advance()
        self.session.end()

    def digest(self) -> str:
        return digest_of(self.model)


def digest_of(port) -> str:
    state = ModelState.empty(port.schema())
    port.read(state)
    return state.digest()


@pytest.fixture
def settings(tmp_path):
    return {"rendezvous": tmp_path / "rendezvous", "world_size": 2, "sync_interval": 4}


@pytest.fixture
def trained(settings, xy):
    """Fits a model together with another site; both end with the same bytes."""

    def trained(model, **arguments):
        other = OtherSite(model, settings)
        callback = SwarmCallback(**settings, name="ada")
        fit = partial(model.fit, *xy, batch_size=4, epochs=2, verbose=0, callbacks=[callback], **arguments)
        together(partial(other.train, 20), fit, deadline=110.0)
        assert callback.session.commit == other.session.commit
        assert callback.session.commit.closing
        assert callback.session.commit.round >= 4
        assert digest_of(KerasPort(model)) == other.digest()

    return trained


@pytest.mark.parametrize(
    ("policy", "dtype"), [("mixed_bfloat16", "float32"), ("mixed_float16", "float32"), ("bfloat16", "bfloat16")]
)
def test_a_model_of_mixed_precision_is_merged_in_the_precision_of_its_weights(network, trained, policy, dtype) -> None:
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        model = network()
    finally:
        keras.config.set_dtype_policy(before)
    trained(model)
    assert model.trainable_variables[0].dtype == dtype
    scaled = isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
    assert scaled == (policy == "mixed_float16")


@pytest.mark.skipif(BACKEND == "jax", reason="a train step of JAX is a pure function, see the next test")
def test_a_train_step_of_ones_own_is_trained_with(network, trained) -> None:
    """As Keras' guides write it, for each backend in its own way."""
    steps = []

    class Own(keras.Model):
        def train_step(self, data):
            x, y = data
            steps.append(1)
            if BACKEND == "tensorflow":
                import tensorflow as tf

                with tf.GradientTape() as tape:
                    loss = keras.ops.mean(keras.ops.square(self(x, training=True) - y))
                self.optimizer.apply(tape.gradient(loss, self.trainable_variables), self.trainable_variables)
            else:
                self.zero_grad()
                loss = keras.ops.mean(keras.ops.square(self(x, training=True) - y))
                loss.backward()
                self.optimizer.apply([each.value.grad for each in self.trainable_weights], self.trainable_weights)
            return {"loss": loss}

    trained(network(Own, run_eagerly=BACKEND == "tensorflow"))
    assert len(steps) == 20


@pytest.mark.skipif(BACKEND != "jax", reason="of JAX only")
def test_a_train_step_of_ones_own_is_trained_with_on_jax(network, trained) -> None:
    import jax

    class Own(keras.Model):
        def train_step(self, state, data):
            variables, others, optimizer, metrics = state
            x, y = data

            def loss_of(variables):
                outputs, changed = self.stateless_call(variables, others, x, training=True)
                return keras.ops.mean(keras.ops.square(outputs - y)), changed

            (loss, others), gradients = jax.value_and_grad(loss_of, has_aux=True)(variables)
            variables, optimizer = self.optimizer.stateless_apply(optimizer, gradients, variables)
            return {"loss": loss}, (variables, others, optimizer, metrics)

    trained(network(Own))


def test_two_models_in_one_script_are_two_sessions(network, settings, xy) -> None:
    """As a GAN has them: a loop of one's own trains both, each is merged with the same model of the other site."""
    models = {name: network() for name in ("generator", "discriminator")}
    others = {name: OtherSite(model, settings | {"model_name": name}) for name, model in models.items()}
    callbacks = {
        name: SwarmCallback(**settings, name="ada", model=model, model_name=name) for name, model in models.items()
    }

    def script():
        for callback in callbacks.values():
            callback.on_train_begin()
        for batch in range(10):
            part = slice(4 * batch % 40, 4 * batch % 40 + 4)
            for name, model in models.items():
                model.train_on_batch(xy[0][part], xy[1][part] * (1.0 if name == "generator" else -1.0))
                callbacks[name].on_batch_end()
        for callback in callbacks.values():
            callback.on_train_end()

    together(script, *(partial(other.train, 10) for other in others.values()), deadline=110.0)
    digests = {name: digest_of(KerasPort(model)) for name, model in models.items()}
    assert digests == {name: other.digest() for name, other in others.items()}
    assert len({*digests.values()}) == 2


def test_a_backup_that_is_listed_before_is_restored_and_then_the_weights_of_the_swarm(
    network, trained, xy, tmp_path
) -> None:
    class PowerCutError(Exception):
        pass

    class Stop(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None) -> None:
            if int(keras.ops.convert_to_numpy(self.model.optimizer.iterations)) == 14:
                raise PowerCutError

    def backup():
        return keras.callbacks.BackupAndRestore(tmp_path / "backup")

    with pytest.raises(PowerCutError):
        network().fit(*xy, batch_size=4, epochs=3, verbose=0, callbacks=[backup(), Stop()])
    epochs = []

    class Look(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None) -> None:
            epochs.append(epoch)

    model = network()
    other_settings = {"rendezvous": tmp_path / "rendezvous", "world_size": 2, "sync_interval": 4}
    other, callback = OtherSite(model, other_settings), SwarmCallback(**other_settings, name="ada")
    fit = partial(model.fit, *xy, batch_size=4, epochs=3, verbose=0, callbacks=[backup(), callback, Look()])
    together(partial(other.train, 20), fit, deadline=110.0)
    assert epochs == [1, 2]
    assert digest_of(KerasPort(model)) == other.digest()


def test_a_checkpoint_of_keras_in_the_batch_of_a_merge_has_the_merged_weights(make_model, xy, swarm, tmp_path) -> None:
    def fill(state) -> None:
        for segment in state.segments.values():
            segment[...] = 0.25

    model = make_model()
    saving = keras.callbacks.ModelCheckpoint(tmp_path / "{epoch}.weights.h5", save_weights_only=True, save_freq=5)
    ours = swarm.callback(interval=10, merge=fill)
    model.fit(*xy, batch_size=4, epochs=2, verbose=0, callbacks=[ours, saving])
    saved = make_model()
    saved.load_weights(tmp_path / "1.weights.h5")
    for variable in saved.trainable_variables:
        assert (keras.ops.convert_to_numpy(variable) == 0.25).all()


DEVICES = Path(__file__).with_name("devices.py")


@pytest.mark.skipif(BACKEND == "torch", reason="Keras has no distribution on torch")
@pytest.mark.timeout(600)
def test_a_site_with_several_devices_is_one_peer(tmp_path) -> None:
    """Two CPU devices: ``keras.distribution.DataParallel`` of JAX, ``MirroredStrategy`` of TensorFlow."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SWARM_")}
    environment |= {"KERAS_BACKEND": BACKEND, "XLA_FLAGS": "--xla_force_host_platform_device_count=2"}
    ended = subprocess.run(
        [sys.executable, str(DEVICES), str(tmp_path)], env=environment, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.splitlines()[-1] == "DEVICES 2 SAME True"
