"""Small frozen types that several rooms share: peers, contributions, committed rounds, reports and events."""

from __future__ import annotations

import enum
import secrets
import time
from dataclasses import dataclass, field
from pathlib import Path

from swarm.former import accepts_former_names
from swarm.versions import Versions

PeerId = str
"""A peer's name; unique within a session."""
LONGEST_INTERVAL = 2**31 - 1
"""The largest number of batches between two merges."""
MAX_WEIGHT = 100
"""The largest weight of a peer, ``node_weightage``; the least is 0."""
MAX_SAMPLES = 10**9
"""The largest number of samples that a peer may declare as its weight."""
MAX_LIARS = 341
"""The largest number of members that may lie: of the most peers, a third."""
MAX_ORIGINS = 64
"""Lineages that one comes from, at most, as a record tells them: of more, the oldest ones after the first are one."""
MAX_RANKS = 512
"""Processes of a site that exchange shards, without rank 0."""
MAX_SETTING = 4096
"""Characters of the value of a setting, as peers tell it one another."""
LEFT_OUT = "left out"
"""Marks, in the metadata of a field, that None is not written: what has no value there keeps the text that it had."""


class PeerStatus(enum.StrEnum):
    """The state of a peer's training."""

    TRAINING = "training"
    EXTENDED = "extended"
    """Has trained its own epochs, and trains on until every live peer has."""
    INACTIVE = "inactive"
    """Finished, contributes nothing."""
    SNAPSHOT = "snapshot"
    """Finished, contributes the weights it stopped with."""
    ACTIVE = "active"
    """Finished, contributes each merged model again."""

    @property
    def finished(self) -> bool:
        """Whether local training is over."""
        return self not in {PeerStatus.TRAINING, PeerStatus.EXTENDED}


def new_incarnation() -> str:
    """A new incarnation: milliseconds since 1970, then random digits."""
    return f"{time.time_ns() // 1_000_000:012x}{secrets.token_hex(6)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Resumed:
    """How much of its training a peer had done when its newest checkpoint was written; False if it resumes none."""

    round: int | None = None
    """The round of the model that the run goes on from; None if it resumes none."""
    epochs: int = 0
    """Epochs that were complete."""
    batches: int = 0
    """Batches, in all of its runs."""
    epoch_batches: int = 0
    """Those of them that are of the epoch after the complete ones."""

    def __bool__(self) -> bool:
        """Whether an earlier run is resumed."""
        return self.round is not None


NOT_RESUMED = Resumed()
"""Of a run that begins anew."""


@accepts_former_names
@dataclass(frozen=True, slots=True, kw_only=True)
class PeerInfo:
    """What a peer states about itself on joining; not verified."""

    name: PeerId
    incarnation: str
    """Identifies one start of a peer and so distinguishes a restarted peer from two live peers with one name. It begins
    with the start time, so the smaller of two started first."""
    address: str
    session: str
    fingerprint: str = ""
    settings: tuple[tuple[str, str], ...] = ()
    """The settings that must agree, as (name, value)."""
    weight: int = 1
    """Its importance in a merge, 0 to 100, or the number of its samples, up to ``MAX_SAMPLES``."""
    expects: int = 0
    """Expected number of peers, itself included; 0 if unknown."""
    versions: Versions | None = None
    """The versions of the protocol that it speaks; None if it names none, as a peer of protocol 0."""
    ranks: tuple[str, ...] = ()
    """With ``exchange_shards``: the addresses of the other processes of its site, from rank 1 on."""

    @property
    def by_samples(self) -> bool:
        """Whether its weight is the number of its samples."""
        return ("node_weightage", "samples") in self.settings


