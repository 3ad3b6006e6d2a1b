"""Errors that nothing caught are reported as long as somebody listens."""

from __future__ import annotations

import sys
import threading
from functools import partial
from types import SimpleNamespace

import pytest

from swarm.callback.uncaught import listen


@pytest.fixture
def reports(monkeypatch):
    """What was reported; hooks that were set before do nothing."""
    monkeypatch.setattr(sys, "excepthook", lambda *_: None)
    monkeypatch.setattr(threading, "excepthook", lambda _: None)
    return []


def end_a_script_and_a_thread() -> None:
    try:
        raise ValueError("a broken image")
    except ValueError as error:
        sys.excepthook(ValueError, error, error.__traceback__)
        threading.excepthook(SimpleNamespace(exc_value=error))


@pytest.mark.parametrize("later", [False, True], ids=["alone", "under later hooks"])
def test_nothing_is_reported_once_nobody_listens(reports, monkeypatch, later):
    before = sys.excepthook, threading.excepthook
    stop = listen(lambda error, where, *, lasting: reports.append((str(error), where, lasting)))
    if later:
        monkeypatch.setattr(sys, "excepthook", partial(sys.excepthook))
        monkeypatch.setattr(threading, "excepthook", partial(threading.excepthook))
    end_a_script_and_a_thread()
    assert reports == [("a broken image", "in the script", True), ("a broken image", "in its thread", True)]
    stop()
    end_a_script_and_a_thread()
    assert len(reports) == 2
    assert later or (sys.excepthook, threading.excepthook) == before
