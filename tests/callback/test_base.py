"""What every integration gets from ``BaseCallback``: here the one of its docstring, on a framework that has nothing."""

from __future__ import annotations

import gc
import logging
import sys
import threading

import pytest

import swarm
from swarm.callback import NEVER, BaseCallback, parse_arguments
from swarm.errors import ConfigurationError, SwarmError, UnknownArgumentError
from swarm.testing.nodes import eventually


class Framework:
    """A framework's own base class."""

    def __init__(self) -> None:
        self.set_up = True


class Callback(BaseCallback, Framework):
    platforms = ("MINE",)

    def prepare(self):
        if self.arguments.model == "unfit":
            raise ConfigurationError("model='unfit' cannot be trained")
        self.prepared = self.set_up
        self.fit = self.owner = None

    def on_train_begin(self):
        self.open_run(object(), fit=self.fit, owner=self.owner)
        self.join()

    def on_batch_end(self, loss=None):
        self.counted += 1
        if self.counted >= self.due:
            self.sync(loss)

    def on_epoch_end(self, epoch):
        self.end_epoch(epoch)

    def on_train_end(self):
        self.finish()


@pytest.fixture
def make(recording_session):
    made = []

    def make(**arguments):
        callback = type("Recorded", (Callback,), {"session_factory": recording_session})(
            **({"loopback": True} | arguments)
        )
        made.append(callback)
        return callback

    yield make
    for callback in made:
        callback.abort("the test is over")


def train(callback, batches: int) -> None:
    for _ in range(batches):
        callback.on_batch_end()


def test_arguments_are_checked_before_the_integration_prepares(make):
    callback = make(sync_interval=5)
    assert callback.prepared
    assert callback.arguments.settings.sync_interval == 5
    assert callback.arguments.settings.ml_platform == "MINE"
    assert callback.logger is logging.getLogger("swarm")
    assert make(logger=logging.getLogger("mine")).logger.name == "mine"
    assert isinstance(callback, swarm.SwarmCallback)
    with pytest.raises(UnknownArgumentError):
        make(sync_intervall=5)
    with pytest.raises(ConfigurationError, match="cannot be trained"):
        make(model="unfit")


def test_a_callback_is_made_from_arguments_that_are_checked_already():
    callback = Callback.from_arguments(parse_arguments({"sync_interval": 5}, platforms=Callback.platforms))
    assert callback.prepared
    assert callback.arguments.settings.sync_interval == 5
    with pytest.raises(ConfigurationError, match="cannot be trained"):
        Callback.from_arguments(parse_arguments({"model": "unfit"}, platforms=Callback.platforms))


def test_the_selection_is_that_of_the_settings(make):
    selection = make(share="*.weight", local=["head.*"]).selection
    assert [selection.takes(name) for name in ("a.weight", "a.bias", "head.weight")] == [True, False, False]


def test_every_batch_is_told_to_the_session_once(make):
    callback = make()
    callback.on_train_begin()
    train(callback, 4)
    callback.on_epoch_end(0)
    train(callback, 4)
    callback.on_train_end()
    assert callback.session.calls == [
        ("begin",),
        ("merge", 3, None),
        ("epoch", 0, 1),
        ("merge", 3, None),
        ("end", 2),
    ]


def test_batches_before_joining_do_not_count(make):
    callback = make()
    callback.open_run(object())
    assert not callback.joined
    callback.counted = 7
    callback.end_epoch(0)
    callback.join()
    assert callback.joined
    train(callback, 3)
    assert callback.session.calls == [("begin",), ("merge", 3, None)]


def test_a_merge_is_postponed_by_as_many_batches(make):
    callback = make()
    callback.on_train_begin()
    callback.counted = callback.due
    callback.postpone(2)
    train(callback, 1)
    assert callback.session.calls == [("begin",)]
    train(callback, 1)
    assert callback.session.calls == [("begin",), ("merge", 5, None)]


