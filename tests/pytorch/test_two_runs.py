"""A new run of a peer replaces one whose loop has ended; two live runs of one peer are rejected."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
from contextlib import contextmanager, suppress

import pytest
import torch
from torch import nn

from swarm.callback.run import Run
from swarm.errors import ConfigurationError, SwarmError
from swarm.pytorch import TorchCallback
from swarm.testing.nodes import eventually
from swarm.testing.swarm import together


def test_a_run_whose_loop_has_failed_makes_room_for_a_new_one(make_peer, recording_session, caplog, kept_error_of):
    first, second = make_peer(), make_peer()
    error = kept_error_of(first)
    second.on_train_begin()
    reason = (
        "a new run of session 'swarm_model' took its place; "
        "models that train at the same time each need a model_name of their own"
    )
    assert [session.calls[-1] for session in recording_session.opened] == [("abort", reason), ("begin",)]
    assert [record.getMessage() for record in caplog.records] == [f"session swarm_model: ada leaves: {reason}"]
    with pytest.raises(SwarmError, match="after the run had ended .*model_name of their own"):
        first.on_batch_end()
    second.on_train_end()
    assert error.__traceback__ is not None


def test_attempts_at_one_place_follow_each_other(make_peer, recording_session, broken_loop):
    callbacks = [make_peer() for _ in range(3)]
    for callback in callbacks:
        with suppress(ValueError):
            broken_loop(callback)
    assert [session.calls[-1][0] for session in recording_session.opened] == ["abort", "abort", "begin"]


def test_two_models_that_begin_at_one_place_are_refused(make_peer):
    def begin(callbacks):
        for callback in callbacks:
            callback.on_train_begin()

    with pytest.raises(ConfigurationError, match="'swarm_model' as 'ada'"):
        begin([make_peer(), make_peer()])


class Trainer:
    """A training loop with a method for each hook."""

    def __init__(self, callback):
        self.callback = callback

    def begin(self):
        self.callback.on_train_begin()

    def step(self):
        self.callback.on_batch_end()

    def end(self):
        self.callback.on_train_end()


@pytest.mark.parametrize("batches", [0, 2, 4], ids=["before the first batch", "after some", "after a merge"])
def test_two_live_runs_are_refused_where_methods_call_the_hooks(make_peer, batches):
    generator, discriminator = Trainer(make_peer()), Trainer(make_peer())
    generator.begin()
    for _ in range(batches):
        generator.step()
    with pytest.raises(ConfigurationError, match="in session 'swarm_model' as 'ada': give each model .* model_name"):
        discriminator.begin()
    generator.step()
    generator.end()
    assert generator.callback.session.calls[-1][0] == "end"
    discriminator.begin()


def test_two_live_runs_are_refused_where_a_function_begins_them(make_peer):
    def begun(callback):
        callback.on_train_begin()
        return callback

    generator = begun(make_peer())
    with pytest.raises(ConfigurationError, match="model_name"):
        begun(make_peer())
    generator.on_batch_end()
    generator.on_train_end()


def test_two_live_runs_are_refused_in_context_managers(make_peer):
    @contextmanager
    def training(callback):
        callback.on_train_begin()
        yield callback
        callback.on_train_end()

    with training(make_peer()) as generator:
        generator.on_batch_end()
        with pytest.raises(ConfigurationError, match="model_name"), training(make_peer()):
            pass
        generator.on_batch_end()
    assert generator.session.calls == [("begin",), ("end", 2)]


def test_a_run_that_goes_on_where_the_call_that_began_it_has_ended_is_live(make_peer):
    def begun(callback):
        callback.on_train_begin()
        return callback, callback.on_train_end

    generator, end = begun(make_peer())
    for _ in range(4):
        generator.on_batch_end()
    with pytest.raises(ConfigurationError, match="model_name"):
        begun(make_peer())
    end()


def test_a_failed_loop_makes_room_where_a_function_begins_the_run(make_peer, recording_session):
    def begin(callback):
        callback.on_train_begin()

    def train(callback):
        begin(callback)
        callback.on_batch_end()
        raise ValueError("a broken image")

    for _ in range(2):
        with pytest.raises(ValueError, match="a broken image") as kept:
            train(make_peer())
        assert kept.value.__traceback__ is not None
    assert [session.calls[-1][0] for session in recording_session.opened] == ["abort", "begin"]


def test_two_live_runs_of_one_peer_are_refused(make_peer, recording_session):
    generator, discriminator = make_peer(), make_peer()
    generator.on_train_begin()
    with pytest.raises(ConfigurationError, match="in session 'swarm_model' as 'ada': give each model .* model_name"):
        discriminator.on_train_begin()
    generator.on_train_end()
    discriminator.on_train_begin()
    assert [session.calls for session in recording_session.opened if session.calls[0] == ("begin",)] == [
        [("begin",), ("end", 0)],
        [("begin",)],
    ]


def test_two_live_runs_of_one_peer_are_refused_in_different_threads(make_peer):
    begun, refused = threading.Event(), threading.Event()

    def first():
        callback = make_peer()
        callback.on_train_begin()
        begun.set()
        refused.wait()
        callback.on_train_end()
        return callback.session.calls

    def second():
        begun.wait()
        try:
            with pytest.raises(ConfigurationError, match="model_name"):
                make_peer().on_train_begin()
        finally:
            refused.set()

    calls, _ = together(first, second)
    assert calls == [("begin",), ("end", 0)]


@pytest.mark.parametrize("difference", [{"model_name": "discriminator"}, {"name": "bob"}, {"loopback": True}], ids=str)
def test_runs_of_different_peers_are_alive_together(make_peer, difference):
    callbacks = make_peer(), make_peer(**difference)
    for callback in callbacks:
        callback.on_train_begin()
    for callback in callbacks:
        callback.on_train_end()
        assert callback.session.calls == [("begin",), ("end", 0)]


@pytest.mark.parametrize("way", ["aborted", "collected"])
def test_a_new_run_begins_when_the_last_one_has_left(make_peer, recording_session, monkeypatch, caplog, way):
    """Leaving takes time: the other peers are informed, and the disk may be slow."""
    monkeypatch.setattr("swarm.callback.run.QUIETLY", 0)
    caplog.set_level(logging.INFO, "swarm")
    order, leaving, left = [], threading.Event(), threading.Event()

    def abort(_, reason, *, unintended=False):
        leaving.set()
        assert left.wait(30)
        order.append("left")

    monkeypatch.setattr(recording_session, "abort", abort)
    monkeypatch.setattr(recording_session, "begin", lambda _: order.append("begun"))
    callback = make_peer()
    callback.on_train_begin()

    def leave():
        nonlocal callback
        if way == "aborted":
            callback.abort()
        callback = None

    def begin_again():
        assert leaving.wait(30)
        second = make_peer()
        second.on_train_begin()
        second.on_train_end()

    def look():
        waiting = "session swarm_model: the last run of ada is still leaving; waiting for it for up to 15 s"
        try:
            eventually(lambda: waiting in caplog.text, "the second run waits")
        finally:
            left.set()

    together(leave, begin_again, look)
    assert order == ["begun", "left", "begun"]


def test_a_process_that_ends_lets_a_run_leave(tmp_path):
    script = """
