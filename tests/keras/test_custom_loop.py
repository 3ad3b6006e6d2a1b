"""The hooks in a custom loop of each backend."""

from __future__ import annotations

import itertools

import keras
import numpy as np
import pytest

from swarm.errors import ConfigurationError, SwarmError

BACKEND = keras.backend.backend()


def fill(state) -> None:
    for segment in state.segments.values():
        segment[...] = 0.25


def tensorflow_loop(model, batches, callback) -> None:
    import tensorflow as tf

    for x, y in batches:
        with tf.GradientTape() as tape:
            loss = keras.losses.mean_squared_error(y, model(x, training=True))
        gradients = tape.gradient(loss, model.trainable_variables)
        model.optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
        callback.on_batch_end()


def torch_loop(model, batches, callback) -> None:
    import torch

    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for x, y in batches:
        optimizer.zero_grad()
        keras.ops.mean(keras.losses.mean_squared_error(y, model(x, training=True))).backward()
        optimizer.step()
        callback.on_batch_end()


def jax_loop(model, batches, callback) -> None:
    import jax

    def loss_of(trainable, fixed, x, y):
        predicted, fixed = model.stateless_call(trainable, fixed, x, training=True)
        return keras.ops.mean((predicted - y) ** 2), fixed

    @jax.jit
    def step(trainable, fixed, x, y):
        gradients, fixed = jax.grad(loss_of, has_aux=True)(trainable, fixed, x, y)
        return [value - 0.1 * gradient for value, gradient in zip(trainable, gradients, strict=True)], fixed

    for x, y in batches:
        trainable = [variable.value for variable in model.trainable_variables]
        fixed = [variable.value for variable in model.non_trainable_variables]
        trainable, fixed = step(trainable, fixed, x, y)
        for variables, values in ((model.trainable_variables, trainable), (model.non_trainable_variables, fixed)):
            for variable, value in zip(variables, values, strict=True):
                variable.assign(value)
        callback.on_batch_end()


LOOPS = {"tensorflow": tensorflow_loop, "torch": torch_loop, "jax": jax_loop}


def batches(x, y):
    return [(x[i : i + 4], y[i : i + 4]) for i in range(0, 40, 4)]


@pytest.mark.parametrize("validated", [False, True])
def test_a_custom_loop_trains_on_the_merged_weights(swarm, make_model, xy, validated) -> None:
    model = make_model()
    callback = swarm.callback(model=model, interval=5, merge=fill, val_data=xy if validated else None)
    callback.on_train_begin()
    for epoch in range(2):
        LOOPS[BACKEND](model, batches(*xy), callback)
        kernel = keras.ops.convert_to_numpy(model.trainable_variables[0])
        assert (kernel == 0.25).all()  # the tenth batch ended with a merge
        logs: dict[str, float] = {}
        callback.on_epoch_end(epoch, logs)
        assert logs["swarm_rounds"] == 2.0 * (epoch + 1)
        assert ("swarm_val_loss" in logs) == validated
    LOOPS[BACKEND](model, batches(*xy)[:1], callback)
    assert not (keras.ops.convert_to_numpy(model.trainable_variables[0]) == 0.25).all()
    callback.on_train_end()
    assert (keras.ops.convert_to_numpy(model.trainable_variables[0]) == 0.25).all()
    assert swarm.session.merged_at == [5, 10, 15, 20]
    assert swarm.session.calls == ["begin", ("epoch_end", 0), ("epoch_end", 1), "end"]
    assert callback.swarm_over


@pytest.mark.parametrize(
    "indices",
    [[None] * 7, list(range(7)), [0, 1, 2, 0, 1, 2, 3], [0] * 7, [1, 3, 4, 1, 2]],
    ids=["none", "running", "per epoch", "constant", "by difference"],
)
def test_batches_are_counted_however_they_are_numbered(swarm, make_model, indices) -> None:
    callback = swarm.callback(model=make_model(), interval=100)
    callback.on_train_begin()
    for index in indices:
        callback.on_train_batch_end(index)
    callback.on_train_end()
    expected = 8 if indices[0] == 1 else 7
    assert swarm.session.batches == expected


def test_the_loss_may_be_given_as_a_tensor(swarm, make_model) -> None:
    callback = swarm.callback(model=make_model(), interval=2)
    callback.on_train_begin()
    callback.on_batch_end(loss=keras.ops.convert_to_tensor(0.25))
    callback.on_batch_end(loss=keras.ops.convert_to_tensor(0.5))
    callback.on_epoch_end()
    callback.on_epoch_end()
    callback.on_train_end()
    assert swarm.session.losses == [0.5]
    assert swarm.session.calls == ["begin", ("epoch_end", 0), ("epoch_end", 1), "end"]


@pytest.mark.parametrize("loss", ["low", {"a": 1.0}, [1.0, 2.0], object()], ids=["str", "dict", "list", "object"])
def test_a_loss_that_is_no_number_is_named_once_and_ignored(swarm, make_model, caplog, loss) -> None:
    callback = swarm.callback(model=make_model(), interval=2)
    callback.on_train_begin()
    for _ in range(4):
        callback.on_batch_end(loss=loss)
    callback.on_train_end()
    assert swarm.session.losses == [None, None]
    (warning,) = [record.getMessage() for record in caplog.records if record.name == "swarm"]
    assert warning.startswith("loss is ignored")


def test_a_loss_per_sample_counts_by_its_mean(swarm, make_model) -> None:
    callback = swarm.callback(model=make_model(), interval=1)
    callback.on_train_begin()
    callback.on_batch_end(loss=np.array([1.0, 2.0]))
    callback.on_train_end()
    assert swarm.session.losses == [1.5]


