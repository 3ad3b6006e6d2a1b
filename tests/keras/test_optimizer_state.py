"""The state of Keras optimizers: what is merged of it, and what a peer takes from the others."""

from __future__ import annotations

from functools import partial

import keras
import numpy as np
import pytest

from swarm.errors import ConfigurationError, IncompatiblePeerError
from swarm.tensors import ModelState, Normalization, Selection, TensorKind, with_optimizer
from swarm.testing.swarm import together
from swarm_keras import SwarmCallback
from swarm_keras.optimizer_state import KerasOptimizerState
from swarm_keras.port import KerasPort, values_of

OPTIMIZERS = {
    "sgd": partial(keras.optimizers.SGD, 1e-3, momentum=0.9),
    "nesterov": partial(keras.optimizers.SGD, 1e-3, momentum=0.9, nesterov=True),
    "adam": partial(keras.optimizers.Adam, 1e-3),
    "amsgrad": partial(keras.optimizers.Adam, 1e-3, amsgrad=True),
    "adamw": partial(keras.optimizers.AdamW, 1e-3),
    "nadam": partial(keras.optimizers.Nadam, 1e-3),
    "adamax": partial(keras.optimizers.Adamax, 1e-3),
    "rmsprop": partial(keras.optimizers.RMSprop, 1e-3),
    "rmsprop-all": partial(keras.optimizers.RMSprop, 1e-3, momentum=0.9, centered=True),
    "adagrad": partial(keras.optimizers.Adagrad, 1e-3),
    "adadelta": partial(keras.optimizers.Adadelta, 1e-3),
    "lion": partial(keras.optimizers.Lion, 1e-3),
    "scaled": lambda: keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam(1e-3)),
    "accumulated": partial(keras.optimizers.Adam, 1e-3, gradient_accumulation_steps=2),
}
MOMENTS = (TensorKind.MOMENT, TensorKind.ROOT_MOMENT)


def model(make=OPTIMIZERS["adam"], seed: int = 0) -> keras.Model:
    keras.utils.set_random_seed(seed)
    net = keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(3, "tanh", name="one"), keras.layers.Dense(2, name="two")], name="net"
    )
    net.compile(make(), "mse")
    return net


def train(net: keras.Model, batches: int, seed: int = 0) -> None:
    rng = np.random.default_rng(seed)
    for _ in range(batches):
        net.train_on_batch(rng.normal(size=(8, 4)).astype("float32"), rng.normal(size=(8, 2)).astype("float32"))


def port_of(net: keras.Model, setting: str = "merge", **selection):
    port = KerasPort(net, Selection(**selection))
    return with_optimizer(port, KerasOptimizerState(setting, net, port.variables), setting)


def read(port) -> ModelState:
    state = ModelState.empty(port.schema())
    port.read(state)
    return state


def values(state: ModelState) -> dict[str, np.ndarray]:
    return {spec.name: array.astype(np.float64) for spec, array in state.arrays()}


@pytest.fixture(params=OPTIMIZERS.values(), ids=OPTIMIZERS)
def make(request):
    return request.param


def test_an_optimizer_that_has_not_stepped_takes_the_state_and_goes_on_like_its_source(make) -> None:
    source = model(make)
    train(source, 4)
    state = read(port_of(source))
    assert any(array.any() for spec, array in state.arrays() if spec.kind in MOMENTS)
    twins = []
    for batches in (0, 2):  # a newcomer, and a peer with state of its own
        net = model(make, seed=1)
        train(net, batches, seed=9)
        port = port_of(net)
        port.schema()
        port.write(state)
        assert read(port).digest() == state.digest()
        train(net, 2, seed=5)
        twins.append(net)
    train(source, 2, seed=5)
    for one, two, three in zip(*(net.get_weights() for net in (*twins, source)), strict=True):
        np.testing.assert_allclose(one, two, rtol=0, atol=1e-7)
        np.testing.assert_allclose(one, three, rtol=0, atol=3e-4)


