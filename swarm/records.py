"""Small frozen types that several rooms share: peers, contributions, committed rounds, reports and events."""

from __future__ import annotations

import enum
import secrets
import time
from dataclasses import dataclass, field

PeerId = str
"""A peer's name; unique within a session."""


class PeerStatus(enum.StrEnum):
    """Where a peer stands in its training."""

    TRAINING = "training"
    INACTIVE = "inactive"
    """Finished, contributes nothing."""
    SNAPSHOT = "snapshot"
    """Finished, contributes the weights it stopped with."""
    ACTIVE = "active"
    """Finished, contributes each merged model again."""

    @property
    def finished(self) -> bool:
        """Whether local training is over."""
        return self is not PeerStatus.TRAINING


def new_incarnation() -> str:
    """The incarnation of a peer that starts now: milliseconds since 1970, then random digits."""
    return f"{time.time_ns() // 1_000_000:012x}{secrets.token_hex(6)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerInfo:
    """What a peer declares of itself on joining."""

    name: PeerId
    incarnation: str
    """Of one start of a peer, so that a restarted peer is told from two live ones of one name. It begins with the time
    of the start, so of two of them the smaller one was there first."""
    address: str
    session: str
    fingerprint: str = ""
    settings: tuple[tuple[str, str], ...] = ()
    """The settings that must agree, as (name, value)."""
    weight: int = 1
    expects: int = 0
    """Peers it was told to expect, itself included; 0 where unknown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ContributionStats:
    """What a peer says of the weights it offers to a round."""

    peer: PeerId
    round: int
    weight: int
    status: PeerStatus = PeerStatus.TRAINING
    steps: int = 0
    """Local batches since its last merge."""
    finite: bool = True
    delta_norm: float = 0.0
    """Euclidean distance of its weights from the model of the last commit; the side block does not count."""
    residual: float = 0.0
    """Euclidean norm of what codecs have lost of earlier rounds: a codec with error feedback sends it as well."""
    loss: float | None = None
    """Validation loss of the last merged model on its data."""
    nan_state: bool = False
    """At the start: whether its module state holds NaN. A swarm rather starts from another peer's."""


@dataclass(frozen=True, slots=True, order=True)
class Attempt:
    """A try at one round; a peer refuses those below the highest it has answered."""

    counter: int
    leader: PeerId


@dataclass(frozen=True, slots=True)
class SyncState:
    """What an adaptive policy carries from round to round; part of the committed record, so equal everywhere."""

    interval: int
    loss: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    """The record of a committed round."""

    lineage: str
    round: int
    digest: str
    members: tuple[PeerId, ...]
    """The membership: whose majority decides the next round."""
    group: tuple[PeerId, ...]
    """Who took part."""
    contributors: tuple[PeerId, ...]
    """Who of the group put weights in."""
    sync: SyncState
    weight: int = 0
    """Weight contributed along this lineage so far: decides which side stays when two lineages meet."""
    closing: bool = False


class Outcome(enum.StrEnum):
    """How a sync point ended."""

    MERGED = "merged"
    SKIPPED = "skipped"
    """No quorum, or nobody contributed: training went on with the local weights."""
    CLOSED = "closed"


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundReport:
    """What one sync point came to, as this peer saw it."""

    outcome: Outcome
    round: int
    lineage: str = ""
    """Of the committed round; empty where nothing was committed."""
    digest: str = ""
    """Of the merged model; empty where nothing was committed."""
    group: tuple[PeerId, ...] = ()
    contributors: tuple[PeerId, ...] = ()
    missing: tuple[PeerId, ...] = ()
    """Peers of the last round that did not take part."""
    seconds: float = 0.0
    """From the sync point to the merged weights in the model."""
    stall: float = 0.0
    """Of these, the seconds in which the training stood still: all of them, unless rounds overlap with it."""
    bytes_sent: int = 0
    bytes_received: int = 0
    interval: int = 0
    """Batches to the next sync point."""
    attempts: int = 1
    reason: str = ""
    """Why it was skipped."""
    loss: float | None = None
    """Validation loss of the merged model on this peer's data."""
    metrics: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerJoined:
    """A peer of this session was met for the first time, or came back."""

    peer: PeerInfo
    returned: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerLeft:
    """A peer of this session left or was lost."""

    session: str
    peer: PeerId
    reason: str
    polite: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundStarted:
    """This peer joined the exchange of a round."""

    session: str
    round: int
    attempt: Attempt
    group: tuple[PeerId, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundFinished:
    """A round committed and its model is in place."""

    session: str
    report: RoundReport


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundFailed:
    """An attempt was aborted or a sync point passed without a merge; training goes on."""

    session: str
    round: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionClosed:
    """The session is over for this peer."""

    session: str
    rounds: int
    digest: str
    """Digest of the model it ended with; empty where training was broken off."""
    closing: bool
    """Whether that is the swarm's closing model."""
    reason: str = ""
