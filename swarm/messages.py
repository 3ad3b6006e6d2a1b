"""The messages between peers: frozen records, which the transport checks and encodes.

Every message is in an :class:`Envelope` with session and sender. Messages about a round also contain lineage, round and
attempt, so that late and duplicated messages are recognized.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from swarm.records import (
    LEFT_OUT,
    Attempt,
    Best,
    Commit,
    ContributionStats,
    Credential,
    Origin,
    PeerId,
    PeerInfo,
    PeerStatus,
    Proof,
    RecordKind,
    Refusal,
    Signature,
    SignedPromise,
    SyncState,
)

MAX_PEERS = 1024
"""Peers in one list of a message: members, voters, a group."""
MAX_ROSTER = 256
"""Peers that a greeting names."""
MAX_TENSORS = 2**15
"""Tensors that a greeting describes."""
MAX_TENSOR_NAME = 512
"""Characters of a tensor's name in a greeting."""


@dataclass(frozen=True, slots=True)
class TensorLine:
    """One tensor of a schema, as declared on joining."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    kind: str


@dataclass(frozen=True, slots=True)
class Hello:
    """Greeting: the sender's model and last commit, and the peers that it knows (of any session)."""

    peer: PeerInfo
    schema: tuple[TensorLine, ...]
    roster: tuple[PeerInfo, ...]
    commit: Commit | None
    wants_reply: bool
    credential: Credential | None = None
    """Of the key with which the sender signs in this session."""


@dataclass(frozen=True, slots=True)
class Refuse:
    """The sender rejects the receiver in this session."""

    reason: str
    final: bool
    """False if a later greeting may succeed, for example because the name still belongs to a peer that just left."""
    about_name: bool = False
    """Whether the reason is that another peer has the same name."""


@dataclass(frozen=True, slots=True)
class Leave:
    """The sender leaves the session; peers no longer wait for it."""

    reason: str
    unintended: bool = False
    """Whether this is an error in the sender's script, so that the other peers log a warning."""


@dataclass(frozen=True, slots=True)
class Farewell:
    """The closing round is committed at the sender."""

    lineage: str
    round: int


@dataclass(frozen=True, slots=True)
class Offer:
    """The sender is at a sync point and offers its capture to this round."""

    lineage: str
    parent: str
    """Digest of the committed model that the sender's steps started from; empty before the founding round."""
    votes: bool
    """Whether the sender may vote in this round. A restarted process may not at first, because it does not know the
    promises of its predecessor."""
    stats: ContributionStats
    previous: str = ""
    """Hash of the record of that model."""
    gone: tuple[PeerId, ...] = ()
    """Members that the sender cannot reach."""
    key: str = ""
    """With which the sender signs."""
    signature: str = ""


@dataclass(frozen=True, slots=True)
class Withdraw:
    """The sender continues training without this round."""

    lineage: str
    round: int


@dataclass(frozen=True, slots=True)
class Entry:
    """One member of a proposed group. A member with weight 0 receives the result and does not contribute."""

    peer: PeerId
    weight: int
    status: PeerStatus
    norm: float = 0.0
    """Offered distance of its contribution from the parent model. A member that has changed its offer since then does
    not join."""
    residual: float = 0.0
    """Offered norm of the residual of its codec."""
    steps: int = 0
    """Offered local batches since its last merge."""
    moments: bool = False
    """Whether the state of its optimizer is merged."""


