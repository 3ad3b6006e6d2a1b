"""Does work on a thread of its own: hooks only put it into a queue."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable

Work = Callable[[], None]

MOST_WAITING = 10_000
"""Events that wait for the store; more are dropped."""

_log = logging.getLogger("swarm.mlflow")


class Desk:
    """The work of all sessions of this process, in order."""

    def __init__(self) -> None:
        """The thread starts at once. It is a daemon, so that a store that does not answer holds up no end."""
        self._queue: queue.Queue[Work | threading.Event] = queue.Queue(MOST_WAITING)
        self._failed = False
        threading.Thread(target=self._run, name="swarm-mlflow", daemon=True).start()

    def put(self, work: Work) -> None:
        """Do it soon; never waits, never raises."""
        try:
            self._queue.put_nowait(work)
        except queue.Full:
            _log.warning("an event was dropped: more than %d wait for MLflow", MOST_WAITING)

    def drain(self, patience: float) -> bool:
        """Wait until all that was put is done, for at most ``patience`` seconds; whether it is."""
        done = threading.Event()
        try:
            self._queue.put(done, timeout=patience)
        except queue.Full:
            return False
        return done.wait(patience)

    def _run(self) -> None:
        while True:
            work = self._queue.get()
            if isinstance(work, threading.Event):
                work.set()
                continue
            try:
                work()
                self._failed = False
            except Exception as error:  # noqa: BLE001 - of MLflow and of each store it has; a training never ends of it
                if not self._failed:
                    kind = type(error).__name__
                    _log.warning("MLflow did not take an event, and it is lost: %s: %s", kind, error)
                self._failed = True