@accepts_former_names
@dataclass(frozen=True, slots=True, kw_only=True)
class ContributionStats:
    """Statistics of the weights that a peer offers to a round."""

    peer: PeerId
    round: int
    weight: int
    status: PeerStatus = PeerStatus.TRAINING
    steps: int = 0
    """Local batches since its last merge."""
    finite: bool = True
    delta_norm: float = 0.0
    """Euclidean distance of its weights from the last committed model, without the side block."""
    residual: float = 0.0
    """Euclidean norm of the error of earlier rounds, which a codec with error feedback also sends."""
    signal: float | None = None
    """What the sync policy follows, as this peer has it: see ``swarm.sync.Signal``."""
    nan_state: bool = False
    """At the start: whether its module state contains NaN. A swarm prefers to start from another peer's."""
    moments: bool = False
    """With ``optimizer_state="merge"``: whether it trains, and its optimizer has state to merge."""
    root: str = ""
    """Digest of all that it offers, side block and optimizer state included: tells two captures apart."""
    score: float | None = field(default=None, metadata={LEFT_OUT: True})
    """What this peer's validation gives of the last committed model, if it tells that: see ``Best``."""
    own_score: float | None = field(default=None, metadata={LEFT_OUT: True})
    """With ``share_metrics``: of its own model, just before its last merge."""
    best_score: float | None = field(default=None, metadata={LEFT_OUT: True})
    """With ``share_metrics``: of the best model so far."""
    stop: bool | None = field(default=None, metadata={LEFT_OUT: True})
    """True where the operator of its site has asked to end the training of all; else None."""


@dataclass(frozen=True, slots=True, order=True)
class Attempt:
    """One try to complete a round. A peer that has answered an attempt rejects lower ones."""

    counter: int
    leader: PeerId


@accepts_former_names
@dataclass(frozen=True, slots=True)
class SyncState:
    """The state of a sync policy between rounds. It is part of the committed record, so all peers have the same."""

    interval: int
    reference: float | None = None
    """What the policy compares the next signals with."""


@dataclass(frozen=True, slots=True)
class Credential:
    """The key with which one process of a peer signs, and the proof that it is this peer's."""

    peer: PeerId
    key: str
    """The public key (Ed25519), as 64 hexadecimal digits. Each process makes its own."""
    certificate: str = ""
    """The certificate of the peer, DER in base64; empty without an identity."""
    proof: str = ""
    """The signature of the certificate's key over session, peer and key, in base64; empty without an identity."""


@dataclass(frozen=True, slots=True)
class Signature:
    """What one peer has signed."""

    peer: PeerId
    value: str
    """Ed25519, as 128 hexadecimal digits."""


@dataclass(frozen=True, slots=True)
class SignedPromise:
    """The promise of a voter to answer no attempt below a certain one, with what it has accepted before."""

    peer: PeerId
    accepted: Attempt | None
    """The attempt in which it accepted last; None if it has accepted nothing in this round."""
    record: str
    """Hash of the record that it accepted then; empty if there is none."""
    value: str
    """Its signature, as 128 hexadecimal digits."""


@dataclass(frozen=True, slots=True)
class QuorumCertificate:
    """The signatures that make a record true: those of a quorum of voters, who accepted it in one attempt."""

    attempt: Attempt
    signatures: tuple[Signature, ...]
    promises: tuple[SignedPromise, ...] = ()
    """What voters promised to this attempt; empty in the first attempt of a round."""


@dataclass(frozen=True, slots=True)
class Best:
    """The best committed model of a lineage so far, by the scores that the peers gave."""

    round: int
    digest: str
    score: float
    """What its scores came to: of the metric that the setting ``monitor`` names."""
    since: int = 0
    """Committed models with scores after it, of which none was better."""
    stop: bool = False
    """Whether there were ``patience`` of them once: then training ends at all peers."""


class RecordKind(enum.StrEnum):
    """How a record came about, and so who certifies it."""

    ROUND = "round"
    """Certified by a quorum of the membership of the record before it."""
    FOUNDING = "founding"
    """The first of a session. Certified by a majority of its own group, as the others below."""
    FORK = "fork"
    """Of a group that could not reach a majority of the membership."""
    RESTART = "restart"
    """Of a majority of the membership, too many of which have restarted to vote."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a lineage branches off from another one."""

    lineage: str
    """The id of the new lineage."""
    round: int
    """Of its first record."""
    majority: bool
    """Whether its first group had a majority of the membership that it comes from."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A contribution that a round left out."""

    peer: PeerId
    reason: str


