"""Virtual time."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.simulator.faults import Fault


class Loop:
    """Runs what is due, in the order of time, and of planning where times are equal."""

    def __init__(self) -> None:
        self.now = 0.0
        self.events = 0
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._planned = 0

    def at(self, moment: float, work: Callable[[], None]) -> None:
        """Run ``work`` at ``moment``, or now if that has passed."""
        self._planned += 1
        heapq.heappush(self._queue, (max(self.now, moment), self._planned, work))

    def after(self, seconds: float, work: Callable[[], None]) -> None:
        """Run ``work`` in ``seconds``."""
        self._planned += 1
        heapq.heappush(self._queue, (self.now + seconds, self._planned, work))

    def step(self) -> bool:
        """Run the next event; False where there is none."""
        if not self._queue:
            return False
        self.now, _, work = heapq.heappop(self._queue)
        self.events += 1
        work()
        return True

    def clear(self) -> None:
        """Drop what was planned: it holds the processes that planned it."""
        self._queue.clear()

    def during(self, faults: Iterable[Fault]) -> bool:
        """Whether one of ``faults`` lasts at present."""
        return any(fault.at <= self.now < fault.end for fault in faults)