@dataclass(frozen=True, slots=True)
class Proposal:
    """A group for one attempt at a round."""

    lineage: str
    round: int
    attempt: Attempt
    parent: str
    voters: tuple[PeerId, ...]
    """The membership of the previous round: more than half of it must accept."""
    members: tuple[PeerId, ...]
    """The membership if this commits."""
    entries: tuple[Entry, ...]
    sync: SyncState
    closing: bool
    codec: str = "exact"
    """The codec of the chunks."""
    protocol: int = 0
    """The version of the protocol in which this attempt runs: the newest that all voters and members speak."""
    done: bool = False
    """Whether every live peer has trained its own epochs: those that train on for the others stop."""
    kind: RecordKind = RecordKind.ROUND
    previous: str = ""
    """Hash of the record that this one would follow; empty in the founding round."""
    keys: tuple[str, ...] = ()
    """The key of each of the members."""
    rule: str = ""
    settings: str = ""
    """SHA-256 of the settings that all peers agree on."""
    refused: tuple[Refusal, ...] = ()
    """Contributions left out."""
    credentials: tuple[Credential, ...] = ()
    """Of the members whose key is not that of the record before."""
    proofs: tuple[Proof, ...] = ()
    """Of members that are removed because they signed two results."""
    origins: tuple[Origin, ...] = ()
    """Of the lineage, as in the record."""
    best: Best | None = field(default=None, metadata={LEFT_OUT: True})
    """The best model before this round, as in the record."""
    stop: bool | None = field(default=None, metadata={LEFT_OUT: True})
    """Whether the training ends at all members, as in the record."""
    offers: tuple[Offer, ...] = ()
    """What the group has offered, in the order of ``entries``: from these every member computes the rest."""
    promises: tuple[SignedPromise, ...] = ()
    """What voters have promised to this attempt; empty in the first attempt of a round."""

    @property
    def group(self) -> tuple[PeerId, ...]:
        """Its members, in the order of slices and of summation."""
        return tuple(entry.peer for entry in self.entries)

    @property
    def senders(self) -> tuple[PeerId, ...]:
        """The members that send weights."""
        return tuple(entry.peer for entry in self.entries if entry.weight > 0)

    @property
    def moments(self) -> tuple[PeerId, ...]:
        """The members whose optimizer state is merged: those of the senders that train and have some."""
        return tuple(
            entry.peer for entry in self.entries if entry.weight > 0 and entry.moments and not entry.status.finished
        )

    @property
    def source(self) -> PeerId:
        """The contributor of the module state: a training one if there is one, with the largest weight."""
        senders = [entry for entry in self.entries if entry.weight > 0]
        return min(senders, key=lambda entry: (entry.status.finished, -entry.weight, entry.peer)).peer

    @property
    def contributors(self) -> tuple[PeerId, ...]:
        """Whose weights are merged: the senders, but nobody if the only one sends the last committed model."""
        senders = [entry for entry in self.entries if entry.weight > 0]
        stands = len(senders) == 1 and senders[0].status is PeerStatus.ACTIVE
        return () if stands else self.senders

    @property
    def key(self) -> tuple[str, int, Attempt]:
        """Identifies this attempt within the session."""
        return self.lineage, self.round, self.attempt

    def commit(self, digest: str) -> Commit:
        """The record of this proposal with the result ``digest``, without a certificate."""
        return Commit(
            lineage=self.lineage,
            round=self.round,
            digest=digest,
            members=self.members,
            group=self.group,
            contributors=self.contributors,
            sync=self.sync,
            closing=self.closing,
            done=self.done,
            kind=self.kind,
            previous=self.previous,
            keys=self.keys,
            weights=tuple(entry.weight for entry in self.entries),
            rule=self.rule,
            codec=self.codec,
            settings=self.settings,
            refused=self.refused,
            credentials=self.credentials,
            proofs=self.proofs,
            origins=self.origins,
            best=self.best,
            stop=self.stop,
        )


@dataclass(frozen=True, slots=True)
class Propose:
    """Leader to group: start the exchange of this attempt."""

    proposal: Proposal


@dataclass(frozen=True, slots=True)
class Prepare:
    """New leader to the membership: answer no lower attempt, and report the proposal that you have accepted."""

    lineage: str
    round: int
    attempt: Attempt
    signature: str = ""
    """Under the attempt, by its leader: who promises to it can show that it was asked."""


MOST_CARRIED = 16
"""Attempts through which one result is carried."""


@dataclass(frozen=True, slots=True)
class Carried:
    """An attempt whose leader asked to accept the result of an earlier one, since its promises told of that."""

    attempt: Attempt
    promises: tuple[SignedPromise, ...]
    """Of a quorum. The highest attempt that they have accepted is the one before, with this result."""


@dataclass(frozen=True, slots=True)
class Readiness:
    """The signatures of a quorum of a group that it holds a result, and why later leaders could ask to accept it."""

    attempt: Attempt
    """In which the group was ready."""
    signatures: tuple[Signature, ...]
    carried: tuple[Carried, ...] = ()
    """The attempts between that one and the one of the proposal, in which it was accepted too."""


@dataclass(frozen=True, slots=True)
class Promise:
    """Answer to :class:`Prepare`, with the highest proposal accepted so far."""

    lineage: str
    round: int
    attempt: Attempt
    accepted: Proposal | None
    """In the attempt in which it was accepted."""
    digest: str
    ready: Readiness | None = None
    """The readiness of the group of ``accepted``."""
    signature: str = ""


