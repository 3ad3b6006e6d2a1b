"""The session's thread: works off what others put into its queue, and looks after what time brings."""

from __future__ import annotations

import logging
from collections.abc import Callable

from swarm.executor import Executor, Queue, Task, Work

HOUSEKEEPING = 0.5
"""Seconds between two calls of ``housekeeping``."""


class Worker:
    """Runs chunks of work one after the other; an error in one is logged, told, and ends nothing."""

    def __init__(self, name: str, *, executor: Executor, logger: logging.Logger) -> None:
        self._name = name
        self._executor = executor
        self._log = logger
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
            due: when ``tick`` should be called if nothing comes before; None for never.
            tick: time has passed.
            housekeeping: called about every ``HOUSEKEEPING`` seconds.
            failed: a chunk of work raised.
        """
        self._due, self._tick, self._housekeeping, self._failed = due, tick, housekeeping, failed
        self._task = self._executor.start(self._name, self._run)

    @property
    def alive(self) -> bool:
        """Whether it still works off what is put to it."""
        return self._task is not None and self._task.is_alive() and not self._stopped

    def post(self, work: Work) -> None:
        """Put work into the queue, from any thread; what comes before ``start`` waits for it."""
        self._queue.put(work)

    def post_later(self, seconds: float, work: Work) -> None:
        """Put work into the queue after a while."""
        self._executor.later(seconds, lambda: self.post(work))

    def stop(self) -> None:
        """Stop after the present chunk of work; called from within one."""
        self._stopped = True

    def join(self, timeout: float) -> None:
        """Wait until it has stopped, for at most ``timeout`` seconds; returns at once where it was not started."""
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
        except Exception as error:  # noqa: BLE001  (training must not die of an error in here)
            self._log.exception("an internal error was contained; training goes on")
            self._failed(error)
