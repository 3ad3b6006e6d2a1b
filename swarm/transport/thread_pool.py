"""Threads that are used again: starting one anew for every stream costs more than a small stream itself."""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

IDLE = 5.0
"""Seconds after which a thread without a job ends."""


class ThreadPool:
    """Runs each job at once on a daemon thread of its own, so that a job that blocks holds nobody up.

    As many threads live as jobs ran together of late. A job reports its own errors.
    """

    def __init__(self, name: str, idle: float = IDLE) -> None:
        self._name = name
        self._patience = idle
        self._changed = threading.Condition()
        self._jobs: deque[Callable[[], None]] = deque()
        self._free = 0
        """Threads that wait for a job or are about to, less the jobs that wait for a thread."""

    def run(self, job: Callable[[], None]) -> None:
        """Run ``job`` beside all others; returns at once.

        Raises:
            RuntimeError: the system has no more threads; ``job`` does not run.
        """
        with self._changed:
            if self._free:
                self._free -= 1
            else:
                threading.Thread(target=self._work, name=self._name, daemon=True).start()
            self._jobs.append(job)
            self._changed.notify()

    def _work(self) -> None:
        while self._work_once():
            with self._changed:
                self._free += 1

    def _work_once(self) -> bool:
        """One job, of which nothing is kept; False where none came."""
        with self._changed:
            while not self._jobs:
                if not self._changed.wait(self._patience) and self._free and not self._jobs:
                    self._free -= 1
                    return False
            job = self._jobs.popleft()
        job()
        return True
