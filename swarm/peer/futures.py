"""Answers of the worker to the training thread."""

from __future__ import annotations

import enum
from collections import deque
from dataclasses import dataclass, replace

from swarm.errors import StartTimeoutError, SwarmError
from swarm.executor import Future
from swarm.messages import Entry
from swarm.records import Commit, ContributionStats, PeerId
from swarm.tensors.capture import Capture
from swarm.tensors.state import ModelState


class AnswerKind(enum.Enum):
    """How the worker answers an offer."""

    MERGED = "merged"
    """A round that this peer took part in has committed."""
    HEALED = "healed"
    """This peer was behind: load the model and offer again."""
    LATE = "late"
    """A round has committed after its sync point was over: load the model and offer again."""
    SKIPPED = "skipped"
    """Continue with the local weights."""
    ENDED = "ended"
    """The session is over for this peer, without a closing round."""
    FAILED = "failed"
    """The start failed."""


@dataclass(frozen=True, slots=True)
class Wait:
    """The wait of a sync point for other peers."""

    seconds: float = 0.0
    peers: tuple[PeerId, ...] = ()
    """Those that came last, or did not come; empty where the others had come before."""


NO_WAIT = Wait()


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The worker's answer to an offer."""

    kind: AnswerKind
    commit: Commit | None = None
    model: ModelState | None = None
    """The committed model; read only."""
    before: Capture | None = None
    """HEALED: what the committed model replaces: the model applied before, or the capture if it may have been merged;
    None for a newcomer."""
    reason: str = ""
    error: type[SwarmError] = StartTimeoutError
    """FAILED: what is raised."""
    alone: bool = False
    """SKIPPED: whether this peer can take part in no round: too few peers are here, or its own exchanges fail."""
    attempts: int = 1
    wait: Wait = NO_WAIT
    """MERGED, LATE or SKIPPED: the part of the time since the offer in which no weights were exchanged."""
    exchanged: float = 0.0
    """MERGED or LATE: seconds from there to the commit."""
    entries: tuple[Entry, ...] = ()
    """MERGED or LATE: the group of the round, as it was proposed."""
    offered: tuple[ContributionStats, ...] = ()
    """MERGED or LATE: what the group has offered."""

    @property
    def closing(self) -> bool:
        """Whether the model is the closing model of the swarm."""
        return self.commit is not None and self.commit.closing

    @property
    def idle(self) -> bool:
        """Whether no peer contributed to the round: local steps stay unchanged until a later round."""
        committed = self.kind in (AnswerKind.MERGED, AnswerKind.LATE) and self.commit is not None and not self.closing
        return committed and not (self.commit and self.commit.contributors)


class Futures:
    """Hands answers to the training thread. A model without a waiting future is kept until the next sync point.

    Used on the worker's thread only; the training thread waits for its future.
    """

    def __init__(self) -> None:
        self._future: Future[Answer] | None = None
        self._late: deque[Answer] = deque()

    @property
    def awaited(self) -> bool:
        """Whether the training thread waits for an answer."""
        return self._future is not None

    @property
    def late(self) -> bool:
        """Whether answers are kept for the next sync point."""
        return bool(self._late)

    def place(self, future: Future[Answer]) -> Answer | None:
        """The training thread waits for ``future`` from now on; returns the kept answer that it gets first, if any."""
        self._future = future
        return self._late.popleft() if self._late else None

    def abandon(self, future: Future[Answer]) -> None:
        """The training thread no longer waits for ``future``; an answer that it already has is kept."""
        if self._future is future:
            self._future = None
        answer = future.wait(timeout=0.0)
        if answer:
            self.answer(answer)

    def answer(self, answer: Answer) -> None:
        """Answer the training thread, now or at its next sync point."""
        if self._future:
            self._future.set(answer)
            self._future = None
        elif answer.model is not None:
            late = AnswerKind.LATE if answer.kind is AnswerKind.MERGED else answer.kind
            self._late.append(replace(answer, kind=late))
