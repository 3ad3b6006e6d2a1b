"""Counts the local batches of one run."""

from __future__ import annotations

import sys
from dataclasses import dataclass

NEVER = sys.maxsize
"""Batches to the next sync point of a peer that trains alone."""


@dataclass(slots=True)
class Batches:
    """One count of local batches; everything else about batches is a position in it."""

    done: int = 0
    """Local batches so far."""
    offered_at: int = 0
    """``done`` at the last offer; the interval runs from there."""
    captured_at: int = 0
    """Batches that are in the capture."""
    merged_up_to: int = 0
    """Batches that are in a committed merge, or were given up for one."""
    interval: int = NEVER
    """Batches from one sync point to the next."""

    @property
    def left(self) -> int:
        """Batches to the next sync point; 0 or fewer if it is due."""
        return self.offered_at + self.interval - self.done

    @property
    def unmerged(self) -> int:
        """Batches that are in no committed merge and were not given up for one."""
        return self.done - self.merged_up_to
