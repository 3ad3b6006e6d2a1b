"""What passes between the training thread and the worker at a sync point."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from swarm.records import Commit
from swarm.state import ModelState


class Answer(enum.Enum):
    """How the worker answers an offer."""

    MERGED = "merged"
    """A round committed with this peer in it."""
    HEALED = "healed"
    """This peer was behind: take the model over and offer again."""
    LATE = "late"
    """A round committed after its sync point had been given up: take it over and offer again."""
    SKIPPED = "skipped"
    """Go on with the local weights."""
    ENDED = "ended"
    """The session is over for this peer, without a closing round."""
    FAILED = "failed"
    """The start failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Synced:
    """The worker's answer to an offer."""

    answer: Answer
    commit: Commit | None = None
    model: ModelState | None = None
    """The committed model; read only."""
    before: ModelState | None = None
    """HEALED: what the committed model takes the place of; None for a newcomer. The model applied before, or the
    capture, where that may have been merged already."""
    reason: str = ""
    attempts: int = 1

    @property
    def closing(self) -> bool:
        """Whether it brings the swarm's closing model."""
        return self.commit is not None and self.commit.closing
