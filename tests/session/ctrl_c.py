"""Ctrl-C at a chosen wait of a training thread."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from swarm.executor import Condition, ThreadExecutor
from swarm.session.platform import Platform
from swarm.testing.nodes import eventually


class CtrlC(ThreadExecutor):
    """Threads and waits of one peer; one wait can be interrupted."""

    def __init__(self) -> None:
        super().__init__()
        self._thread: threading.Thread | None = None
        self._when: Callable[[], object] = bool

    @property
    def platform(self) -> Platform:
        """For the peer's session."""
        return Platform(executor=self)

    def press(self, when: Callable[[], object] = lambda: True) -> None:
        """Raise ``KeyboardInterrupt`` in the next wait of the calling thread, as soon as ``when`` holds."""
        self._thread, self._when = threading.current_thread(), when

    def condition(self) -> Condition:
        return _Interruptible(self._interrupt)

    def _interrupt(self) -> None:
        if threading.current_thread() is self._thread:
            self._thread = None
            eventually(self._when, "the moment of the interrupt")
            raise KeyboardInterrupt


class _Interruptible(threading.Condition):
    def __init__(self, interrupt: Callable[[], None]) -> None:
        super().__init__()
        self._interrupt = interrupt

    def wait_for(self, predicate: Callable[[], Any], timeout: float | None = None) -> Any:
        self._interrupt()
        return super().wait_for(predicate, timeout)
