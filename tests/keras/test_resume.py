"""A resumed fit goes on with the first epoch that is not complete; callbacks before ours see the swarm's metrics."""

from __future__ import annotations

import csv

import keras
import numpy as np
import pytest

from swarm.errors import ConfigurationError, ModelError
from swarm.records import NOT_RESUMED
from swarm_keras import SwarmCallback
from swarm_keras.training_state import KerasTrainingState

BACKEND = keras.backend.backend()


@pytest.fixture
def site(tmp_path):
    return {
        "rendezvous": tmp_path / "rendezvous", "min_peers": 1, "world_size": 1, "name": "ada", "model_dir": tmp_path,
        "checkpoint_seconds": 0, "failure_timeout": 1.0, "sync_interval": 2,
    }  # fmt: skip


class PowerCutError(Exception):
    pass


class Stop(keras.callbacks.Callback):
    """Ends a fit after so many batches, and notes which epochs began."""

    def __init__(self, after: int | None = None) -> None:
        super().__init__()
        self.left = after
        self.epochs: list[int] = []

    def on_epoch_begin(self, epoch, logs=None) -> None:
        self.epochs.append(epoch)

    def on_train_batch_end(self, batch, logs=None) -> None:
        self.left = None if self.left is None else self.left - 1
        if self.left == 0:
            raise PowerCutError


@pytest.fixture
def model():
    """A model whose training depends on its data alone."""

    def model(optimizer=None):
        keras.utils.clear_session()  # as in a new process: layers are numbered from the first one
        keras.utils.set_random_seed(3)
        made = keras.Sequential([keras.Input((6,)), keras.layers.Dense(4, "tanh"), keras.layers.Dense(1)])
        rate = keras.optimizers.schedules.ExponentialDecay(0.05, 10, 0.5)
        made.compile(optimizer=optimizer or keras.optimizers.Adam(rate), loss="mse")
        return made

    return model


def fit(model, xy, callbacks, **arguments):
    return model.fit(*xy, batch_size=4, shuffle=False, callbacks=callbacks, verbose=0, **{"epochs": 4} | arguments)


@pytest.mark.parametrize(("after", "first"), [(10, 1), (11, 1), (21, 2)], ids=["whole", "one more", "in the third"])
def test_a_resumed_fit_goes_on_with_the_first_epoch_that_is_not_complete(model, xy, site, after, first) -> None:
    """The rounds are after 2, 4, 6 … batches, an epoch has ten."""
    with pytest.raises(PowerCutError):
        fit(model(), xy, [SwarmCallback(**site), Stop(after)])
    swarm, seen, again = SwarmCallback(**site, resume=True), Stop(), model()
    assert swarm.resumed.batches == after // 2 * 2
    fit(again, xy, [swarm, seen])
    assert seen.epochs == [*range(first, 4)]
    assert int(again.optimizer.iterations) == after // 2 * 2 + 10 * (4 - first)
    assert again._initial_epoch is None
    fit(again, xy, [seen], epochs=1)
    assert seen.epochs[-1] == 0, "a later fit begins where it is told to"


def test_a_fit_that_is_resumed_at_the_end_of_an_epoch_ends_as_if_nothing_had_stopped_it(model, xy, site) -> None:
    whole = model()
    fit(whole, xy, [SwarmCallback(**site | {"model_dir": None})])
    with pytest.raises(PowerCutError):
        fit(model(), xy, [SwarmCallback(**site), Stop(21)])
    again = model()
    fit(again, xy, [SwarmCallback(**site, resume=True)])
    for one, other in zip(again.get_weights(), whole.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-7)


def test_a_resumed_fit_with_its_epochs_done_takes_part(model, xy, site) -> None:
    with pytest.raises(PowerCutError):
        fit(model(), xy, [SwarmCallback(**site), Stop(21)])
    swarm, seen = SwarmCallback(**site, resume=True), Stop()
    fit(model(), xy, [swarm, seen], epochs=2)
    assert seen.epochs == []
    assert swarm.session.commit.closing
    assert SwarmCallback(**site, resume=True).resumed == NOT_RESUMED


def test_a_custom_loop_goes_on_with_its_epochs(model, xy, site) -> None:
    for epochs in (2, 3):
        made = model()
        swarm = SwarmCallback(**site, resume=True, model=made)
        swarm.on_train_begin()
        done = swarm.resumed.epochs
        for _ in range(done, epochs):
            for _ in range(3):
                made.train_on_batch(xy[0][:4], xy[1][:4])
                swarm.on_batch_end()
            swarm.on_epoch_end()
        swarm.on_batch_end()
        swarm.on_batch_end()
        swarm.abort("power cut")
    assert done == 2
    assert SwarmCallback(**site, resume=True).resumed.epochs == 3