@dataclass(frozen=True, slots=True)
class Proof:
    """Two statements of one voter about one round, of which an honest one signs only one."""

    peer: PeerId
    key: str
    lineage: str
    round: int
    attempt: Attempt
    """In which it accepted ``record``."""
    record: str
    signature: str
    other_attempt: Attempt
    """The same one, in which it accepted ``other_record`` too; or a higher one, which it promised to be its first."""
    other_record: str
    """Another hash; in a promise, that of what it said to have accepted before."""
    other_accepted: Attempt | None
    """In a promise, the attempt in which it said to have accepted last."""
    other_signature: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    """The record of a committed round."""

    lineage: str
    round: int
    digest: str
    members: tuple[PeerId, ...]
    """The membership, of which a majority decides the next round."""
    group: tuple[PeerId, ...]
    """The participants."""
    contributors: tuple[PeerId, ...]
    """The members of the group whose weights were merged."""
    sync: SyncState
    closing: bool = False
    done: bool = False
    """Whether every live peer had trained its own epochs: those that trained on for the others stop."""
    kind: RecordKind = RecordKind.ROUND
    previous: str = ""
    """Hash of the record that this one follows; empty in a founding record."""
    keys: tuple[str, ...] = ()
    """The key of each of the members, with which it signs in the next round."""
    weights: tuple[int, ...] = ()
    """The weight of each of the group in the merge."""
    rule: str = ""
    """The merge rule."""
    codec: str = ""
    settings: str = ""
    """SHA-256 of the settings that all peers agree on."""
    refused: tuple[Refusal, ...] = ()
    """Contributions left out."""
    credentials: tuple[Credential, ...] = ()
    """Of the members whose key is not that of the record before."""
    proofs: tuple[Proof, ...] = ()
    """Of members that were removed because they signed two results."""
    origins: tuple[Origin, ...] = ()
    """Of the lineage and of those that it comes from, the first one first."""
    best: Best | None = field(default=None, metadata={LEFT_OUT: True})
    """Of the models before this one, by the scores that were told with the offers to this round; None where peers do
    not keep the best one."""
    stop: bool | None = field(default=None, metadata={LEFT_OUT: True})
    """True once more than half of the members have asked to end the training: it ends at all of them. Else None."""
    certificate: QuorumCertificate | None = field(default=None, compare=False)
    """What makes this record true. Two peers may hold different signatures of the same record."""

    def key_of(self, peer: PeerId) -> str:
        """The key with which a member signs in the next round; empty if it is no member."""
        return next((key for member, key in zip(self.members, self.keys, strict=False) if member == peer), "")


