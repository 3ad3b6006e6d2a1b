"""What passes between the training thread and the worker at a sync point."""

from __future__ import annotations

import enum
from collections import deque
from dataclasses import dataclass, replace

from swarm.errors import StartTimeoutError, SwarmError
from swarm.executor import Future
from swarm.records import Commit
from swarm.tensors.capture import Capture
from swarm.tensors.state import ModelState


class AnswerKind(enum.Enum):
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
class Answer:
    """The worker's answer to an offer."""

    kind: AnswerKind
    commit: Commit | None = None
    model: ModelState | None = None
    """The committed model; read only."""
    before: Capture | None = None
    """HEALED: what the committed model replaces; None for a newcomer. The model applied before, or the capture, where
    that may have been merged already."""
    reason: str = ""
    error: type[SwarmError] = StartTimeoutError
    """FAILED: what is raised."""
    attempts: int = 1

    @property
    def closing(self) -> bool:
        """Whether it brings the swarm's closing model."""
        return self.commit is not None and self.commit.closing

    @property
    def idle(self) -> bool:
        """Whether the round merged nothing, as nobody contributed: local steps stay as they are until a later round."""
        committed = self.kind in (AnswerKind.MERGED, AnswerKind.LATE) and self.commit is not None and not self.closing
        return committed and not (self.commit and self.commit.contributors)


class Futures:
    """Gives each answer to whoever waits for it, and keeps a model that nobody waits for until the next sync point.

    Belongs to the worker: the training thread only waits at its ticket.
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
        """Whether there are answers that nobody has taken yet."""
        return bool(self._late)

    def place(self, future: Future[Answer]) -> Answer | None:
        """Somebody waits at ``future`` from now on; the answer that is due to him before any other, if there is one."""
        self._future = future
        return self._late.popleft() if self._late else None

    def abandon(self, future: Future[Answer]) -> None:
        """Nobody waits at ``future`` any more; an answer that lies there already is kept."""
        if self._future is future:
            self._future = None
        answer = future.wait(timeout=0.0)
        if answer:
            self.answer(answer)

    def answer(self, answer: Answer) -> None:
        """Tell the training thread, now or at its next sync point."""
        if self._future:
            self._future.set(answer)
            self._future = None
        elif answer.model is not None:
            late = AnswerKind.LATE if answer.kind is AnswerKind.MERGED else answer.kind
            self._late.append(replace(answer, kind=late))
