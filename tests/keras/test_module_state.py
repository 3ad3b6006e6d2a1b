"""Module state of a Keras model, trained by two real peers in one process."""

from __future__ import annotations

from functools import partial

import keras
import numpy as np
import pytest

from swarm.tensors.state import SpectralNorm, TensorKind
from swarm.testing.swarm import together
from swarm_keras import SwarmCallback
from swarm_keras.port import KerasPort


class Counting(keras.layers.Layer):
    """A weight, and a table with its place and its flag."""

    def build(self, shape: object) -> None:
        def state(name: str, shape: tuple[int, ...], dtype: str) -> object:
            return self.add_weight(name=name, shape=shape, dtype=dtype, initializer="zeros", trainable=False)

        self.kernel = self.add_weight(name="kernel", shape=(2,), initializer="zeros")
        self.table, self.place, self.ready = (
            state("table", (3,), "float32"),
            state("place", (), "int32"),
            state("ready", (), "bool"),
        )

    def call(self, inputs: object) -> object:
        return inputs


def model_of(*layers: keras.layers.Layer) -> keras.Model:
    model = keras.Sequential([keras.Input((4,)), *layers])
    model.build((None, 4))
    return model


@pytest.fixture
def train_two(tmp_path):
    """Trains two models at interval 2 by ``step``, for as many batches each; gives the models."""

    def train_two(models, batches, step, **arguments):
        def train(rank):
            callback = SwarmCallback(
                model=models[rank], name=f"peer-{rank}", rendezvous=tmp_path, world_size=2, sync_interval=2, **arguments
            )
            callback.on_train_begin()
            for batch in range(batches[rank]):
                step(models[rank], rank, batch)
                callback.on_batch_end()
            callback.on_train_end()

        together(partial(train, 0), partial(train, 1))
        return models

    return train_two


def test_state_that_belongs_together_stays_together(train_two) -> None:
    def step(model: keras.Model, rank: int, batch: int) -> None:
        layer = model.layers[0]
        layer.kernel.assign(np.add(layer.kernel, 1.0 + rank))
        layer.table.assign(np.full(3, 10.0 * rank + batch))
        layer.place.assign(np.int32(rank + 1))
        layer.ready.assign(np.bool_(True))

    first, second = train_two([model_of(Counting()) for _ in range(2)], (4, 4), step)
    for one, other in zip(first.get_weights(), second.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    layer = first.layers[0]
    assert np.asarray(layer.place) == 1
    assert np.asarray(layer.table).tolist() == [3.0] * 3


def test_a_peer_without_a_batch_ends_with_the_flags_of_those_who_trained(train_two) -> None:
    def step(model: keras.Model, rank: int, batch: int) -> None:
        model.layers[0].ready.assign(np.bool_(True))

    models = train_two([model_of(Counting()) for _ in range(2)], (0, 4), step)
    assert [bool(np.asarray(model.layers[0].ready)) for model in models] == [True, True]


def test_a_frozen_mask_of_infinities_is_module_state() -> None:
    layer = Counting()
    model = model_of(layer)
    layer.trainable = False
    layer.kernel.assign(np.array([0, -np.inf]))
    assert KerasPort(model).schema().tensors[0].kind is TensorKind.STATE


def spectral() -> keras.Model:
    dense = keras.layers.SpectralNormalization(keras.layers.Dense(6))
    return model_of(
        dense, keras.layers.Reshape((3, 2, 1)), keras.layers.SpectralNormalization(keras.layers.Conv2D(5, 2))
    )


def test_kernels_under_spectral_normalisation_are_found() -> None:
    schema = KerasPort(spectral()).schema()
    assert [(norm.axis, norm.right, norm.in_place) for norm in schema.spectral] == [(1, None, True), (3, None, True)]
    for norm in schema.spectral:
        assert isinstance(norm, SpectralNorm)
        kernel, vector = schema.tensors[norm.weight], schema.tensors[norm.left]
        assert (vector.kind, vector.size) == (TensorKind.STATE, kernel.shape[-1])


@pytest.mark.parametrize("settings", [{}, {"codec": "bf16"}], ids=str)
def test_the_largest_singular_value_is_one_after_a_merge_of_unlike_weights(train_two, settings) -> None:
    models = [spectral() for _ in range(2)]
    inputs = np.ones((8, 4), np.float32)

    def step(model: keras.Model, rank: int, batch: int) -> None:
        generator = np.random.default_rng(100 * rank + batch)
        for layer in (model.layers[0], model.layers[2]):
            kernel = np.asarray(keras.ops.convert_to_numpy(layer.kernel))
            layer.kernel.assign(kernel + generator.normal(size=kernel.shape).astype(np.float32))
        model(inputs, training=True)

    for model in train_two(models, (4, 4), step, **settings):
        for layer in (model.layers[0], model.layers[2]):
            kernel = keras.ops.convert_to_numpy(layer.kernel)
            assert np.linalg.norm(kernel.reshape(-1, kernel.shape[-1]), 2) == pytest.approx(1, abs=0.01)
