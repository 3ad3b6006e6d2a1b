from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest
from safetensors.numpy import load_file

from swarm.errors import ModelError
from swarm.storage.files import read_model_file, write_model
from swarm.tensors.capture import BorrowedCapture, tensors
from swarm.tensors.selection import Normalization, Selection
from swarm.tensors.state import ModelState, TensorKind
from swarm_keras.port import KerasPort


class Mixed(keras.Model):
    """Every kind of variable a Keras model may hold, under names that say nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.first = keras.layers.Dense(4, name="moving_mean")
        self.frozen = keras.layers.Dense(4, trainable=False)
        self.norm = keras.layers.BatchNormalization(name="a")
        self.frozen_norm = keras.layers.BatchNormalization(trainable=False)
        self.drop = keras.layers.Dropout(0.5)

    def build(self, shape: tuple[int | None, ...]) -> None:
        self.table = self.add_weight(shape=(3,), initializer="ones", trainable=False, name="kernel")
        self.seen = self.add_weight(shape=(), initializer="zeros", dtype="int32", trainable=False, name="x")
        self.codes = self.add_weight(shape=(2,), initializer="zeros", dtype="int32", trainable=False, name="y")
        self.first.build(shape)
        for layer in (self.frozen, self.norm, self.frozen_norm):
            layer.build((None, 4))
        super().build(shape)

    def call(self, inputs: object, training: bool = False) -> object:
        x = self.norm(self.frozen(self.first(inputs)), training=training)
        return self.drop(self.frozen_norm(x, training=training), training=training)


@pytest.fixture
def mixed() -> Mixed:
    model = Mixed()
    model.build((None, 6))
    return model


def kinds(model: object) -> list[TensorKind]:
    return [spec.kind for spec in KerasPort(model).schema().tensors]


def test_kinds_follow_layers_and_not_names(mixed: Mixed) -> None:
    by_variable = dict(zip([id(v) for v in mixed.weights], kinds(mixed), strict=True))

    def of(*variables: object) -> set[TensorKind]:
        return {by_variable[id(variable)] for variable in variables}

    assert of(*mixed.first.weights, *mixed.frozen.weights) == {TensorKind.WEIGHT}
    for norm in (mixed.norm, mixed.frozen_norm):
        assert of(norm.gamma, norm.beta) == {TensorKind.WEIGHT}
        assert of(norm.moving_mean) == {TensorKind.MEAN}
        assert of(norm.moving_variance) == {TensorKind.VARIANCE}
    assert of(mixed.table, mixed.seen, mixed.codes) == {TensorKind.STATE}


def test_freezing_later_changes_nothing_a_peer_could_stumble_over(mixed: Mixed) -> None:
    before = KerasPort(mixed).schema().fingerprint
    mixed.trainable = False
    assert KerasPort(mixed).schema().fingerprint == before


def test_seeds_and_metrics_stay_out(mixed: Mixed, make_model) -> None:
    assert len(mixed.variables) > len(mixed.weights)
    assert len(kinds(mixed)) == len(mixed.weights)
    model = make_model(metrics=["accuracy"])
    model.fit(np.zeros((4, 6)), np.zeros((4, 1)), verbose=0)
    assert len(kinds(model)) == len(model.weights)


def test_names_numbered_per_process_do_not_matter(make_model) -> None:
    assert KerasPort(make_model()).schema().fingerprint == KerasPort(make_model()).schema().fingerprint


def test_adapted_preprocessing_stays_with_its_peer() -> None:
    normalization = keras.layers.Normalization()
    normalization.adapt(np.arange(12.0).reshape(4, 3))
    model = keras.Sequential([keras.Input((3,)), normalization, keras.layers.Dense(1)])
    assert kinds(model) == [TensorKind.WEIGHT] * 2


def test_a_shared_layer_counts_once() -> None:
    shared = keras.layers.Dense(3)
    inputs = keras.Input((3,))
    model = keras.Model(inputs, shared(shared(inputs)))
    assert len(kinds(model)) == 2


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_dtypes_survive_the_round_trip(dtype: str) -> None:
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, dtype=dtype)])
    port = KerasPort(model)
    state = ModelState.empty(port.schema())
    assert list(state.segments) == [dtype]
    port.read(state)
    expected = state.copy()
    model.set_weights([np.zeros_like(value) for value in model.get_weights()])
    port.write(state)
    back = ModelState.empty(port.schema())
    port.read(back)
    assert back.digest() == expected.digest()


def test_float64_is_what_the_backend_makes_of_it() -> None:
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, dtype="float64")])
    port = KerasPort(model)
    assert {spec.dtype for spec in port.schema().tensors} == {
        keras.ops.convert_to_numpy(v.value).dtype.name for v in model.weights
    }
    state = ModelState.empty(port.schema())
    port.read(state)
    port.write(state)


def test_mixed_kinds_round_trip_by_value(mixed: Mixed) -> None:
    port = KerasPort(mixed)
    state = ModelState.empty(port.schema())
    port.read(state)
    for number, (_, array) in enumerate(state.arrays()):
        array[...] = number
    port.write(state)
    for number, value in enumerate(mixed.get_weights()):
        assert (value == number).all()


def aligned(size: int) -> np.ndarray:
    """Float32 memory at a multiple of 64 bytes, which JAX takes over without a copy."""
    raw = np.zeros(4 * size + 64, np.uint8)
    start = -raw.ctypes.data % 64
    return raw[start : start + 4 * size].view(np.float32)


def test_model_and_state_share_no_memory() -> None:
    model = keras.Sequential([keras.Input((256,)), keras.layers.Dense(256, use_bias=False)])
    port = KerasPort(model)
    state = ModelState(port.schema(), {"float32": aligned(256 * 256)}, [])
    port.read(state)
    before = state.copy()
    model.set_weights([value + 1 for value in model.get_weights()])
    assert state.digest() == before.digest()
    port.write(state)
    state.segments["float32"][...] = 9
    (kernel,) = model.get_weights()
    np.testing.assert_array_equal(kernel.reshape(-1), before.segments["float32"])


def test_what_is_borrowed_is_what_is_read_in_the_memory_of_the_model(mixed: Mixed) -> None:
    port = KerasPort(mixed)
    schema = port.schema()
    state = ModelState.empty(schema)
    port.read(state)
    first, second = port.borrow(schema), port.borrow(schema)
    for (spec, array), one, other in zip(state.arrays(), first, second, strict=True):
        assert (one.dtype, one.shape, one.tobytes()) == (array.dtype, array.shape, array.tobytes()), spec.name
        assert np.shares_memory(one, other), spec.name


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_what_was_borrowed_and_held_outlives_the_next_values(dtype: str) -> None:
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, dtype=dtype)])
    port = KerasPort(model)
    schema = port.schema()
    capture = BorrowedCapture(schema, port.borrow(schema))
    capture.hold()
    before = [array.tobytes() for _, array in tensors(capture)]
    for variable in model.weights:
        variable.assign(np.ones(variable.shape))
    assert [array.tobytes() for _, array in tensors(capture)] == before


def test_a_model_that_has_changed_is_not_borrowed(mixed: Mixed) -> None:
    schema = KerasPort(mixed).schema()
    with pytest.raises(ModelError, match="the model changed since training began"):
        KerasPort(keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])).borrow(schema)


def test_variables_are_written_in_place(mixed: Mixed) -> None:
    port = KerasPort(mixed)
    state = ModelState.empty(port.schema())
    port.read(state)
    before = [id(variable) for variable in mixed.weights]
    port.write(state)
    assert [id(variable) for variable in mixed.weights] == before


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_adding_sums_in_float32_and_rounds_once(dtype: str) -> None:
    model = keras.Sequential([keras.Input((30,)), keras.layers.Dense(20, dtype=dtype)])
    port = KerasPort(model)
    before = ModelState.empty(port.schema())
    port.read(before)
    values = np.linspace(-0.7, 0.3, before.segments[dtype].size).astype(np.float32)
    port.add(ModelState(port.schema(), {dtype: values}, []))
    after = ModelState.empty(port.schema())
    port.read(after)
    expected = (before.segments[dtype].astype(np.float32) + values).astype(before.segments[dtype].dtype)
    assert after.segments[dtype].tobytes() == expected.tobytes()


def test_adding_takes_everything_but_weights_over(mixed: Mixed) -> None:
    port = KerasPort(mixed)
    before, step = (ModelState.empty(port.schema()) for _ in range(2))
    port.read(before)
    for number, (_, array) in enumerate(step.arrays()):
        array[...] = number
    port.add(step)
    old = [array for _, array in before.arrays()]
    for number, (spec, value) in enumerate(zip(port.schema().tensors, mixed.get_weights(), strict=True)):
        assert np.all(value == (old[number] if spec.kind is TensorKind.WEIGHT else 0) + number), spec


class Spectral(keras.layers.Layer):
    """A filter in the frequency domain, and a complex state."""

    def build(self, shape: tuple[int | None, ...]) -> None:
        self.filter = self.add_weight(shape=(2, 3), initializer="zeros", dtype="complex64", name="filter")
        self.single = self.add_weight(shape=(), initializer="zeros", dtype="complex64", name="single")
        self.state = self.add_weight(shape=(2,), initializer="zeros", dtype="complex64", trainable=False, name="state")

    def call(self, inputs: object) -> object:
        return inputs


def test_complex_variables_take_part_as_pairs_of_real_numbers(tmp_path: Path) -> None:
    model = keras.Sequential([Spectral(), keras.layers.Dense(1)])
    model.build((None, 2))
    layer, port = model.layers[0], KerasPort(model)
    values = np.arange(6).reshape(2, 3) * np.complex64(1 + 2j)
    layer.filter.assign(values)
    layer.single.assign(np.complex64(3 + 4j))
    schema = port.schema()
    specs = {spec.name.rpartition("/")[2]: spec for spec in schema.tensors}
    assert (specs["filter"].shape, specs["filter"].dtype, specs["filter"].kind) == ((2, 3, 2), "float32", "weight")
    assert specs["single"].shape == (2,)
    assert specs["state"].kind is not TensorKind.WEIGHT
    state = ModelState.empty(schema)
    port.read(state)
    path = tmp_path / "model.safetensors"
    write_model(path, state, {})
    file = load_file(path)
    assert (file[layer.filter.path] == values).all()
    assert file[layer.single.path] == np.complex64(3 + 4j)
    step = ModelState.empty(schema)
    for _, array in step.arrays():
        array[...] = 1
    port.add(step)
    assert (keras.ops.convert_to_numpy(layer.filter.value) == values + (1 + 1j)).all()
    port.write(read_model_file(path, schema))
    assert (keras.ops.convert_to_numpy(layer.filter.value) == values).all()
    assert keras.ops.convert_to_numpy(layer.single.value) == np.complex64(3 + 4j)
    again = ModelState.empty(schema)
    port.read(again)
    assert again.digest() == state.digest()


def test_an_unbuilt_model_is_refused_by_name() -> None:
    model = keras.Sequential([keras.layers.Dense(2)], name="unborn")
    with pytest.raises(ModelError, match="'unborn' has no weights yet"):
        KerasPort(model).schema()


def head_of(model: keras.Model) -> list[str]:
    return [variable.path for variable in model.layers[-1].weights]


def test_only_what_is_selected_is_in_the_schema(make_model) -> None:
    model = make_model()
    head = head_of(model)
    port = KerasPort(model, Selection(local=(*head, "*/moving_*")))
    assert [spec.name for spec in port.schema().tensors] == [
        variable.path for variable in model.weights if variable.path not in head and "moving" not in variable.path
    ]
    assert port.schema().fingerprint != KerasPort(model).schema().fingerprint


def test_writing_leaves_alone_what_is_local(make_model) -> None:
    model = make_model()
    for layer in model.layers[:-1]:
        layer.trainable = False
    before = model.get_weights()
    port = KerasPort(model, Selection(share=tuple(head_of(model))))
    state = ModelState.empty(port.schema())
    port.read(state)
    np.testing.assert_array_equal(state.segments["float32"][:8], model.layers[-1].get_weights()[0][:, 0])
    state.segments["float32"][...] = 7
    port.write(state)
    for variable, old in zip(model.weights, before, strict=True):
        expected = np.full_like(old, 7) if variable.path in head_of(model) else old
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(variable), expected, err_msg=variable.path)


@pytest.mark.parametrize(
    ("selection", "message"),
    [
        (Selection(local=("haed/*",)), "'haed/.', which matches no tensor of the model"),
        (Selection(share=("*/moving_*",)), "leave no weight"),
        (Selection(local=("*/moving_mean",)), "moving_variance' is shared and .*moving_mean' is not"),
    ],
)
def test_a_selection_that_does_not_fit_the_model_is_refused(make_model, selection: Selection, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        KerasPort(make_model(), selection).schema()


@pytest.mark.parametrize(
    ("normalization", "kept"),
    [
        (Normalization.SILOBN, {"moving_mean", "moving_variance"}),
        (Normalization.FEDBN, {"gamma", "beta", "moving_mean", "moving_variance"}),
    ],
)
def test_what_a_site_keeps_of_batchnorm_is_neither_updated_nor_added_to(
    normalization: Normalization, kept: set[str]
) -> None:
    model = keras.Sequential(
        [keras.Input((2,)), keras.layers.Dense(3), keras.layers.BatchNormalization(), keras.layers.LayerNormalization()]
    )
    port = KerasPort(model, Selection(normalization=normalization))
    schema = port.schema()
    names = {spec.name for spec in schema.tensors if spec.kept}
    assert {name.rpartition("/")[2] for name in names} == kept
    assert all("batch_normalization" in name for name in names)
    before = {variable.path: np.array(variable) for variable in model.weights}
    state = ModelState.empty(schema)
    for _, array in state.arrays():
        array[...] = 7
    for change in (port.update, port.add):
        change(state)
        assert {v.path for v in model.weights if np.array_equal(np.array(v), before[v.path])} == names
    port.write(state)
    assert all((np.array(variable) == 7).all() for variable in model.weights)