class Outcome(enum.StrEnum):
    """How a sync point ended."""

    MERGED = "merged"
    SKIPPED = "skipped"
    """No quorum, or no contribution: training continued with the local weights."""
    CLOSED = "closed"


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundReport:
    """The result of one sync point at this peer."""

    outcome: Outcome
    round: int
    lineage: str = ""
    """Of the committed round; empty if nothing was committed."""
    digest: str = ""
    """Of the merged model; empty if nothing was committed."""
    group: tuple[PeerId, ...] = ()
    contributors: tuple[PeerId, ...] = ()
    weights: dict[PeerId, int] = field(default_factory=dict)
    """The weight of each contributor in the merge."""
    refused: dict[PeerId, str] = field(default_factory=dict)
    """Peers whose contribution was left out, with the reason."""
    missing: tuple[PeerId, ...] = ()
    """Peers of the last round that did not take part."""
    away: dict[PeerId, int] = field(default_factory=dict)
    """Peers that took part in an earlier round, or are expected, and not in this one, with the first round that went
    without each."""
    steps: dict[PeerId, int] = field(default_factory=dict)
    """Local batches of each contributor since its last merge. Empty if this peer did not take part in the round."""
    seconds: float = 0.0
    """From the sync point to the merged weights in the model."""
    waited: float = 0.0
    """The part of ``seconds`` in which this peer waited for others, until its last exchange of weights began."""
    waited_for: tuple[PeerId, ...] = ()
    """Whom: the peer that came last, or those that the others did not wait for any longer. Empty where none came later
    than this one."""
    exchanged: float = 0.0
    """The part of ``seconds`` from there to the commit. What is left went into copying, loading and validating."""
    stall: float = 0.0
    """The part of ``seconds`` in which training was blocked: all of it without ``overlap``."""
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
    statistics_distance: float | None = None
    """How far the statistics of this site's BatchNorm layers were from the merged ones, in standard deviations of the
    merged ones; that of the layer where it is largest. None without such layers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerJoined:
    """A peer of this session connected for the first time, or came back."""

    peer: PeerInfo
    returned: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerLeft:
    """A peer of this session left or became unreachable."""

    session: str
    peer: PeerId
    reason: str
    polite: bool
    """Whether it sent a goodbye."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionStarted:
    """This peer has joined its session, and its training begins."""

    session: str
    peer: PeerId
    """Its name in the session."""
    round: int = 0
    """Of the committed model that it starts from: 0 in a new session, and where it trains alone."""
    loss: float | None = None
    """Validation loss of that model on this peer's data."""
    metrics: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundStarted:
    """This peer joined the exchange of a round."""

    session: str
    round: int
    attempt: Attempt
    group: tuple[PeerId, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundFinished:
    """A round committed and its model is loaded."""

    session: str
    report: RoundReport
    own_loss: float | None = None
    """Validation loss of this peer's own model just before the merge; None where that was not measured."""
    own_metrics: dict[str, float] = field(default_factory=dict)
    batch_loss: float | None = None
    """Training loss of the last batch before it; None where the loop does not tell it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundFailed:
    """An attempt was aborted, or a sync point passed without a merge; training continues."""

    session: str
    round: int
    reason: str
    report: RoundReport | None = None
    """Of the sync point that passed without a merge; None for an attempt."""


@dataclass(frozen=True, slots=True)
class Participation:
    """The part of one site in a session."""

    rounds: int
    """In whose groups it was, the founding one left out."""
    steps: int
    """Its local batches that were merged, in the rounds that the reporting peer was in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """How good three models are on the data of one site, by the metric that ``monitor`` names; None where unknown."""

    own: float | None = None
    """Its own model just before its last merge."""
    closing: float | None = None
    best: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionClosed:
    """The session is over for this peer."""

    session: str
    rounds: int
    digest: str
    """Digest of the model it ended with; empty where training was aborted."""
    closing: bool
    """Whether the final model is the swarm's closing model."""
    reason: str = ""
    all_rounds: int = 0
    """Rounds of the session, those without this peer included."""
    epochs: int = 0
    """Epochs that this peer has trained; 0 where the loop does not tell them."""
    sites: dict[PeerId, Participation] = field(default_factory=dict)
    """The part of each site; empty where training was aborted, or where this peer trained alone."""
    lineage: str = ""
    """Of the last committed round applied here; empty if there was none."""
    round: int = 0
    """Its number."""
    record: str = ""
    """Hash of its record."""
    records: int | None = None
    """Records in the ledger of this peer on disk; None where it has none."""
    link: str = ""
    """The link of the last of them."""
    directory: Path | None = None
    """Where this run has written its files; None without a model directory."""
    result: Path | None = None
    """The file of the model that this peer ended with; None where none was written."""
    best: Best | None = None
    """The best committed model, if the swarm looked for it."""
    best_file: Path | None = None
    """The file of that model; None where none was written."""
    across: dict[PeerId, Scores] = field(default_factory=dict)
    """With ``share_metrics``: the scores of the sites that share theirs, this one included."""
