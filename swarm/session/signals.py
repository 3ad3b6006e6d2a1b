"""Leaves the swarm politely when the process is told to end."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from types import FrameType


def leave_on_sigterm(leave: Callable[[str], None]) -> Callable[[], None]:
    """Call ``leave`` with the reason on SIGTERM, and then end as if nobody had caught it.

    Nothing is done where the program has a handler of its own, or outside the main thread, which alone may set one.
    Children that were forked meanwhile inherit the handler; in them it only ends the process.

    Returns:
        A function that takes the handler away again.
    """
    if threading.current_thread() is not threading.main_thread():
        return lambda: None
    if signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        return lambda: None
    owner = os.getpid()

    def on_sigterm(number: int, _: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)
        if os.getpid() == owner:
            leave("it was terminated")
        os.kill(os.getpid(), number)

    def undo() -> None:
        if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) is on_sigterm:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)

    signal.signal(signal.SIGTERM, on_sigterm)
    return undo
