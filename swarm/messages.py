"""What peers say to each other about rounds: frozen records, checked and encoded by the transport.

Every message travels in an :class:`Envelope` that carries session and sender; those about a round carry lineage,
round and attempt as well, so that a stray or a replay can be refused by name.
"""

from __future__ import annotations

from dataclasses import dataclass

from swarm.records import Attempt, Commit, ContributionStats, PeerId, PeerInfo, PeerStatus, SyncState


@dataclass(frozen=True, slots=True)
class TensorLine:
    """One tensor of a schema, as declared on joining."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    kind: str


@dataclass(frozen=True, slots=True)
class Hello:
    """I am here, this is my model and how far I am, and these are the peers that I know (of any session)."""

    peer: PeerInfo
    schema: tuple[TensorLine, ...]
    roster: tuple[PeerInfo, ...]
    commit: Commit | None
    wants_reply: bool


@dataclass(frozen=True, slots=True)
class Refuse:
    """You cannot be in this session with me."""

    reason: str
    final: bool
    """False where it may help to ask again: a name that a peer just lost still seems to hold."""
    about_name: bool = False
    """Whether the reason is that another peer has your name."""


@dataclass(frozen=True, slots=True)
class Leave:
    """I am leaving; wait for me no more."""

    reason: str
    unintended: bool = False
    """Whether this is a mistake of my script, so that the others should warn of it."""


@dataclass(frozen=True, slots=True)
class Farewell:
    """The closing round is committed here too."""

    lineage: str
    round: int


@dataclass(frozen=True, slots=True)
class Offer:
    """I am at a sync point and offer what I hold to this round."""

    lineage: str
    parent: str
    """Digest of the model my steps started from; empty before the founding round."""
    votes: bool
    """Whether I may vote in this round. A process that took the place of one that died may not at first: it does not
    know what that one has promised."""
    stats: ContributionStats


@dataclass(frozen=True, slots=True)
class Withdraw:
    """I went on training without this round."""

    lineage: str
    round: int


@dataclass(frozen=True, slots=True)
class Entry:
    """One member of a proposed group; weight 0 receives and does not contribute."""

    peer: PeerId
    weight: int
    status: PeerStatus
    norm: float = 0.0
    """How far it says that its contribution is from the parent model. A member that has other weights on offer by now
    does not join."""
    residual: float = 0.0
    """How much it says that earlier codecs have left for it to send."""


@dataclass(frozen=True, slots=True)
class Proposal:
    """A group for one attempt at a round."""

    lineage: str
    round: int
    attempt: Attempt
    parent: str
    voters: tuple[PeerId, ...]
    """The membership of the round before: more than half of them must accept."""
    members: tuple[PeerId, ...]
    """The membership if this commits."""
    entries: tuple[Entry, ...]
    sync: SyncState
    closing: bool
    weight: int
    """Weight contributed along the lineage if this commits."""
    codec: str = "exact"
    """How chunks travel."""

    @property
    def group(self) -> tuple[PeerId, ...]:
        """Its members, in the order of slices and of summation."""
        return tuple(entry.peer for entry in self.entries)

    @property
    def contributors(self) -> tuple[PeerId, ...]:
        """Those whose weights go into the exchange."""
        return tuple(entry.peer for entry in self.entries if entry.weight > 0)

    @property
    def source(self) -> PeerId:
        """The contributor whose module state all take: one that trains if there is one, of the largest weight."""
        senders = [entry for entry in self.entries if entry.weight > 0]
        return min(senders, key=lambda entry: (entry.status is not PeerStatus.TRAINING, -entry.weight, entry.peer)).peer

    @property
    def counted(self) -> tuple[PeerId, ...]:
        """The contributors; nobody where one only hands the last committed model round again."""
        senders = [entry for entry in self.entries if entry.weight > 0]
        stands = len(senders) == 1 and senders[0].status is PeerStatus.ACTIVE
        return () if stands else self.contributors

    @property
    def key(self) -> tuple[str, int, Attempt]:
        """What tells this attempt from every other of the session."""
        return self.lineage, self.round, self.attempt

    def commit(self, digest: str) -> Commit:
        """The record of this proposal once decided with ``digest``."""
        return Commit(
            lineage=self.lineage,
            round=self.round,
            digest=digest,
            members=self.members,
            group=self.group,
            contributors=self.counted,
            sync=self.sync,
            weight=self.weight,
            closing=self.closing,
        )


@dataclass(frozen=True, slots=True)
class Propose:
    """Leader to group: exchange under this attempt."""

    proposal: Proposal


@dataclass(frozen=True, slots=True)
class Prepare:
    """A new leader to the membership: answer nothing below this attempt, and tell what you accepted."""

    lineage: str
    round: int
    attempt: Attempt


@dataclass(frozen=True, slots=True)
class Promise:
    """Answer to :class:`Prepare`, with the highest proposal accepted so far."""

    lineage: str
    round: int
    attempt: Attempt
    accepted: Proposal | None
    digest: str


@dataclass(frozen=True, slots=True)
class PartialNorm:
    """How far a contribution is from the parent model within one member's slice."""

    peer: PeerId
    squared: float
    """Sum of the squared differences."""


