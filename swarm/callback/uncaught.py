"""Errors that no code catches: in a notebook cell, at a Python prompt, in a script, in a thread."""

from __future__ import annotations

import builtins
import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack, suppress
from types import TracebackType
from typing import Any, Protocol

from swarm.callback.loop import HOOKS

_HOOKS = HOOKS | {"on_train_begin"}


class Report(Protocol):
    """Called with an error, on the thread that it ended."""

    def __call__(self, error: BaseException, where: str, *, lasting: bool) -> None:
        """``where`` is for the log. ``lasting``: the thread ends, so nothing on it trains any more."""
        ...


def in_training(error: BaseException) -> bool:
    """Whether ``error`` passed through code that calls the hooks of a callback.

    Only then has it ended a training loop: a mistake in another cell or line has not. An error without a traceback
    counts as one that has.
    """
    traceback = error.__traceback__
    if traceback is None:
        return True
    while traceback is not None:
        if not _HOOKS.isdisjoint(traceback.tb_frame.f_code.co_names):
            return True
        traceback = traceback.tb_next
    return False


def listen(report: Report) -> Callable[[], None]:
    """Have uncaught errors reported. Hooks that were set before are called as well.

    Returns:
        A function that ends this.
    """
    stops = ExitStack()
    for source in (_of_scripts, _of_threads, _of_cells):
        stops.callback(source(report))
    return stops.close


def _of_scripts(report: Report) -> Callable[[], None]:
    """Errors that end a script, or a line at a Python prompt."""
    before, active = sys.excepthook, True

    def excepthook(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
        try:
            if active and traceback is not None:  # a line that does not compile has none
                prompt = hasattr(sys, "ps1") or sys.flags.interactive
                report(error, "at the prompt" if prompt else "in the script", lasting=not prompt)
        finally:
            before(kind, error, traceback)

    def undo() -> None:
        nonlocal active
        active = False  # where somebody else's hook calls this one, it stays in place
        if sys.excepthook is excepthook:
            sys.excepthook = before

    sys.excepthook = excepthook
    return undo


def _of_threads(report: Report) -> Callable[[], None]:
    """Errors that end a thread."""
    before, active = threading.excepthook, True

    def excepthook(arguments: threading.ExceptHookArgs) -> None:
        try:
            if active and arguments.exc_value is not None:
                report(arguments.exc_value, "in its thread", lasting=True)
        finally:
            before(arguments)

    def undo() -> None:
        nonlocal active
        active = False
        if threading.excepthook is excepthook:
            threading.excepthook = before

    threading.excepthook = excepthook
    return undo


def _of_cells(report: Report) -> Callable[[], None]:
    """Errors that end a cell of IPython or Jupyter, which show them without ``sys.excepthook``."""
    shell = running_shell()
    events = getattr(shell, "events", None)
    if events is None:
        return lambda: None
    last = _last_shown()

    def cell_ended(result: Any) -> None:
        nonlocal last
        before, last = last, _last_shown()
        error = getattr(result, "error_in_exec", None)
        if error is None and last is not before:
            error = last  # %%time and %run show an error themselves, and the cell ends without one
        if error is not None:
            report(error, "in a cell", lasting=False)

    def undo() -> None:
        with suppress(ValueError):  # it was taken away
            events.unregister("post_run_cell", cell_ended)

    events.register("post_run_cell", cell_ended)
    return undo


def _last_shown() -> BaseException | None:
    """The error that IPython showed last."""
    return getattr(sys, "last_value", None)


def running_shell() -> Any:
    """The running IPython, without importing it; None where there is none."""
    find = getattr(builtins, "get_ipython", None) or getattr(sys.modules.get("IPython"), "get_ipython", None)
    return None if find is None else find()