@dataclass(frozen=True, slots=True)
class PartialNorm:
    """Squared distance of a contribution from the parent model within one member's slice."""

    peer: PeerId
    squared: float
    """Sum of the squared differences."""


@dataclass(frozen=True, slots=True)
class Ready:
    """Member to leader: the sender has the whole merged model of this attempt, with this digest."""

    lineage: str
    round: int
    attempt: Attempt
    digest: str
    norms: tuple[PartialNorm, ...]
    """Of all contributions, within the sender's slice; empty in the founding round."""
    slices: tuple[str, ...] = ()
    """Digest of the slice that each member has merged, in the order of the group."""
    signature: str = ""
    """Under the record of this attempt with this digest."""


@dataclass(frozen=True, slots=True)
class Failed:
    """Member to leader: this attempt cannot complete because of the peer ``blamed``."""

    lineage: str
    round: int
    attempt: Attempt
    blamed: PeerId
    reason: str
    rejects: bool = False
    """Whether the sender rejects the proposal, which every member has checked itself."""


@dataclass(frozen=True, slots=True)
class Abort:
    """Leader to group: this attempt is aborted; keep the captures for the next one."""

    lineage: str
    round: int
    attempt: Attempt
    reason: str


@dataclass(frozen=True, slots=True)
class Accept:
    """Leader to voters: all members are ready with this digest; accept it."""

    proposal: Proposal
    digest: str
    ready: Readiness | None = None
    """The readiness of its group."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """Voter to leader: the proposal is accepted, and its model is kept."""

    lineage: str
    round: int
    attempt: Attempt
    signature: str = ""
    """Under the record of this attempt."""


@dataclass(frozen=True, slots=True)
class Nack:
    """The sender has already answered a higher attempt, ``promised``."""

    lineage: str
    round: int
    attempt: Attempt
    promised: Attempt
    signature: str = ""
    """That of the :class:`Prepare` for ``promised``; empty if the sender has promised it without one."""


@dataclass(frozen=True, slots=True)
class Decide:
    """This round is committed."""

    commit: Commit


@dataclass(frozen=True, slots=True)
class Ask:
    """The sender may have missed the decision of this round: tell it."""

    lineage: str
    round: int


@dataclass(frozen=True, slots=True)
class Evidence:
    """A member has signed two results of one round."""

    proof: Proof


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
    | Ask
    | Evidence
)


@dataclass(frozen=True, slots=True)
class Envelope:
    """A message with its session and sender."""

    session: str
    sender: PeerId
    incarnation: str
    address: str
    """The address on which the sender listens."""
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
    """Request for a part of a committed model."""

    session: str
    sender: PeerId
    digest: str
    part: int = 0
    """Index of the part, from 0."""
    parts: int = 1
    """Number of parts; they are the slices of a round with this number of members."""
    records: bool = False
    """Whether the records up to the one whose hash is ``digest`` are wanted, not a model."""
    after: str = ""
    """With ``records``: hash of a record that the sender has; only later ones are wanted, if it is among them."""


@dataclass(frozen=True, slots=True)
class DataChannelRequest:
    """Request to open a data channel to the receiver."""

    session: str
    sender: PeerId
    incarnation: str


@dataclass(frozen=True, slots=True)
class DataChannelOffer:
    """Answer to :class:`DataChannelRequest`: the port and the token for a data channel."""

    port: int
    """On the host that received the request."""
    token: bytes
    """Valid for one connection within a short time."""


@dataclass(frozen=True, slots=True)
class DialBackRequest:
    """Asks a peer that cannot be reached to open a data channel to the sender, which then sends on it."""

    request: DataChannelRequest
    """Of whoever will send on it."""
    offer: DataChannelOffer


@dataclass(frozen=True, slots=True)
class ReachRequest:
    """Asks whether the receiver can connect to the sender."""

    address: str
    """Under which the sender tells others that it listens."""
    nonce: bytes
    """By which the receiver recognises the sender at that address."""


@dataclass(frozen=True, slots=True)
class ReachAnswer:
    """Answer to :class:`ReachRequest`, and to :class:`ReachDataRequest`."""

    name: str
    """Of the peer that answers; empty where it has no identity."""
    reason: str
    """Why it cannot connect to the one that asked; empty where it can."""


@dataclass(frozen=True, slots=True)
class ReachDataRequest:
    """Asks whether the receiver can open a data channel to the sender."""

    address: str
    """Under which the sender tells others that it listens; the data port is on the same host."""
    offer: DataChannelOffer
    """The port, and the token that the receiver shows there."""