def test_second_moments_are_read_as_roots_and_steps_are_counted() -> None:
    net = model()
    train(net, 3)
    found = values(read(port_of(net)))
    optimizer = net.optimizer
    for index, variable in enumerate(net.trainable_variables):
        first, second = (values_of(each[index]) for each in (optimizer._momentums, optimizer._velocities))
        np.testing.assert_allclose(found[f"optimizer.momentum of {variable.path}"], first, rtol=2**-8)
        np.testing.assert_allclose(found[f"optimizer.velocity of {variable.path}"], np.sqrt(second), rtol=2**-8)
    assert found["optimizer.step"] == 3


def test_small_second_moments_do_not_vanish() -> None:
    net = model()
    train(net, 1)
    for variable in net.optimizer._velocities:
        variable.assign(np.full(tuple(variable.shape), 1e-24, np.float32))
    port = port_of(net)
    port.write(read(port))
    for variable in net.optimizer._velocities:
        np.testing.assert_allclose(values_of(variable), 1e-24, rtol=2**-7)


def test_a_step_counter_of_zero_leaves_the_state_alone() -> None:
    net = model()
    port = port_of(net)
    empty = read(port)
    train(net, 3)
    before = values(read(port))
    port.write(empty)
    after = values(read(port))
    assert after["optimizer.step"] == 3
    for name, array in before.items():
        if name.startswith("optimizer"):
            np.testing.assert_array_equal(after[name], array)


def test_a_step_counter_that_nobody_can_have_does_not_stop_the_peer() -> None:
    net = model(OPTIMIZERS["adam"])
    train(net, 1)
    port = port_of(net)
    state = read(port)
    for spec, array in state.arrays():
        if spec.kind is TensorKind.STEPS:
            array[...] = np.iinfo(np.int64).max
    port.update(state)
    train(net, 2)
    assert int(values_of(net.optimizer.iterations)) > 1
    assert all(np.isfinite(values_of(variable)).all() for variable in net.variables)


def test_accumulated_gradients_count_optimizer_steps() -> None:
    net = model(OPTIMIZERS["accumulated"])
    train(net, 6)
    port = port_of(net)
    state = read(port)
    assert values(state)["optimizer.step"] == 3
    other = model(partial(keras.optimizers.Adam, 1e-3, gradient_accumulation_steps=4))
    port = port_of(other)
    port.schema()
    port.write(state)
    assert int(values_of(other.optimizer._iterations)) == 12
    assert values(read(port))["optimizer.step"] == 3


def test_only_variables_that_are_merged_count() -> None:
    net = model()
    names = port_of(net, local=("*two/*",)).schema().names(TensorKind.MOMENT)
    assert [name.rpartition("/")[2] for name in names] == ["kernel", "bias"]


def test_frozen_layers_have_none() -> None:
    net = model()
    net.layers[0].trainable = False
    net.compile("adam", "mse")
    assert all("two" in name for name in port_of(net).schema().names(*MOMENTS))


def test_plain_sgd_has_nothing_to_merge() -> None:
    net = model(partial(keras.optimizers.SGD, 0.1))
    assert port_of(net).schema() == KerasPort(net).schema()


@pytest.mark.parametrize("how", ["update", "add"])
def test_the_moments_of_weights_that_the_site_keeps_stay_its_own(how: str) -> None:
    """With normalization="fedbn", those of the whole layer; the step counter is that of all layers."""

    def with_norm(seed: int, batches: int) -> keras.Model:
        keras.utils.set_random_seed(seed)
        layers = [keras.layers.Dense(3, name="one"), keras.layers.BatchNormalization(name="norm")]
        net = keras.Sequential([keras.Input((4,)), *layers, keras.layers.Dense(2, name="two")], name="net")
        net.compile(keras.optimizers.Adam(1e-3), "mse")
        train(net, batches, seed)
        return net

    source, own = with_norm(1, 5), with_norm(2, 2)
    merged, port = read(port_of(source)), port_of(own, normalization=Normalization.FEDBN)
    theirs, before = values(merged), values(read(port))
    getattr(port, how)(ModelState(port.schema(), merged.segments, merged.side))
    after = values(read(port))
    moments = [spec for spec in port.schema().tensors if spec.kind in MOMENTS]
    assert {spec.name for spec in moments if spec.kept} == {spec.name for spec in moments if "/norm/" in spec.name}
    for spec in moments:
        np.testing.assert_array_equal(after[spec.name], (before if spec.kept else theirs)[spec.name], spec.name)
    assert after["optimizer.step"] == 5