import threading, sys, torch
from swarm.pytorch import TorchCallback
from swarm.session import Session
callback = TorchCallback(model=torch.nn.Linear(1, 1), rendezvous=sys.argv[1], world_size=1, name="ada")
callback.on_train_begin()
leaving, ending, abort = threading.Event(), threading.Event(), callback.session.abort
def slow(reason, **how):
    leaving.set()
    ending.wait()
    abort(reason, **how)
    print("left")
callback.session.abort = slow
threading.Thread(target=callback.abort, daemon=True).start()
leaving.wait()
import atexit
atexit.register(ending.set)
"""
    command = [sys.executable, "-c", script, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0
    assert done.stdout == "left\n"


def test_a_run_may_begin_while_an_error_is_handled(make_peer, monkeypatch, kept_error_of):
    """In another thread; here while the live runs are gone through."""
    first, second = make_peer(), make_peer(model_name="other")
    error = kept_error_of(first)
    live = Run.live.fget

    def look(run):
        monkeypatch.setattr(Run, "live", property(live))
        second.on_train_begin()
        return live(run)

    monkeypatch.setattr(Run, "live", property(look))
    sys.excepthook(ValueError, error, error.__traceback__)
    assert first.session.calls[-1] == ("abort", "training stopped in the script: ValueError")
    assert second.session.calls == [("begin",)]
    second.abort()


def test_a_peer_of_real_sessions_is_free_for_the_next_run(lone_peer, kept_error_of):
    first, second = (TorchCallback(model=nn.Linear(2, 1), **lone_peer.arguments) for _ in range(2))
    error = kept_error_of(first)
    lone_peer.look(first.session)
    second.on_train_begin()
    assert first.swarm_over
    assert not second.swarm_over
    second.on_train_end()
    lone_peer.require_gone()
    assert error.__traceback__ is not None
    assert torch.isfinite(second.model.weight).all()