@dataclass(frozen=True, slots=True)
class Ready:
    """Member to leader: I hold the whole merged model of this attempt, with this digest."""

    lineage: str
    round: int
    attempt: Attempt
    digest: str
    norms: tuple[PartialNorm, ...]
    """Of all contributions, within the sender's slice; empty in the founding round."""


@dataclass(frozen=True, slots=True)
class Failed:
    """Member to leader: this attempt cannot finish, because of that peer."""

    lineage: str
    round: int
    attempt: Attempt
    blamed: PeerId
    reason: str


@dataclass(frozen=True, slots=True)
class Abort:
    """Leader to group: this attempt is given up; keep your captures for the next."""

    lineage: str
    round: int
    attempt: Attempt
    reason: str


@dataclass(frozen=True, slots=True)
class Accept:
    """Leader to voters: everyone is ready with this digest; accept it."""

    proposal: Proposal
    digest: str


@dataclass(frozen=True, slots=True)
class Accepted:
    """Voter to leader: accepted, and kept."""

    lineage: str
    round: int
    attempt: Attempt


@dataclass(frozen=True, slots=True)
class Nack:
    """I have answered a higher attempt than yours."""

    lineage: str
    round: int
    attempt: Attempt
    promised: Attempt


@dataclass(frozen=True, slots=True)
class Decide:
    """This round is committed."""

    commit: Commit


Message = (
    Hello
    | Refuse
    | Leave
    | Farewell
    | Offer
    | Withdraw
    | Propose
    | Prepare
    | Promise
    | Ready
    | Failed
    | Abort
    | Accept
    | Accepted
    | Nack
    | Decide
)


@dataclass(frozen=True, slots=True)
class Envelope:
    """A message with where it belongs and who sent it."""

    session: str
    sender: PeerId
    incarnation: str
    address: str
    """Where the sender listens."""
    message: Message


@dataclass(frozen=True, slots=True)
class StreamHeader:
    """Opens a stream of weights to a member of an attempt."""

    session: str
    sender: PeerId
    incarnation: str
    lineage: str
    round: int
    attempt: Attempt


@dataclass(frozen=True, slots=True)
class FetchRequest:
    """Asks a peer for a share of a committed model."""

    session: str
    sender: PeerId
    digest: str
    part: int = 0
    """Which share, from 0."""
    parts: int = 1
    """Into how many shares the model is cut, as a round of so many members would."""


@dataclass(frozen=True, slots=True)
class DataChannelRequest:
    """Asks a peer for leave to open a data channel for weights to it."""

    session: str
    sender: PeerId
    incarnation: str


@dataclass(frozen=True, slots=True)
class DataChannelOffer:
    """Where such a data channel is opened, and what opens it."""

    port: int
    """On the host that was asked."""
    token: bytes
    """Good for one connection, soon."""
