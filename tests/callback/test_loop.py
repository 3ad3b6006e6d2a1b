from __future__ import annotations

import sys
import threading

import pytest

from swarm.callback import Loop


def here() -> Loop:
    """The loop in the call of this very function."""
    return Loop.at(sys._getframe())


def test_a_loop_runs_until_its_call_returns() -> None:
    loop = Loop.at(sys._getframe())
    assert loop.running
    assert not here().running


def test_a_loop_whose_call_raised_has_ended_though_the_error_is_kept() -> None:
    loops = []

    def train() -> None:
        loops.append(Loop.at(sys._getframe()))
        raise ValueError

    with pytest.raises(ValueError) as kept:  # noqa: PT011 - it is raised above
        train()
    assert not loops[0].running
    assert kept.value.__traceback__ is not None


def test_a_look_that_a_yielding_generator_cuts_short_ends_nothing(monkeypatch) -> None:
    """The thread goes on during a look: a generator on its stack may yield, and has no caller from then on."""

    def batches():
        yield 1

    cut_short = batches()
    next(cut_short)
    ended = here()
    assert not ended.running
    monkeypatch.setattr(sys, "_current_frames", lambda: {threading.get_ident(): cut_short.gi_frame})
    assert cut_short.gi_frame.f_back is None
    assert ended.running
