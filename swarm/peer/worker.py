"""The worker thread of a session: runs the work in its queue, and timers."""

from __future__ import annotations

import logging
from collections.abc import Callable

from swarm.executor import Executor, Queue, Task, Work
from swarm.peer.limited_log import LimitedLog

HOUSEKEEPING = 0.5
"""Seconds between two calls of ``housekeeping``."""


class Worker:
    """Runs work in order. An error is logged and reported, and does not stop the worker."""

    def __init__(self, name: str, *, executor: Executor, log: LimitedLog) -> None:
        self._name = name
        self._executor = executor
        self._log = log
        self._queue: Queue[Work] = Queue(executor)
        self._task: Task | None = None
        self._stopped = False

    def start(
        self,
        *,
        due: Callable[[], float | None],
        tick: Work,
        housekeeping: Work,
        failed: Callable[[Exception], None],
    ) -> None:
        """Begin.

        Args:
            due: time of the next ``tick`` if no work comes before; None for never.
            tick: called when that time has come.
            housekeeping: called about every ``HOUSEKEEPING`` seconds.
            failed: called if work raised an error.
        """
        self._due, self._tick, self._housekeeping, self._failed = due, tick, housekeeping, failed
        self._task = self._executor.start(self._name, self._run)

    @property
    def alive(self) -> bool:
        """Whether it still runs the work that is posted."""
        return self._task is not None and self._task.is_alive() and not self._stopped

    def post(self, work: Work) -> None:
        """Put work into the queue, from any thread; before ``start``, it waits there."""
        self._queue.put(work)

    def post_later(self, seconds: float, work: Work) -> None:
        """Put work into the queue after a while."""
        self._executor.later(seconds, lambda: self.post(work))

    def stop(self) -> None:
        """Stop after the current work; called on the worker's thread."""
        self._stopped = True

    def join(self, timeout: float) -> None:
        """Wait until it has stopped, for at most ``timeout`` seconds; returns at once if it was not started."""
        if self._task:
            self._task.join(timeout)

    def _run(self) -> None:
        housekeeping_at = self._executor.now()
        while not self._stopped:
            now = self._executor.now()
            if now >= housekeeping_at:
                housekeeping_at = now + HOUSEKEEPING
                self._guarded(self._housekeeping)
            due = self._due()
            until = housekeeping_at if due is None else min(due, housekeeping_at)
            self._guarded(self._queue.get(timeout=max(until - now, 0.0)) or self._tick)

    def _guarded(self, work: Work) -> None:
        try:
            work()
        except Exception as error:  # noqa: BLE001  (an error in here must not end the training)
            text = "an internal error was contained; training goes on"
            self._log.log(logging.ERROR, "", type(error).__name__, text, exc_info=error)
            self._failed(error)
