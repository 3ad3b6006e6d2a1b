"""A peer whose loop has failed leaves at once, also if the error and its traceback are kept."""

from __future__ import annotations

import builtins
import code
import logging
import os
import subprocess
import sys
import threading
from contextlib import suppress
from types import SimpleNamespace

import pytest
from torch import nn

from swarm.errors import SwarmError
from swarm.pytorch import TorchCallback
from swarm.session import Session
from swarm.session.wiring import Network
from swarm.testing.nodes import eventually
from swarm.testing.swarm import Board, together
from swarm.transport.memory import MemoryNetwork, MemoryTransport

WITHOUT_END = ("abort", "training ended without on_train_end")


# The context manager ------------------------------------------------------------------------------------------------


def test_a_with_block_that_raises_leaves_at_once_though_the_error_is_kept(make_peer, broken_loop):
    callback = make_peer()
    with pytest.raises(ValueError, match="a broken image") as kept, callback as swarm:
        broken_loop(swarm)
    assert callback.session.calls == [("begin",), ("abort", "training stopped: ValueError")]
    assert kept.value.__traceback__ is not None


def test_a_with_block_joins_nothing_by_itself(make_peer, recording_session):
    with make_peer() as swarm, pytest.raises(SwarmError, match="on_batch_end was called before on_train_begin"):
        swarm.on_batch_end()
    assert recording_session.opened == []


def test_a_with_block_around_a_whole_training_adds_nothing(make_peer, caplog):
    with make_peer() as swarm:
        swarm.on_train_begin()
        swarm.on_train_end()
    assert swarm.session.calls == [("begin",), ("end", 0)]
    assert caplog.records == []
    with pytest.raises(SwarmError, match="after the run had ended; on_train_begin"):
        swarm.on_batch_end()


def test_a_with_block_without_on_train_end_warns_and_leaves(make_peer, caplog):
    with make_peer() as swarm:
        swarm.on_train_begin()
    assert swarm.session.calls == [("begin",), WITHOUT_END]
    (warning,) = caplog.records
    assert warning.levelname == "WARNING"
    assert warning.getMessage() == (
        "session swarm_model: training ended without on_train_end, so ada leaves without the closing model; "
        "the other peers continue without it. Call on_train_end() after the last batch"
    )
    with pytest.raises(SwarmError, match="on_batch_end was called after the run had ended"):
        swarm.on_batch_end()


def test_the_others_hear_of_it_at_once(caplog):
    network, addresses, met, told = MemoryNetwork(), {}, threading.Barrier(2), threading.Event()

    def session(settings, port, **options):
        board = Board(addresses, settings.model_name)
        wiring = Network(MemoryTransport(network), [board])
        return Session(settings, port, **options, network=lambda *_: wiring)

    in_memory = type("InMemory", (TorchCallback,), {"session_factory": staticmethod(session)})
    caplog.set_level(logging.INFO, "swarm")
    common = {"listen": "127.0.0.1:0", "sync_interval": 1, "world_size": 2, "min_peers": 1}
    kept = []

    def ada():
        with suppress(ValueError), in_memory(model=nn.Linear(2, 1), name="ada", **common) as swarm:
            try:
                swarm.on_train_begin()
                met.wait()
                raise ValueError("a broken image")
            except ValueError as error:
                kept.append(error)
                raise
        told.wait()

    def bob():
        swarm = in_memory(model=nn.Linear(2, 1), name="bob", **common)
        swarm.on_train_begin()
        met.wait()
        eventually(lambda: "ada left (training stopped: ValueError)" in caplog.text, "ada has left")
        told.set()
        swarm.abort()

    together(ada, bob)
    assert kept


# Forgetting on_train_end --------------------------------------------------------------------------------------------


def test_a_dropped_callback_warns(make_peer, recording_session, caplog):
    callback = make_peer(model_name="retina")
    callback.on_train_begin()
    del callback
    assert recording_session.opened[0].calls[-1] == WITHOUT_END
    (warning,) = caplog.records
    assert "session retina: training ended without on_train_end, so ada leaves" in warning.getMessage()


def test_a_callback_that_another_thread_collects_leaves_in_a_thread_of_its_own(
    make_peer, recording_session, monkeypatch
):
    """It may be a thread of the session, which cannot wait for itself."""
    callback = make_peer()
    callback.on_train_begin()
    threads = []
    monkeypatch.setattr(recording_session, "abort", lambda *_, **__: threads.append(threading.current_thread()))

    def collect():
        nonlocal callback
        callback = None

    collector = threading.Thread(target=collect)
    collector.start()
    eventually(lambda: threads, "the session was aborted")
    assert collector not in threads


