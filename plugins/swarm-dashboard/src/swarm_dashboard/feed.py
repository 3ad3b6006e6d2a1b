"""Follows a swarm while browsers look: asks for news every second, and wakes whoever waits for some."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from swarm_dashboard.history import History

EVERY = 1.0
"""Seconds between two turns."""

Turn = Callable[[], Mapping[str, Any]]
"""Asks peers, which takes seconds; what all of them have told by now."""


class Feed:
    """The history of one swarm, and who waits for it to grow. Used on one event loop."""

    def __init__(
        self,
        history: History,
        turn: Turn,
        ended: Callable[[], Mapping[str, Any] | None],
        reports: Callable[[], Sequence[Mapping[str, Any]]],
    ) -> None:
        """Nothing is asked before ``follow``.

        Args:
            history: grows.
            turn: as above.
            ended: None while the run goes on; then what is known of its end.
            reports: those that peers have written since the last call.
        """
        self.history = history
        self.over = False
        """Whether nothing will change any more."""
        self._turn = turn
        self._ended = ended
        self._reports = reports
        self._grown = asyncio.Condition()

    async def follow(self) -> None:
        """Ask again and again until the run has ended."""
        while (end := self._ended()) is None:
            self.history.take(await asyncio.to_thread(self._turn))
            self.history.report(await asyncio.to_thread(self._reports), time.time())
            await self._wake()
            await self._rest()
        reports = await asyncio.to_thread(self._reports)
        self.history.end(end, time.time())
        self.history.report(reports, time.time())
        self.over = True
        await self._wake()

    async def changed(self, version: int, within: float) -> bool:
        """Wait until there is more than ``version``, for at most ``within`` seconds; whether there is."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within), self._grown:
                await self._grown.wait_for(lambda: self.over or self.history.version > version)
        return self.over or self.history.version > version

    async def _wake(self) -> None:
        async with self._grown:
            self._grown.notify_all()

    async def _rest(self) -> None:
        """Pause, but notice the end soon."""
        for _ in range(10):
            if self._ended() is not None:
                return
            await asyncio.sleep(EVERY / 10)
