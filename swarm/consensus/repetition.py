"""When to retransmit what may have been lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from swarm.consensus.view import RoundView


class Repetition:
    """One thing that is retransmitted while it has to be, after pauses that double from the first to the longest."""

    def __init__(self, view: RoundView, first: float, longest: float) -> None:
        """``first`` and ``longest`` are seconds."""
        self._view = view
        self._first = self._pause = first
        self._longest = longest
        self._at: float | None = None

    def restart(self) -> None:
        """It has been said just now: begin with the first pause."""
        self._at = None

    def hurry(self) -> None:
        """Somebody may lack it: say it again after the first pause at the latest, however often this is called."""
        self._pause = self._first
        if self._at is not None:
            self._at = min(self._at, self._view.now + self._first)

    def due(self, *, needed: bool) -> bool:
        """Whether to say it again now. To be asked at every input; ``needed``: whether an answer is missing."""
        view = self._view
        if not needed:
            self.restart()
            return False
        if self._at is None:
            self._pause = self._first
            self._at = view.now + self._pause
        if not view.past(self._at):
            return False
        self._pause = min(2 * self._pause, self._longest)
        self._at = view.now + self._pause
        view.past(self._at)
        return True
