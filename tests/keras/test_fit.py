from __future__ import annotations

import pickle

import keras
import numpy as np
import pytest

from swarm.errors import ConfigurationError
from swarm.testing.nodes import eventually
from swarm_keras import SwarmCallback
from swarm_keras.port import KerasPort

BACKEND = keras.backend.backend()


def scale(factor: float):
    """A merge that multiplies every weight by ``factor``."""

    def merge(state) -> None:
        for segment in state.segments.values():
            np.multiply(segment, factor, out=segment)

    return merge


def fill(state) -> None:
    """A merge that comes to a quarter everywhere."""
    for segment in state.segments.values():
        segment[...] = 0.25


class Watch(keras.callbacks.Callback):
    """Records the weights after each batch, as a callback listed after ours would."""

    def __init__(self) -> None:
        super().__init__()
        self.weights: list[list[np.ndarray]] = []
        self.losses: list[float] = []

    def on_train_batch_end(self, batch, logs=None) -> None:
        self.weights.append(self.model.get_weights())
        self.losses.append(logs["loss"])


def test_the_hooks_reach_the_session_in_order(swarm, make_model, xy) -> None:
    callback = swarm.callback(interval=4)
    history = make_model().fit(*xy, batch_size=4, epochs=2, callbacks=[callback], verbose=0)
    assert swarm.session.calls == ["begin", ("epoch_end", 0), ("epoch_end", 1), "end"]
    assert swarm.session.merged_at == [4, 8, 12, 16, 20]
    assert history.history["swarm_rounds"] == [2.0, 5.0]
    assert callback.swarm_over
    assert callback.metrics == {"swarm_rounds": 5.0}
    assert callback.session is swarm.session


def test_fit_stops_with_the_round_in_which_the_swarm_ends_the_training(swarm, make_model, xy) -> None:
    def ends_after_two_rounds() -> None:
        swarm.session.stops_after = 2

    callback = swarm.callback(interval=4, begin=ends_after_two_rounds)
    make_model().fit(*xy, batch_size=4, epochs=3, callbacks=[callback], verbose=0)
    assert swarm.session.merged_at == [4, 8]
    assert swarm.session.batches == 8
    assert swarm.session.calls == ["begin", ("epoch_end", 0), "end"]
    assert callback.should_stop


def test_the_training_loss_reaches_the_session(swarm, make_model, xy) -> None:
    watch = Watch()
    make_model().fit(*xy, batch_size=4, callbacks=[swarm.callback(interval=5), watch], verbose=0)
    assert swarm.session.losses[:2] == pytest.approx([watch.losses[4], watch.losses[9]])


def test_every_batch_is_counted_even_without_a_merge(swarm, make_model, xy) -> None:
    make_model().fit(*xy, batch_size=4, epochs=2, callbacks=[swarm.callback(interval=1000)], verbose=0)
    assert swarm.session.batches == 20
    assert swarm.session.merged_at == []


@pytest.mark.skipif(BACKEND == "torch", reason="Keras refuses steps_per_execution on torch")
@pytest.mark.parametrize(("interval", "merged_at"), [(3, [4, 8, 14, 18]), (6, [8, 14, 20])])
def test_steps_per_execution_counts_batches_without_the_overshoot(swarm, make_model, xy, interval, merged_at) -> None:
    model = make_model(steps_per_execution=4)
    model.fit(*xy, batch_size=4, epochs=2, callbacks=[swarm.callback(interval=interval)], verbose=0)
    assert swarm.session.batches == 20
    assert swarm.session.merged_at == merged_at


@pytest.mark.parametrize(
    ("interval", "accumulated", "merged_at"),
    [(1, 2, [*range(2, 21, 2)]), (3, 4, [4, 8, 12, 16, 20]), (5, 4, [8, 16]), (10, 4, [12])],
)
def test_no_merge_between_accumulated_gradients(swarm, make_model, xy, interval, accumulated, merged_at) -> None:
    model = make_model(optimizer=keras.optimizers.SGD(0.1, gradient_accumulation_steps=accumulated))
    model.fit(*xy, batch_size=4, epochs=2, callbacks=[swarm.callback(interval=interval)], verbose=0)
    assert swarm.session.merged_at == merged_at
    assert swarm.session.batches == 20


