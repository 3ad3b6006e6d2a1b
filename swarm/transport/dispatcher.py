"""One thread that makes a transport's reports, in order and outside every lock."""

from __future__ import annotations

import logging
import queue
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_log = logging.getLogger("swarm.transport")


class Dispatcher:
    """Runs what is submitted, one after the other, on a daemon thread; what raises is logged and passed over."""

    def __init__(self, name: str) -> None:
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def submit(self, job: Callable[[], None]) -> None:
        """Run ``job`` soon; after :meth:`stop`, never."""
        self._jobs.put(job)

    def stop(self, timeout: float = 1.0) -> None:
        """Start no further job, and wait for the running one unless it is the caller."""
        self._stopped = True
        self._jobs.put(None)
        if threading.current_thread() is not self._thread:
            self._thread.join(timeout)

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None and not self._stopped:
            try:
                job()
            except Exception:  # noqa: BLE001 - the next report must still be made
                _log.exception("a report of the transport was not taken")
            del job  # it may know whole models
