"""The end of a fit, with and without an error, and a second fit."""

from __future__ import annotations

import keras
import pytest

from swarm.callback import Loop
from swarm.errors import ConfigurationError
from swarm.testing.nodes import eventually
from swarm.testing.swarm import together
from swarm_keras import SwarmCallback


def test_an_exception_in_fit_aborts_the_session(swarm, make_model, xy) -> None:
    class Boom(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None) -> None:
            raise RuntimeError("boom")

    callback = swarm.callback()
    with pytest.raises(RuntimeError, match="boom") as raised:
        make_model().fit(*xy, callbacks=[callback, Boom()], verbose=0)
    del raised
    assert swarm.session.calls == ["begin", ("abort", "fit() stopped before its end")]
    assert swarm.session.others_warn


def test_a_fit_that_raises_frees_port_and_threads(make_model, xy, lone_peer) -> None:
    callback = SwarmCallback(**lone_peer.arguments)

    class Boom(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None) -> None:
            lone_peer.look(callback.session)
            raise RuntimeError("boom")

    with pytest.raises(RuntimeError, match="boom") as raised:
        make_model().fit(*xy, callbacks=[callback, Boom()], verbose=0)
    del raised
    lone_peer.require_gone()
    assert callback.swarm_over


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_fit_that_raises_leaves_though_its_error_is_kept(swarm, make_model, xy, caplog, error) -> None:
    class Boom(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None) -> None:
            raise error

    callback = swarm.callback(name="ada", loopback=False, listen="127.0.0.1:0")
    with pytest.raises(error) as kept:
        make_model().fit(*xy, callbacks=[callback, Boom()], verbose=0)
    left = ["begin", ("abort", "fit() stopped before its end")]
    eventually(lambda: swarm.session.calls == left, "the session was aborted")
    assert swarm.session.others_warn
    (warning,) = [record.getMessage() for record in caplog.records if record.name == "swarm"]
    assert warning == (
        "session swarm_model: fit() stopped before its end, so ada leaves without the closing model; "
        "the other peers continue without it"
    )
    assert kept.value.__traceback__ is not None


def test_a_fit_in_another_thread_is_watched_there(swarm, make_model, xy) -> None:
    class Boom(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None) -> None:
            raise RuntimeError("boom")

    kept = []

    def train() -> None:
        try:
            make_model().fit(*xy, callbacks=[swarm.callback(), Boom()], verbose=0)
        except RuntimeError as error:
            kept.append(error)
            eventually(lambda: swarm.session.calls[-1][0] == "abort", "the session was aborted")

    together(train)
    assert len(kept) == 1


def test_a_fit_that_takes_its_time_is_not_left(swarm, make_model, xy) -> None:
    """It is looked at many times, in its callbacks and in the evaluation of a validation too."""
    looks = []
    running = Loop.running.fget

    def noted(loop) -> bool:
        looks.append(running(loop))
        return looks[-1]

    class Slow(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None) -> None:
            seen = len(looks)
            eventually(lambda: len(looks) > seen, "it was looked at")

        on_test_batch_end = on_train_batch_end

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Loop, "running", property(noted))
        callbacks = [swarm.callback(), Slow()]
        make_model().fit(*xy, batch_size=20, validation_data=xy, callbacks=callbacks, verbose=0)
    assert len(looks) > 3
    assert all(looks)
    assert swarm.session.calls == ["begin", ("epoch_end", 0), "end"]


def test_a_list_driven_by_hand_may_outlive_the_function_that_begins(swarm, make_model) -> None:
    callbacks = keras.callbacks.CallbackList([swarm.callback(interval=2)], model=make_model())

    def begin() -> None:
        callbacks.on_train_begin()

    begin()
    for index in range(4):
        callbacks.on_train_batch_end(index, {"loss": 0.5})
    callbacks.on_train_end()
    assert swarm.session.merged_at == [2, 4]
    assert swarm.session.calls == ["begin", "end"]


def test_a_fit_in_a_with_block_leaves_with_it(swarm, make_model, xy) -> None:
    class Boom(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None) -> None:
            raise RuntimeError("boom")

    with pytest.raises(RuntimeError, match="boom"), swarm.callback() as callback:
        make_model().fit(*xy, callbacks=[callback, Boom()], verbose=0)
    assert swarm.session.calls[-1] == ("abort", "training stopped: RuntimeError")
    with swarm.callback() as callback:
        make_model().fit(*xy, callbacks=[callback], verbose=0)
    assert swarm.session.calls == ["begin", ("epoch_end", 0), "end"]


def test_two_callbacks_of_one_peer_in_one_fit_are_refused(swarm, make_model, xy) -> None:
    callbacks = [swarm.callback(name="ada", loopback=False, listen="127.0.0.1:0") for _ in range(2)]
    with pytest.raises(ConfigurationError, match="already training in session 'swarm_model' as 'ada'.* model_name"):
        make_model().fit(*xy, callbacks=callbacks, verbose=0)


def test_a_second_fit_is_a_new_run(swarm, make_model, xy) -> None:
    callback, model = swarm.callback(), make_model()
    model.fit(*xy, batch_size=4, callbacks=[callback], verbose=0)
    model.fit(*xy, batch_size=4, callbacks=[callback], verbose=0)
    first, second = swarm.sessions
    assert first.calls == second.calls == ["begin", ("epoch_end", 0), "end"]
    assert first.batches == second.batches == 10


def test_a_run_left_open_is_aborted_by_the_next(swarm, make_model) -> None:
    callback = swarm.callback(model=make_model())
    callback.on_train_begin()
    callback.on_train_begin()
    assert swarm.sessions[0].calls == ["begin", ("abort", "a new run began with the same callback")]
    callback.on_train_end()
    assert swarm.sessions[1].calls == ["begin", "end"]


def test_a_failed_start_leaves_the_swarm_at_once(swarm, make_model) -> None:
    def fail() -> None:
        raise TimeoutError("nobody came")

    callback = swarm.callback(model=make_model(), begin=fail)
    with pytest.raises(TimeoutError):
        callback.on_train_begin()
    assert swarm.session.calls == [("abort", "training could not begin")]


def test_nothing_is_asked_of_a_session_that_is_over(swarm, make_model, xy) -> None:
    callback = swarm.callback(interval=4)

    class Remove(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None) -> None:
            if batch == 5:
                swarm.session.over = True

    make_model().fit(*xy, batch_size=4, epochs=2, callbacks=[callback, Remove()], verbose=0)
    assert swarm.session.merged_at == [4]
    assert callback.swarm_over