def test_an_interrupted_merge_is_not_counted_twice_and_tried_again_at_the_next_batch(make, monkeypatch):
    callback = make()
    callback.on_train_begin()
    session, advance = callback.session, callback.session.advance

    def interrupted(batches, **_):
        session.counted += batches
        raise KeyboardInterrupt

    monkeypatch.setattr(session, "advance", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(callback, 3)
    monkeypatch.setattr(session, "advance", advance)
    train(callback, 1)
    assert session.calls == [("begin",), ("merge", 4, None)]


def test_a_closing_round_that_fails_is_raised_and_the_peer_leaves(make, monkeypatch):
    callback = make()
    callback.on_train_begin()
    train(callback, 1)

    def fail():
        raise ValueError("no closing round")

    monkeypatch.setattr(callback.session, "end", fail)
    with pytest.raises(ValueError, match="no closing round"):
        callback.on_train_end()
    assert callback.session.calls[-1] == ("abort", "training could not end")
    assert callback.session.counted == 1
    with pytest.raises(SwarmError, match=r"on_batch_end was called after the run had ended \(training could not end\)"):
        callback.on_batch_end()


def test_the_session_is_not_called_once_it_is_over(make):
    callback = make()
    callback.on_train_begin()
    callback.session.over = True
    train(callback, 9)
    assert callback.due == NEVER
    callback.on_epoch_end(0)
    callback.on_train_end()
    assert callback.session.calls == [("begin",), ("epoch", 0, 0), ("end", 0)]


def test_a_session_that_is_over_while_it_merges_is_not_called_again(make, monkeypatch):
    callback = make()
    callback.on_train_begin()
    session, advance = callback.session, callback.session.advance

    def last(batches, **how):
        advance(batches, **how)
        session.over = True

    monkeypatch.setattr(session, "advance", last)
    train(callback, 9)
    assert session.calls == [("begin",), ("merge", 3, None)]


def test_an_abort_from_elsewhere_makes_the_next_batch_an_error(make):
    callback = make()
    callback.on_train_begin()
    train(callback, 1)
    callback.abort("from a signal")
    assert callback.session.calls == [("begin",), ("abort", "from a signal")]
    with pytest.raises(SwarmError, match=r"after the run had ended \(from a signal\); on_train_begin starts a new one"):
        callback.on_batch_end()


def test_an_abort_while_it_merges_makes_the_next_batch_an_error(make, monkeypatch):
    callback = make()
    callback.on_train_begin()
    monkeypatch.setattr(callback.session, "advance", lambda *_, **__: callback.abort("from a signal"))
    train(callback, 3)
    with pytest.raises(SwarmError, match="after the run had ended"):
        callback.on_batch_end()


@pytest.mark.parametrize("hook", ["on_batch_end", "on_train_end"])
def test_a_hook_without_a_run_is_an_error(make, hook):
    with pytest.raises(SwarmError, match=f"{hook} was called before on_train_begin"):
        getattr(make(), hook)()


def test_a_second_run_counts_anew(make, recording_session, caplog):
    callback = make()
    callback.on_train_begin()
    train(callback, 2)
    callback.sync("no number")
    callback.sync("no number")
    callback.on_train_end()
    callback.on_train_begin()
    train(callback, 2)
    callback.sync("no number")
    assert callback.session.calls == [("begin",)]
    assert callback.session.counted == 2
    assert [record.getMessage().partition(",")[0] for record in caplog.records] == ["loss is ignored"] * 2
    assert len(recording_session.opened) == 2


def test_the_metrics_are_those_of_the_session(make):
    callback = make()
    assert (callback.metrics, callback.session, callback.swarm_over) == ({}, None, False)
    callback.on_train_begin()
    train(callback, 3)
    assert callback.metrics == {"swarm_rounds": 1.0}
    callback.on_train_end()
    assert callback.swarm_over


def test_a_run_that_is_refused_leaves_nothing_behind(make, recording_session, tmp_path):
    first, second = (make(loopback=False, rendezvous=tmp_path, name="ada") for _ in range(2))
    first.on_train_begin()
    with pytest.raises(ConfigurationError, match="is already training in session 'swarm_model' as 'ada'"):
        second.on_train_begin()
    assert second.session is None
    assert recording_session.opened[1].calls == [("abort", "another run of this peer is open")]
    train(first, 3)
    first.on_train_end()
    assert first.session.calls == [("begin",), ("merge", 3, None), ("end", 0)]


def test_a_run_leaves_with_its_owner(make, caplog):
    class Owner:
        pass

    callback = make()
    callback.owner = owner = Owner()
    callback.on_train_begin()
    callback.owner = None
    del owner
    gc.collect()
    assert callback.session.calls == [("begin",), ("abort", "training ended without on_train_end")]
    (warning,) = [record.getMessage() for record in caplog.records]
    assert warning == (
        "session swarm_model: training ended without on_train_end, so "
        f"{callback.arguments.settings.name} leaves without the closing model. "
        "Call on_train_end() after the last batch"
    )


def test_a_run_leaves_with_the_loop_of_its_framework(make):
    callback, kept = make(), []

    def fit():
        callback.fit = swarm.callback.Loop.at(sys._getframe())
        callback.on_train_begin()
        train(callback, 1)
        raise ValueError("a broken image")

    try:
        fit()
    except ValueError as error:
        kept.append(error)
    eventually(lambda: callback.session.calls[-1][0] == "abort", "the run leaves")
    assert callback.session.calls == [("begin",), ("abort", "fit() stopped before its end")]
    with pytest.raises(SwarmError, match=r"\(fit\(\) stopped before its end\)"):
        callback.on_batch_end()


def test_nobody_watches_once_no_loop_is_watched(make):
    callback = make()

    def fit():
        callback.fit = swarm.callback.Loop.at(sys._getframe())
        callback.on_train_begin()
        assert "swarm-loops" in [thread.name for thread in threading.enumerate()]
        callback.on_train_end()

    fit()
    eventually(lambda: "swarm-loops" not in [thread.name for thread in threading.enumerate()], "the watcher ends")


def test_a_with_block_leaves_at_its_end(make, caplog):
    callback = make()

    def broken():
        callback.on_train_begin()
        raise ValueError("a broken image")

    with pytest.raises(ValueError, match="a broken image"), callback:
        broken()
    assert callback.session.calls[-1] == ("abort", "training stopped: ValueError")
    with make() as callback:
        callback.on_train_begin()
    assert callback.session.calls[-1] == ("abort", "training ended without on_train_end")
    assert len(caplog.records) == 1
    with make() as callback:
        pass
    assert callback.session is None


def test_a_run_that_has_ended_holds_up_nobody(make, monkeypatch, caplog, tmp_path):
    monkeypatch.setattr("swarm.callback.run.QUIETLY", 0)
    monkeypatch.setattr("swarm.callback.run.AT_MOST", 0)
    caplog.set_level(logging.INFO, "swarm")
    first, second = (make(loopback=False, rendezvous=tmp_path, name="ada") for _ in range(2))
    for _ in range(2):
        first.on_train_begin()
        first.on_train_end()
        first.abort("too late")
        assert first.session.calls == [("begin",), ("end", 0)]
    second.on_train_begin()
    assert caplog.text == ""


def test_a_loop_that_began_in_a_function_is_not_ended_by_its_return(make, tmp_path):
    first, second = (make(loopback=False, rendezvous=tmp_path, name="ada") for _ in range(2))

    def begin(callback):
        callback.on_train_begin()
        return callback.on_train_end

    end = begin(first)
    train(first, 3)
    with pytest.raises(ConfigurationError, match="already training"):
        begin(second)
    end()


def test_training_goes_on_only_where_the_session_says_so(make):
    callback = make(train_until="all")
    assert not callback.all_done
    with pytest.raises(SwarmError, match="extend was called before on_train_begin"):
        callback.extend()
    callback.open_run(object())
    assert not callback.extend()  # it has not joined
    callback.join()
    callback.session.extensions = 1
    train(callback, 2)
    assert [callback.extend(), callback.extend()] == [True, False]
    assert callback.session.calls == [("begin",), ("extend", 2), ("extend", 2)]
    assert callback.due == 1  # of the three batches of an interval
    callback.session.all_done = True
    assert callback.all_done
