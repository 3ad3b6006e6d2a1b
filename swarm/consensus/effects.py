"""What the round machine asks its surroundings to do. Inputs go in, these come out; the machine itself does no I/O."""

from __future__ import annotations

from dataclasses import dataclass

from swarm.errors import StartTimeoutError, SwarmError
from swarm.messages import Message, Proposal
from swarm.records import Attempt, Commit, PeerId


@dataclass(frozen=True, slots=True)
class Send:
    """Send ``message`` to ``to``; it may be lost."""

    to: PeerId
    message: Message


@dataclass(frozen=True, slots=True)
class StartExchange:
    """Exchange weights under this proposal; answer with ``exchanged`` or ``exchange_failed``."""

    proposal: Proposal


@dataclass(frozen=True, slots=True)
class StopExchange:
    """Stop this attempt's exchange; what it has assembled may be dropped."""

    key: tuple[str, int, Attempt]


@dataclass(frozen=True, slots=True)
class Apply:
    """This round is committed: the model with the commit's digest, which this peer holds, is the merged model."""

    commit: Commit


@dataclass(frozen=True, slots=True)
class Heal:
    """Fetch the model of ``commit`` from one of ``sources``; answer with ``healed`` or ``heal_failed``."""

    commit: Commit
    sources: tuple[PeerId, ...]


@dataclass(frozen=True, slots=True)
class Fetch:
    """Fetch the undecided model with ``digest`` from one of ``sources``; answer with ``fetched`` if that succeeds."""

    digest: str
    sources: tuple[PeerId, ...]


@dataclass(frozen=True, slots=True)
class Skip:
    """This sync point ends without a merge."""

    round: int
    reason: str


@dataclass(frozen=True, slots=True)
class Fail:
    """The start failed; nothing was trained."""

    reason: str
    error: type[SwarmError] = StartTimeoutError
    """What is raised."""


@dataclass(frozen=True, slots=True)
class End:
    """The session is over for this peer without a closing round."""

    reason: str


@dataclass(frozen=True, slots=True)
class Notice:
    """Something the user should read; ``loud`` for a warning. ``failed`` marks a round that came to nothing."""

    text: str
    loud: bool = False
    failed: bool = False


Effect = Send | StartExchange | StopExchange | Apply | Heal | Fetch | Skip | Fail | End | Notice
