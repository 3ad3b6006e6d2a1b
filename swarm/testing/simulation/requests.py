"""What passes between the simulated training and its process."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

from swarm.peer.futures import Answer
from swarm.records import Commit, PeerStatus
from swarm.testing.simulation.exchanges import Capture
from swarm.testing.simulation.models import Weights


@dataclass(frozen=True, slots=True)
class Synced:
    """The worker's answer to an offer; see :class:`swarm.peer.futures.Synced`. Models are named by digest."""

    answer: Answer
    commit: Commit | None = None
    before: Weights | None = None

    @property
    def model(self) -> str | None:
        """Digest of the committed model."""
        return self.commit.digest if self.commit else None

    @property
    def closing(self) -> bool:
        """Whether it brings the closing model."""
        return self.commit is not None and self.commit.closing

    @property
    def idle(self) -> bool:
        """Whether the round merged nothing."""
        committed = self.answer in (Answer.MERGED, Answer.LATE) and self.commit is not None and not self.closing
        return committed and not (self.commit and self.commit.contributors)


@dataclass(frozen=True, slots=True)
class Train:
    """The training thread is busy until the next sync point, or until it is told to end."""


@dataclass(frozen=True, slots=True)
class Place:
    """The training thread offers a capture and waits for the answer."""

    capture: Capture
    status: PeerStatus
    empty: bool = False
    """Whether there is nothing new in it, so that it claims no weight."""
    unmerged: bool = False
    """Whether it has steps that are in no merge yet."""


Training = Generator[Train | Place, Synced, None]