def test_the_second_argument_may_be_the_loss_as_in_other_frameworks(swarm, make_model) -> None:
    callback = swarm.callback(model=make_model(), interval=2)
    callback.on_train_begin()
    for batch in range(4):
        callback.on_batch_end(batch, 0.5)
    callback.on_train_end()
    assert swarm.session.losses == [0.5, 0.5]


def test_a_callback_list_may_drive_it(swarm, make_model) -> None:
    model, callback = make_model(), swarm.callback(interval=2)
    callbacks = keras.callbacks.CallbackList([callback], model=model)
    callbacks.on_train_begin()
    callbacks.on_epoch_begin(0)
    for index in range(4):
        callbacks.on_train_batch_end(index, {"loss": 0.5})
    callbacks.on_epoch_end(0, {})
    callbacks.on_train_end()
    assert swarm.session.merged_at == [2, 4]


def test_validation_without_a_compiled_model_says_what_is_missing(swarm, xy, caplog) -> None:
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(1)])
    callback = swarm.callback(model=model, val_data=xy)
    callback.on_train_begin()
    assert swarm.session.evaluate is None
    assert "model.compile(loss=...)" in caplog.text
    with pytest.raises(ConfigurationError, match="use_adaptive_sync"):
        swarm.callback(model=model, val_data=xy, use_adaptive_sync=True).on_train_begin()


@pytest.mark.parametrize("given", ["loss_function", "metric_function"])
def test_functions_that_are_for_pytorch_are_warned_of(swarm, make_model, caplog, given) -> None:
    callback = swarm.callback(model=make_model(), **{given: "MSELoss"})
    callback.on_train_begin()
    callback.on_train_end()
    (warning,) = [record.getMessage() for record in caplog.records if record.name == "swarm"]
    assert warning.startswith("loss_function and metric_function are for PyTorch")


def test_hooks_out_of_order_say_so(swarm, make_model) -> None:
    with pytest.raises(ConfigurationError, match="pass model="):
        swarm.callback().on_train_begin()
    callback = swarm.callback(model=make_model())
    for hook in (callback.on_batch_end, callback.on_train_end, lambda: callback.on_epoch_end(0)):
        with pytest.raises(SwarmError, match="called before on_train_begin"):
            hook()
    callback.on_train_begin()
    callback.on_train_end()
    for hook in (callback.on_batch_end, callback.on_train_end, lambda: callback.on_epoch_end(0)):
        with pytest.raises(SwarmError, match="called after the run had ended"):
            hook()


def test_an_unconfigured_swarm_is_refused_before_the_first_batch(swarm) -> None:
    model = keras.Sequential([keras.layers.Dense(1)])
    with pytest.raises(ConfigurationError):
        swarm.callback(model=model, loopback=False).on_train_begin()


def test_a_model_that_saw_no_batch_takes_no_part(swarm, caplog) -> None:
    callback = swarm.callback(model=keras.Sequential([keras.layers.Dense(1)]))
    callback.on_train_begin()
    callback.on_epoch_end(0)
    callback.on_train_end()
    assert swarm.session.calls == [("abort", "no batch was trained")]
    (warning,) = [record.getMessage() for record in caplog.records if record.name == "swarm"]
    assert warning.startswith("no batch was trained, so model 'sequential")
    assert warning.endswith("Build it first: begin it with keras.Input, or call model.build()")


def test_a_model_built_in_less_than_one_optimizer_step_takes_part(swarm, xy) -> None:
    model = keras.Sequential([keras.layers.Dense(1)])
    model.compile(optimizer=keras.optimizers.SGD(0.1, gradient_accumulation_steps=8), loss="mse")
    x, y = xy
    model.fit(x[:12], y[:12], batch_size=4, callbacks=[swarm.callback(merge=fill)], verbose=0)
    assert [swarm.session.calls[0], swarm.session.calls[-1]] == ["begin", "end"]
    assert (keras.ops.convert_to_numpy(model.trainable_variables[0]) == 0.25).all()


def test_a_model_built_after_the_last_batch_counted_takes_part(swarm) -> None:
    model = keras.Sequential([keras.layers.Dense(1)])
    callback = swarm.callback(model=model)
    callback.on_train_begin()
    model.build((None, 6))
    callback.on_train_end()
    assert swarm.session.calls == ["begin", "end"]


def test_a_loop_that_broke_off_leaves_with_its_callback(swarm, make_model) -> None:
    callback = swarm.callback(model=make_model())
    callback.on_train_begin()
    session = swarm.session
    del callback
    assert session.calls == ["begin", ("abort", "training ended without on_train_end")]


@pytest.mark.parametrize("by_list", [False, True], ids=["hooks", "list"])
def test_two_live_runs_are_refused_where_functions_call_the_hooks(swarm, make_model, by_list) -> None:
    def begun():
        callback = swarm.callback(model=make_model(), name="ada", loopback=False, listen="127.0.0.1:0")
        hooks = keras.callbacks.CallbackList([callback]) if by_list else callback
        hooks.on_train_begin()
        return hooks

    def step() -> None:
        generator.on_train_batch_end(next(batches))

    batches = itertools.count()

    generator = begun()
    step()
    with pytest.raises(ConfigurationError, match="in session 'swarm_model' as 'ada': give each model .* model_name"):
        begun()
    step()
    generator.on_train_end()
    assert swarm.sessions[0].calls == ["begin", "end"]


def test_the_hot_path_never_asks_for_the_model(swarm, make_model, monkeypatch) -> None:
    callback = swarm.callback(model=make_model(), interval=1000)
    callback.on_train_begin()
    monkeypatch.setattr(type(callback), "model", property(lambda _self: pytest.fail("model was touched")))
    for index in range(900):
        callback.on_train_batch_end(index, {})
    assert swarm.session.batches == 0