@pytest.mark.skipif(BACKEND != "tensorflow", reason="the others build a model before its first batch")
def test_an_unbuilt_model_goes_on_too(xy, site) -> None:
    def unbuilt():
        keras.utils.clear_session()
        made = keras.Sequential([keras.layers.Dense(1)])
        made.compile("adam", "mse")
        return made

    with pytest.raises(PowerCutError):
        fit(unbuilt(), xy, [SwarmCallback(**site), Stop(17)])
    seen = Stop()
    fit(unbuilt(), xy, [SwarmCallback(**site, resume=True), seen])
    assert seen.epochs == [1, 2, 3]


@pytest.mark.parametrize("wrap", [lambda made: made, keras.optimizers.LossScaleOptimizer], ids=["plain", "scaled"])
def test_all_variables_of_an_optimizer_come_back(model, xy, wrap) -> None:
    first, second = (model(wrap(keras.optimizers.Adam(0.01, amsgrad=True))) for _ in range(2))
    fit(first, xy, [], epochs=1)
    state = KerasTrainingState(first).read()
    held = [np.array(each) for each in state["optimizers"]["optimizer"]["variables"]]
    fit(first, xy, [], epochs=1)
    KerasTrainingState(second).write(state)
    fit(second, xy, [], epochs=0)
    assert len(second.optimizer.variables) == len(held)
    for variable, value in zip(second.optimizer.variables, held, strict=True):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(variable), value)


def test_the_state_of_another_optimizer_is_refused(model, xy) -> None:
    first = model()
    fit(first, xy, [], epochs=1)
    state = KerasTrainingState(first).read()
    with pytest.raises(ModelError, match="the optimizer was Adam when the checkpoint was written, and is SGD now"):
        KerasTrainingState(model(keras.optimizers.SGD(0.1))).write(state)
    with pytest.raises(ModelError, match=r"the optimizer \(Adam\) had other variables"):
        KerasTrainingState(model(keras.optimizers.Adam(0.1, amsgrad=True))).write(state)
    with pytest.raises(ModelError, match="not that of a Keras training"):
        KerasTrainingState(first).write([])


class Gan(keras.Model):
    """Two models with an optimizer each, as in the guide of Keras, and further ones in other places."""

    def __init__(self) -> None:
        super().__init__()
        layers = keras.layers
        self.critic = keras.Sequential([keras.Input((3,)), layers.Dense(4), layers.Dense(1)], name="critic")
        self.maker = keras.Sequential([keras.Input((2,)), layers.Dense(3)], name="maker")
        self.built = True

    def compile(self, **optimizers) -> None:
        super().compile()
        for name, optimizer in optimizers.items():
            setattr(self, name, optimizer)

    def step(self) -> None:
        """A step of each optimizer; no backend computes these gradients."""
        self.d_optimizer.apply([each.value * 0.5 for each in self.critic.trainable_variables], self.critic.weights)
        self.g_optimizer.apply([each.value * 0.5 for each in self.maker.trainable_variables], self.maker.weights)
        for optimizer in self.more["slow"], self.critic.optimizer:
            weights = self.critic.trainable_variables[2:]
            optimizer.apply([each.value * 0.1 for each in weights], weights)


@pytest.fixture
def gan():
    def gan(**changes):
        keras.utils.clear_session()
        keras.utils.set_random_seed(3)
        made = Gan()
        rate = keras.optimizers.schedules.ExponentialDecay(0.05, 10, 0.5)
        optimizers = {
            "d_optimizer": keras.optimizers.Adam(rate),
            "g_optimizer": keras.optimizers.SGD(0.01, momentum=0.9),
            "more": {"slow": keras.optimizers.RMSprop(0.001)},
        }
        made.critic.compile(keras.optimizers.Adam(0.001))
        made.compile(**optimizers | changes)
        return made

    return gan


def train_by_hand(made, swarm, batches, *, ends=True) -> None:
    swarm.on_train_begin()
    for _ in range(swarm.resumed.batches, batches):
        made.step()
        swarm.on_batch_end()
    if ends:
        swarm.on_train_end()
    else:
        swarm.abort("power cut")


