"""How the sessions of a test run together: ``swarm.testing.swarm.together``."""

from __future__ import annotations

import threading

import pytest

from swarm.testing.swarm import together


def test_the_first_error_is_raised_when_the_others_have_ended():
    failed, ended = threading.Event(), []

    def fails():
        failed.set()
        raise ValueError("first")

    def ends_later():
        failed.wait()
        threading.Event().wait(0.3)  # in which the error could have been raised
        ended.append(threading.current_thread().name)
        raise KeyError("second")

    with pytest.raises(ValueError, match="first"):
        together(fails, ends_later)
    assert ended == ["peer-1"]


def test_an_error_is_raised_though_another_hangs(monkeypatch):
    monkeypatch.setattr("swarm.testing.swarm.AFTER_AN_ERROR", 0.05)
    end = threading.Event()
    with pytest.raises(ZeroDivisionError):
        together(end.wait, lambda: 1 // 0)
    end.set()


def test_what_hangs_is_named():
    end = threading.Event()
    with pytest.raises(TimeoutError, match=r"programs \[1\] have not ended"):
        together(lambda: None, end.wait, deadline=0.05)
    end.set()