def test_overlapping_rounds_leave_the_weights_alone_between_accumulated_gradients(
    make_model, xy, lone_peer, monkeypatch
) -> None:
    """A peer on its own: what the merge changed is nothing, so the training is that without a swarm."""
    model, twin = (make_model(optimizer=keras.optimizers.SGD(0.1, gradient_accumulation_steps=2)) for _ in range(2))
    for each in (model, twin):
        each.layers[2].rate = 0.0
    twin.set_weights(model.get_weights())
    touched: list[tuple[str, int]] = []
    for name in ("read", "add"):
        original = getattr(KerasPort, name)

        def noted(port, state, name=name, original=original) -> None:
            touched.append((name, int(keras.ops.convert_to_numpy(model.optimizer._iterations)) % 2))
            original(port, state)

        monkeypatch.setattr(KerasPort, name, noted)
    callback = SwarmCallback(**lone_peer.arguments, sync_interval=3, overlap=True)

    class Patience(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None) -> None:
            eventually(lambda: not callback.session.round_running, "the round is over")

    model.fit(*xy, batch_size=4, shuffle=False, callbacks=[callback, Patience()], verbose=0)
    assert [name for name, _ in touched].count("add") >= 2
    assert {place for _, place in touched} == {0}
    twin.fit(*xy, batch_size=4, shuffle=False, verbose=0)
    for mine, other in zip(model.trainable_variables, twin.trainable_variables, strict=True):
        values = (keras.ops.convert_to_numpy(variable) for variable in (mine, other))
        np.testing.assert_allclose(*values, rtol=1e-6)


def test_gradients_pending_from_an_earlier_fit_are_waited_for(swarm, make_model, xy) -> None:
    model = make_model(optimizer=keras.optimizers.SGD(0.1, gradient_accumulation_steps=4))
    for _ in range(2):
        model.fit(*xy, batch_size=4, callbacks=[swarm.callback(interval=1)], verbose=0)
    assert [session.merged_at for session in swarm.sessions] == [[4, 8], [2, 6, 10]]


def test_merged_weights_are_the_ones_trained_on(swarm, make_model, xy) -> None:
    """A merge at batch 5 of 10 equals a fit of 5 batches, the merge done by hand, and a fit of 5 more."""
    model, twin = make_model(), make_model()
    for each in (model, twin):
        each.layers[2].rate = 0.0
    callback = swarm.callback(interval=5, merge=scale(0.5))
    watch = Watch()
    model.fit(*xy, batch_size=4, shuffle=False, callbacks=[callback, watch], verbose=0)
    x, y = xy
    twin.fit(x[:20], y[:20], batch_size=4, shuffle=False, verbose=0)
    halve(twin)
    for seen, expected in zip(watch.weights[4], twin.get_weights(), strict=True):
        np.testing.assert_allclose(seen, expected, rtol=1e-5, atol=1e-6)
    twin.fit(x[20:], y[20:], batch_size=4, shuffle=False, verbose=0)
    halve(twin)
    halve(twin)
    for trained, expected in zip(model.get_weights(), twin.get_weights(), strict=True):
        np.testing.assert_allclose(trained, expected, rtol=1e-4, atol=1e-5)


def halve(model) -> None:
    """What ``scale(0.5)`` does, by Keras' own means: weights, but no statistics."""
    for variable in model.trainable_variables:
        variable.assign(keras.ops.convert_to_numpy(variable) * np.float32(0.5))


def test_the_model_is_left_with_the_closing_weights(swarm, make_model, xy) -> None:
    model = make_model()
    model.fit(*xy, batch_size=4, callbacks=[swarm.callback(interval=1000, merge=fill)], verbose=0)
    for variable in model.trainable_variables:
        assert (keras.ops.convert_to_numpy(variable) == 0.25).all()