@pytest.mark.filterwarnings("ignore:The model does not have any trainable weights")
def test_each_optimizer_of_a_model_comes_back(gan, site, tmp_path) -> None:
    whole, first, again = gan(), gan(), gan()
    train_by_hand(whole, SwarmCallback(**site | {"model_dir": tmp_path / "whole"}, model=whole), 10)
    train_by_hand(first, SwarmCallback(**site, model=first), 6, ends=False)
    train_by_hand(again, SwarmCallback(**site, model=again, resume=True), 10)
    assert [int(each.iterations) for each in (again.d_optimizer, again.more["slow"], again.critic.optimizer)] == [
        10
    ] * 3
    for one, other in zip(again.weights, whole.weights, strict=True):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(one), keras.ops.convert_to_numpy(other))


def test_one_of_several_optimizers_that_is_another_now_is_named(gan, site, caplog) -> None:
    first, again = gan(), gan(g_optimizer=keras.optimizers.Adam(0.01))
    train_by_hand(first, SwarmCallback(**site, model=first), 4, ends=False)
    train_by_hand(again, SwarmCallback(**site, model=again, resume=True), 6)
    assert "the g_optimizer was SGD when the checkpoint was written, and is Adam now" in caplog.text
    assert int(again.d_optimizer.iterations) == 2, "none of them is loaded"


def test_stateful_is_refused(swarm) -> None:
    with pytest.raises(ConfigurationError, match="stateful is for a loop in raw PyTorch"):
        swarm.callback(stateful=keras.optimizers.SGD())


def test_a_late_peer_takes_its_place_in_the_schedule_of_the_others(model, xy, tmp_path) -> None:
    """The recipe of docs/resume.md."""
    place = {"rendezvous": tmp_path, "min_peers": 1, "failure_timeout": 1.0, "sync_interval": 2}
    first = model()
    early = SwarmCallback(**place, name="ada", model=first)
    early.on_train_begin()
    for _ in range(7):
        first.train_on_batch(xy[0][:4], xy[1][:4])
        early.on_batch_end()

    class Catch(keras.callbacks.Callback):
        def on_train_begin(self, logs=None) -> None:
            self.model.optimizer.iterations.assign(swarm.swarm_batches)

    late, swarm, seen = model(), SwarmCallback(**place, name="cyd"), []

    class Look(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None) -> None:
            seen.append(float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate)))
            self.model.stop_training = True
            swarm.abort("it has seen enough")

    with pytest.raises(Exception, match="after the run had ended"):
        fit(late, xy, [swarm, Catch(), Look()], epochs=1)
    assert swarm.swarm_batches == 6
    assert seen == pytest.approx([float(keras.ops.convert_to_numpy(first.optimizer.learning_rate))])
    early.abort("done")


def test_callbacks_before_ours_see_the_metrics_of_the_swarm(make_model, xy, swarm, tmp_path) -> None:
    model = make_model()
    file, best = tmp_path / "log.csv", tmp_path / "best.weights.h5"
    watched = {"monitor": "swarm_val_loss", "mode": "min"}
    before = [
        keras.callbacks.CSVLogger(file),
        keras.callbacks.ModelCheckpoint(best, save_best_only=True, save_weights_only=True, **watched),
        keras.callbacks.EarlyStopping(min_delta=100.0, patience=1, **watched),
    ]
    ours = swarm.callback(interval=4, val_data=xy)
    for _ in range(2):
        history = model.fit(*xy, batch_size=4, epochs=5, callbacks=[*before, ours], verbose=0).history
    with file.open() as lines:
        rows = list(csv.DictReader(lines))
    assert [float(row["swarm_val_loss"]) for row in rows] == pytest.approx(history["swarm_val_loss"], rel=1e-5)
    assert [float(row["swarm_rounds"]) for row in rows] == history["swarm_rounds"] == [2.0, 5.0]
    assert best.exists()
    assert swarm.session.calls[-1] == "end"


def test_the_metrics_are_given_once_for_a_list_that_is_used_again(make_model, xy, swarm) -> None:
    model = make_model()
    ours = swarm.callback()
    callbacks = keras.callbacks.CallbackList([ours], add_history=True, model=model, params={"steps": 10, "epochs": 1})
    for _ in range(2):
        model.fit(*xy, batch_size=4, callbacks=callbacks, verbose=0)
    assert [type(each).__name__ for each in callbacks.callbacks].count("_SwarmMetrics") == 1
    assert len(swarm.sessions) == 2