@pytest.mark.parametrize("setting", ["reset", "merge"])
def test_an_unknown_optimizer_is_refused_with_the_remedy(setting: str) -> None:
    net = model(keras.optimizers.Ftrl)
    with pytest.raises(
        ConfigurationError, match=r"the optimizer Ftrl, whose state is not known: use one of SGD, .*keep"
    ):
        port_of(net, setting).schema()


@pytest.mark.parametrize("setting", ["reset", "merge"])
def test_a_model_without_optimizer_is_refused(setting: str) -> None:
    net = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    with pytest.raises(ConfigurationError, match="has none: compile the model"):
        port_of(net, setting).schema()


def test_a_reset_that_would_restart_a_schedule_is_refused() -> None:
    schedule = keras.optimizers.schedules.ExponentialDecay(0.1, 10, 0.9)
    net = model(partial(keras.optimizers.Adam, schedule))
    with pytest.raises(ConfigurationError, match="a ExponentialDecay, follows: the schedule would start anew"):
        port_of(net, "reset").schema()
    assert port_of(net).schema().names(TensorKind.STEPS) == ("optimizer.step",)


@pytest.mark.parametrize("how", ["write", "add"])
def test_a_reset_optimizer_goes_on_like_a_new_one(make, how: str) -> None:
    net, twin = model(make), model(make)
    port = port_of(net, "reset")
    loaded = read(port)
    train(net, 4)
    if how == "add":
        for (_, array), (_, now) in zip(loaded.arrays(), read(port).arrays(), strict=True):
            np.subtract(array, now, out=array)
    getattr(port, how)(loaded)
    port.write(read(KerasPort(twin)))
    train(net, 4, seed=4)
    train(twin, 4, seed=4)
    for one, two in zip(net.get_weights(), twin.get_weights(), strict=True):
        np.testing.assert_allclose(one, two, rtol=0, atol=1e-6)


def fits(place, **settings):
    """Two peers that fit four batches each with real sessions, and the state of each after its merge."""
    models = [model(settings.pop("first", OPTIMIZERS["adam"]), 1), model(settings.pop("second", OPTIMIZERS["adam"]), 2)]
    states: dict[int, list[list[np.ndarray]]] = {0: [], 1: []}

    class Look(keras.callbacks.Callback):
        def __init__(self, rank: int) -> None:
            super().__init__()
            self.rank = rank

        def on_train_batch_end(self, batch, logs=None) -> None:
            if batch == 3:
                if keras.backend.backend() == "jax":
                    self.model.jax_state_sync()
                optimizer = self.model.optimizer
                slots = [values_of(each).copy() for each in (*optimizer._momentums, *optimizer._velocities)]
                states[self.rank].append(slots)

    def train(rank: int) -> None:
        rng = np.random.default_rng(rank)
        x, y = rng.normal(size=(16, 4)).astype("float32"), rng.normal(size=(16, 2)).astype("float32")
        settings_of = {"world_size": 2, "sync_interval": 4, "optimizer_state": "merge", **settings}
        callback = SwarmCallback(name=f"peer-{rank}", rendezvous=place, **settings_of)
        models[rank].fit(x, y, batch_size=4, shuffle=False, verbose=0, callbacks=[Look(rank), callback, Look(rank)])

    together(partial(train, 0), partial(train, 1), deadline=60)
    return models, states


def test_two_peers_have_the_mean_of_their_moments(tmp_path) -> None:
    models, states = fits(tmp_path)
    (mine, merged), (theirs, same) = states[0], states[1]
    half = len(mine) // 2
    for index, (one, two) in enumerate(zip(mine, theirs, strict=True)):
        np.testing.assert_array_equal(merged[index], same[index])
        if index < half:
            np.testing.assert_allclose(merged[index], (one + two) / 2, rtol=0, atol=2**-7 * np.abs([one, two]).max())
        else:
            np.testing.assert_allclose(merged[index], ((np.sqrt(one) + np.sqrt(two)) / 2) ** 2, rtol=2**-6)
    for one, two in zip(models[0].get_weights(), models[1].get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)


def test_another_optimizer_is_named(tmp_path) -> None:
    with pytest.raises(IncompatiblePeerError, match=r"optimizer\.(velocity|norm) of"):
        fits(tmp_path, second=OPTIMIZERS["adamax"])