def test_validation_leaves_the_running_epoch_alone(swarm, make_model, xy) -> None:
    def run(**arguments):
        auc = keras.metrics.AUC(num_thresholds=8, name="auc")
        model = make_model(metrics=["accuracy", auc], optimizer=keras.optimizers.Adam())
        callback = swarm.callback(interval=3, normalization="pooled", **arguments)
        fitted = model.fit(*xy, batch_size=4, epochs=2, validation_data=xy, callbacks=[callback], verbose=0)
        return fitted.history, model.get_weights()

    plain, plain_weights = run()
    validated, validated_weights = run(val_data=(xy[0][:9], xy[1][:9]))
    assert [evaluation.samples for evaluation in swarm.session.evaluations] == [9] * 8
    assert {*swarm.session.evaluations[0].metrics} == {"accuracy", "auc"}
    assert validated.keys() == plain.keys()
    for name, values in plain.items():
        assert validated[name] == pytest.approx(values, rel=1e-5), name
    for one, other in zip(plain_weights, validated_weights, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_a_failed_validation_keeps_the_merged_weights(swarm, make_model, xy) -> None:
    """The session notes the error and training goes on: not from the weights of before the merge, though."""
    bad = (np.zeros((4, 5), np.float32), np.zeros((4, 1), np.float32))
    watch = Watch()
    make_model().fit(
        *xy, batch_size=4, callbacks=[swarm.callback(interval=5, merge=fill, val_data=bad), watch], verbose=0
    )
    assert len(swarm.session.errors) == 4
    for merged in (watch.weights[4], watch.weights[9]):
        assert (merged[0] == 0.25).all()
    assert not (watch.weights[5][0] == 0.25).all()


def test_stop_training_is_untouched_by_validation(swarm, make_model, xy) -> None:
    class Stop(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None) -> None:
            if batch == 3:
                self.model.stop_training = True

    make_model().fit(*xy, batch_size=4, epochs=3, callbacks=[Stop(), swarm.callback(val_data=xy)], verbose=0)
    assert swarm.session.batches == 4
    assert swarm.session.calls[-1] == "end"


def test_a_model_unbuilt_at_start_joins_at_its_first_batch_end(swarm, xy) -> None:
    model = keras.Sequential([keras.layers.Dense(3), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    model.fit(*xy, batch_size=4, callbacks=[swarm.callback(interval=3)], verbose=0)
    assert swarm.session.calls == ["begin", ("epoch_end", 0), "end"]
    assert swarm.session.batches == (9 if BACKEND == "tensorflow" else 10)


@pytest.mark.parametrize("epochs", [{"epochs": 0}, {"epochs": 2, "initial_epoch": 2}], ids=["none", "all are done"])
def test_a_fit_without_a_batch_takes_part(swarm, make_model, xy, epochs) -> None:
    model = make_model()
    model.fit(*xy, callbacks=[swarm.callback(merge=fill)], verbose=0, **epochs)
    assert swarm.session.calls == ["begin", "end"]
    assert (keras.ops.convert_to_numpy(model.trainable_variables[0]) == 0.25).all()


def test_a_restoring_callback_listed_later_is_refused(swarm, make_model, xy, tmp_path) -> None:
    stopper = keras.callbacks.EarlyStopping(restore_best_weights=True, monitor="loss")
    with pytest.raises(ConfigurationError, match="EarlyStopping comes after the SwarmCallback"):
        make_model().fit(*xy, callbacks=[swarm.callback(), stopper], verbose=0)
    backup = keras.callbacks.BackupAndRestore(tmp_path)
    with pytest.raises(ConfigurationError, match="BackupAndRestore comes after"):
        make_model().fit(*xy, callbacks=[swarm.callback(), backup], verbose=0)
    assert swarm.sessions == []


def test_harmless_orders_are_accepted(swarm, make_model, xy) -> None:
    first = keras.callbacks.EarlyStopping(restore_best_weights=True, monitor="loss")
    later = keras.callbacks.EarlyStopping(monitor="loss")
    make_model().fit(*xy, callbacks=[first, swarm.callback(), later], verbose=0)
    assert swarm.session.calls[-1] == "end"


def test_early_stopping_listed_before_leaves_the_closing_model(swarm, make_model, xy) -> None:
    model = make_model()
    stopper = keras.callbacks.EarlyStopping(restore_best_weights=True, monitor="loss", patience=1)
    model.fit(*xy, epochs=4, callbacks=[stopper, swarm.callback(interval=1000, merge=fill)], verbose=0)
    assert (keras.ops.convert_to_numpy(model.trainable_variables[0]) == 0.25).all()


def test_another_model_than_the_given_one_is_refused(swarm, make_model, xy) -> None:
    with pytest.raises(ConfigurationError, match="leave model= out"):
        make_model().fit(*xy, callbacks=[swarm.callback(model=make_model())], verbose=0)


def test_moving_averages_are_warned_of(swarm, make_model, xy, caplog) -> None:
    make_model(optimizer=keras.optimizers.SGD(use_ema=True)).fit(*xy, callbacks=[swarm.callback()], verbose=0)
    assert "use_ema=True" in caplog.text


def test_it_survives_pickling_before_a_run() -> None:
    callback = pickle.loads(pickle.dumps(SwarmCallback(sync_interval=16)))
    assert not callback.swarm_over
    assert callback.metrics == {}


def test_it_asks_for_no_asynchronous_dispatch(swarm) -> None:
    assert not hasattr(swarm.callback(), "async_safe")


def test_another_platform_is_refused(swarm) -> None:
    with pytest.raises(ConfigurationError, match="ml_platform='PYTORCH'"):
        swarm.callback(ml_platform="PYTORCH")


def test_the_platform_of_the_environment_does_not_matter(monkeypatch) -> None:
    monkeypatch.setenv("SWARM_ML_PLATFORM", "PYTORCH")
    assert not SwarmCallback().swarm_over


def test_a_personal_head_is_trained_but_not_merged(swarm, make_model, xy) -> None:
    model = make_model()
    head = model.layers[-1]
    before = head.get_weights()[0]
    callback = swarm.callback(merge=fill, local=[variable.path for variable in head.weights])
    model.fit(*xy, batch_size=4, verbose=0, callbacks=[callback])
    assert (model.layers[0].get_weights()[0] == 0.25).all()
    after = head.get_weights()[0]
    assert not (after == 0.25).any()
    assert (after != before).any()


class KerasTwoModel:
    """A model of tf_keras, as far as its fit() hands it to callbacks."""

    name = "sequential"


KerasTwoModel.__module__ = "tf_keras.src.engine.sequential"


def test_the_fit_of_keras_2_is_told_what_is_needed() -> None:
    callback = SwarmCallback(sync_interval=2)
    with pytest.raises(ConfigurationError, match=r"fit\(\) of KerasTwoModel, a Keras 2 model.*Keras 3 is needed"):
        callback.set_model(KerasTwoModel())  # the first that fit() of Keras 2 does
    with pytest.raises(ConfigurationError, match="KerasTwoModel, a Keras 2 model"):
        SwarmCallback(sync_interval=2, model=KerasTwoModel())


def test_the_number_of_samples_has_to_be_given(swarm, make_model, xy) -> None:
    settings = {"loopback": None, "listen": "127.0.0.1:0", "node_weightage": "samples"}
    with pytest.raises(ConfigurationError, match="give samples=N"):
        make_model().fit(*xy, batch_size=4, callbacks=[swarm.callback(**settings)], verbose=0)
    make_model().fit(*xy, batch_size=4, callbacks=[swarm.callback(**settings, samples=len(xy[0]))], verbose=0)
    assert swarm.session.settings.require_weight() == len(xy[0])