def test_nobody_is_warned_of_a_session_that_was_over(make_peer, caplog):
    callback = make_peer()
    callback.on_train_begin()
    callback.session.over = True
    del callback
    assert caplog.records == []


def test_a_process_that_ends_without_on_train_end_says_so(tmp_path):
    script = """
import sys, torch
from swarm import SwarmCallback
callback = SwarmCallback(model=torch.nn.Linear(1, 1), rendezvous=sys.argv[1], world_size=1, name="ada")
callback.on_train_begin()
callback.on_batch_end()
"""
    command = [sys.executable, "-c", script, str(tmp_path)]
    done = subprocess.run(
        command, env={**os.environ, "SWARM_LOG": "info"}, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0
    assert "WARNING swarm: session swarm_model: training ended without on_train_end, so ada leaves" in done.stderr
    assert [*tmp_path.iterdir()] == []


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_that_ends_leaves_the_swarm_to_its_parent(make_peer):
    callback = make_peer()
    callback.on_train_begin()
    child = os.fork()
    if child == 0:
        session = callback.session
        del callback
        os._exit(len(session.calls))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1
    assert callback.session.calls == [("begin",)]


# Notebook cells, prompts, scripts and threads -----------------------------------------------------------------------


class Shell:
    """The part of IPython that Swarm uses: cells that keep their error, and callbacks after each cell."""

    def __init__(self):
        self.events = self
        self.called = []
        self.names = {}

    def register(self, event, function):
        assert event == "post_run_cell"
        self.called.append(function)

    def unregister(self, event, function):
        self.called.remove(function)

    def run_cell(self, source, *, magic=False):
        """``magic``: as under ``%%time`` or ``%run``, which show an error themselves and return."""
        result = SimpleNamespace(error_before_exec=None, error_in_exec=None)
        try:
            exec(compile(source, "<cell>", "exec"), self.names)
        except SyntaxError as error:
            result.error_before_exec = error
        except BaseException as error:  # noqa: BLE001 - as IPython does
            sys.last_value = self.last_error = error
            result.error_in_exec = None if magic else error
        for function in [*self.called]:
            function(result)


@pytest.fixture(params=["builtins", "module"])
def shell(request, monkeypatch):
    shell = Shell()
    monkeypatch.setattr(sys, "last_value", None, raising=False)
    if request.param == "builtins":
        monkeypatch.setattr(builtins, "get_ipython", lambda: shell, raising=False)
    else:
        monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    return shell


LOOP = "for batch in range(5):\n    if batch == 2: raise {error}\n    swarm.on_batch_end()"


@pytest.mark.parametrize("magic", [False, True], ids=["cell", "magic"])
@pytest.mark.parametrize("error", ["ValueError", "KeyboardInterrupt"])
def test_a_cell_that_raises_leaves_at_once(make_peer, shell, caplog, error, magic):
    shell.names["make"] = make_peer
    shell.run_cell("1/0", magic=magic)
    shell.run_cell("swarm = make()\nswarm.on_train_begin()\n" + LOOP.format(error=error), magic=magic)
    swarm = shell.names["swarm"]
    reason = f"training stopped in a cell: {error}"
    assert swarm.session.calls == [("begin",), ("abort", reason)]
    (warning,) = caplog.records
    assert warning.getMessage() == f"session swarm_model: ada leaves: {reason}"
    assert shell.last_error.__traceback__ is not None
    with pytest.raises(SwarmError, match=rf"after the run had ended \({reason}\); on_train_begin starts a new one"):
        swarm.on_batch_end()
    assert shell.called == []


def test_a_cell_that_raises_again_may_be_run_again(make_peer, shell, recording_session, caplog):
    shell.names["make"] = make_peer
    for _ in range(2):
        shell.run_cell("swarm = make()\nkept = globals().setdefault('kept', []) + [swarm]\nswarm.on_train_begin()\n1/0")
    shell.run_cell("swarm = make()\nswarm.on_train_begin()\nswarm.on_train_end()")
    assert [session.calls[-1][0] for session in recording_session.opened] == ["abort", "abort", "end"]


def test_training_goes_on_in_the_next_cell_after_one_that_is_fine(make_peer, shell):
    shell.names["swarm"] = make_peer()
    shell.run_cell("swarm.on_train_begin()\nfor _ in range(2): swarm.on_batch_end()")
    shell.run_cell("a mistake")
    shell.run_cell("print(undefined)", magic=True)
    shell.run_cell("for _ in range(2): swarm.on_batch_end()\nswarm.on_train_end()")
    assert shell.names["swarm"].session.calls == [("begin",), ("merge", 3, None), ("end", 1)]


def test_an_error_of_an_earlier_cell_ends_nothing(make_peer, shell):
    shell.names["swarm"] = make_peer()
    cell = "swarm.on_train_begin()\n" + LOOP
    shell.run_cell(cell.format(error="ValueError"), magic=True)
    shell.run_cell(cell.format(error="ValueError").replace("batch == 2", "batch == 9"))
    shell.run_cell("swarm.on_train_end()")
    assert shell.names["swarm"].session.calls == [("begin",), ("merge", 3, None), ("end", 2)]


def test_a_cell_that_fails_in_the_first_batch_leaves(make_peer, shell):
    shell.names["swarm"] = make_peer()
    shell.run_cell("swarm.on_train_begin()")
    shell.run_cell(LOOP.format(error="ValueError").replace("batch == 2", "batch == 0"))
    assert shell.names["swarm"].session.calls[-1] == ("abort", "training stopped in a cell: ValueError")


def test_a_cell_does_not_end_what_another_thread_trains(make_peer, shell):
    begun, checked = threading.Event(), threading.Event()

    def train():
        callback = make_peer()
        callback.on_train_begin()
        begun.set()
        checked.wait()
        callback.on_train_end()
        return callback.session.calls

    def cells():
        begun.wait()
        shell.run_cell("def on_train_end(): raise ValueError\non_train_end()")
        checked.set()

    calls, _ = together(train, cells)
    assert calls == [("begin",), ("end", 0)]


def test_an_error_at_the_python_prompt_leaves_at_once(make_peer, monkeypatch, capsys):
    monkeypatch.setattr(sys, "ps1", ">>> ", raising=False)
    before = sys.excepthook
    shown = []
    monkeypatch.setattr(sys, "excepthook", lambda *error: shown.append(error))
    mine = sys.excepthook
    callback = make_peer()
    console = code.InteractiveConsole({"swarm": callback})
    for line in ("swarm.on_train_begin()", "swarm.on_batch_end()", "swarm.on_bach_end()", "a mistake"):
        console.push(line)
    assert callback.session.calls == [("begin",)]
    for line in (*LOOP.format(error="ValueError").split("\n"), ""):
        console.push(line)
    assert callback.session.calls[-1] == ("abort", "training stopped at the prompt: ValueError")
    assert [kind for kind, _, _ in shown[-1:]] == [ValueError]
    assert sys.excepthook is mine
    assert before is not mine


def test_an_error_that_ends_the_script_is_the_reason(tmp_path):
    script = """
import sys, torch
from swarm import SwarmCallback
callback = SwarmCallback(model=torch.nn.Linear(1, 1), rendezvous=sys.argv[1], world_size=1, name="ada")
callback.on_train_begin()
(lambda: 1 / 0)()
"""
    command = [sys.executable, "-c", script, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "ada leaves: training stopped in the script: ZeroDivisionError" in done.stderr
    assert "without on_train_end" not in done.stderr


def test_an_error_that_ends_a_thread_leaves_at_once(make_peer, monkeypatch, broken_loop):
    kept = []
    monkeypatch.setattr(threading, "excepthook", lambda arguments: kept.append(arguments.exc_value))
    mine, callback, other = threading.excepthook, make_peer(), make_peer(model_name="other")
    other.on_train_begin()
    thread = threading.Thread(target=broken_loop, args=(callback,))
    thread.start()
    thread.join()
    assert callback.session.calls[-1] == ("abort", "training stopped in its thread: ValueError")
    assert other.session.calls == [("begin",)]
    assert len(kept) == 1
    other.on_train_end()
    assert threading.excepthook is mine


def test_hooks_that_were_set_later_stay(make_peer, monkeypatch, kept_error_of):
    called = []
    monkeypatch.setattr(sys, "excepthook", lambda *_: called.append("earlier"))
    callback = make_peer()
    callback.on_train_begin()
    ours = sys.excepthook

    def later(*error):
        called.append("later")
        ours(*error)

    sys.excepthook = later
    for _ in range(2):
        callback.on_train_end()
        assert sys.excepthook is later
        callback.on_train_begin()
        sys.excepthook = later
    error = kept_error_of(callback)
    sys.excepthook(ValueError, error, error.__traceback__)
    assert called == ["later", "earlier"]
