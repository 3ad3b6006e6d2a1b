"""How rank 0 tells the other processes of its site what to do."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from swarm.errors import RanksError
from swarm.ranks.group import ProcessGroup
from swarm.ranks.instructions import Kind, tell

LONGEST_SILENCE = 1.0
"""Seconds after which rank 0 says at the latest that it still waits; sooner where the group has a short time-out. It
notices so that another process is gone."""


class Voice:
    """Tells the other processes what to do. While a call waits for the swarm, a thread tells them to wait.

    They wait in a collective operation of theirs, which has a time-out.
    """

    def __init__(self, group: ProcessGroup) -> None:
        self.group = group
        self._lock = threading.Lock()

    @contextmanager
    def telling(self, kind: Kind, content: dict[str, object] | None = None) -> Iterator[ProcessGroup]:
        """Send an instruction; what belongs to it is done in the block, and nothing else is sent meanwhile.

        Raises:
            RanksError: a process is gone.
        """
        with self._lock:
            tell(self.group, kind, content)
            yield self.group

    @contextmanager
    def waiting(self, lost: Callable[[RanksError], None]) -> Iterator[None]:
        """Tell the others to wait, again and again, until the block ends.

        Args:
            lost: called on another thread if a process is gone.
        """
        over = threading.Event()
        pause = min(LONGEST_SILENCE, self.group.time_out / 4)

        def keep_telling() -> None:
            try:
                while not over.wait(pause):
                    with self._lock:
                        if not over.is_set():
                            tell(self.group, Kind.WAIT)
            except RanksError as error:
                lost(error)

        thread = threading.Thread(target=keep_telling, name="swarm-ranks", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()
