"""The result of a run can be loaded into a new model."""

from __future__ import annotations

from fnmatch import fnmatch
from pathlib import Path

import keras
import numpy as np
import pytest

from swarm.errors import ModelError
from swarm.storage.files import write_model
from swarm.tensors.selection import Selection
from swarm.tensors.state import ModelState
from swarm_keras import SwarmCallback, load_weights
from swarm_keras.port import KerasPort

EVERYTHING = Selection()
RESULT = "swarm-final.safetensors"


def network(*, last: int = 1, dtype: str = "float32", norm: bool = False) -> keras.Model:
    """Two layers without names between which only the number differs, as in ``dense_9`` and ``dense_10``."""
    layers = [keras.layers.Dense(3, dtype=dtype), keras.layers.BatchNormalization(), keras.layers.Dense(3, dtype=dtype)]
    scale = [keras.layers.Normalization(mean=1.0, variance=2.0)] if norm else []
    model = keras.Sequential([*scale, *layers, keras.layers.Dense(last, name="head")])
    model.build((None, 3))
    return model


def values(model: keras.Model) -> list[list[float]]:
    return [np.asarray(keras.ops.convert_to_numpy(variable), "float64").tolist() for variable in model.weights]


def write(model: keras.Model, path: Path, selection: Selection = EVERYTHING) -> Path:
    port = KerasPort(model, selection)
    state = ModelState.empty(port.schema())
    port.read(state)
    write_model(path, state, {})
    return path


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_a_model_that_is_built_again_takes_the_weights_whatever_its_numbers(tmp_path: Path, dtype: str) -> None:
    keras.utils.clear_session()
    keras.layers.Dense(1)
    trained = network(dtype=dtype)
    path = write(trained, tmp_path / RESULT)
    for other in (network(dtype=dtype) for _ in range(6)):
        load_weights(other, path)
        assert values(other) == values(trained)
    assert other.weights[0].path != trained.weights[0].path


def test_the_result_of_a_run_is_loaded(tmp_path: Path) -> None:
    model, x, y = network(), np.ones((4, 3)), np.ones((4, 1))
    model.compile("sgd", "mse")
    callback = SwarmCallback(loopback=True, sync_interval=2, model_dir=tmp_path)
    model.fit(x, y, batch_size=2, callbacks=[callback], verbose=0)
    again = network()
    load_weights(again, str(tmp_path / RESULT))
    assert again.predict(x, verbose=0).tolist() == model.predict(x, verbose=0).tolist()


def test_local_variables_stay_as_they_are(tmp_path: Path) -> None:
    model, x, y = network(), np.ones((4, 3)), np.ones((4, 1))
    model.compile("sgd", "mse")
    callback = SwarmCallback(loopback=True, sync_interval=2, model_dir=tmp_path, local=["*head/*"])
    model.fit(x, y, batch_size=2, callbacks=[callback], verbose=0)
    trained, head = values(model), model.layers[-1].weights
    for variable in model.weights:
        variable.assign(np.ones(variable.shape))
    load_weights(model, tmp_path / RESULT)
    assert values(model)[: -len(head)] == trained[: -len(head)]
    assert values(model)[-len(head) :] == [np.ones(variable.shape).tolist() for variable in head]


class Twins(keras.Model):
    """Two layers of one name, so that two variables have one path."""

    def __init__(self) -> None:
        super().__init__(name="net")
        self.first = keras.layers.Dense(3, name="d")
        self.second = keras.layers.Dense(3, name="d")

    def call(self, x: object) -> object:
        return self.second(self.first(x))


def test_variables_of_one_path_are_told_apart(tmp_path: Path) -> None:
    trained, other = Twins(), Twins()
    for model in (trained, other):
        model(np.zeros((1, 3), "float32"))
    assert len({variable.path for variable in trained.weights}) < len(trained.weights)
    load_weights(other, write(trained, tmp_path / RESULT))
    assert values(other) == values(trained)


def three(*names: str | None) -> keras.Model:
    """Three layers, with the number that Keras gives to those without a name."""
    layers = [keras.layers.Dense(3, name=name) for name in names]
    return keras.Sequential([keras.Input((3,)), *layers], name="net")


def test_a_part_of_the_layers_that_keras_numbers_is_loaded_with_a_warning(tmp_path: Path) -> None:
    keras.utils.clear_session()
    path = write(three(None, None, None), tmp_path / RESULT, Selection(share=("*/dense_1/*",)))
    keras.utils.clear_session()
    other = three("x", None, None)
    with pytest.warns(UserWarning, match="only some of the layers that Keras calls dense, dense_1") as warnings:
        load_weights(other, path)
    assert [each.filename for each in warnings if "Keras calls" in str(each.message)] == [__file__]


def test_a_part_whose_layers_have_names_or_are_all_there_is_loaded_without_one(tmp_path: Path, recwarn) -> None:
    for names, pattern in ((("block_1", "block_2", "block_3"), "*/block_2/*"), ((None, None, "head"), "*/dense*")):
        trained = three(*names)
        keras.layers.Dense(1)
        other = three(*names)
        before = values(other)
        load_weights(other, write(trained, tmp_path / RESULT, Selection(share=(pattern,))))
        chosen = [fnmatch(variable.path, pattern) for variable in trained.weights]
        expected = [a if taken else b for a, b, taken in zip(values(trained), before, chosen, strict=True)]
        assert values(other) == expected
    assert not [each for each in recwarn if "Keras calls" in str(each.message)]


def test_normalization_that_was_adapted_stays_as_it_is(tmp_path: Path) -> None:
    trained, other = network(norm=True), network(norm=True)
    load_weights(other, write(trained, tmp_path / RESULT))
    assert values(other) == values(trained)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: network(last=2), r"head/kernel' is float32\[3, 1\] in .*, and float32\[3, 2\] in the model"),
        (lambda: keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)]), "is no variable of the model"),
        (lambda: keras.Sequential([keras.layers.Dense(1)]), "has no weights yet"),
    ],
)
def test_another_model_is_refused_and_stays_as_it_is(tmp_path: Path, make, message: str) -> None:
    path, other = write(network(), tmp_path / RESULT), make()
    before = values(other)
    with pytest.raises(ModelError, match=message):
        load_weights(other, path)
    assert values(other) == before


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / RESULT).write_bytes(b"damaged")
    for name in (RESULT, "missing.safetensors"):
        with pytest.raises(ModelError, match=f"{name} cannot be read"):
            load_weights(network(), tmp_path / name)
