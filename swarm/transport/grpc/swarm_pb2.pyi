from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Versions(_message.Message):
    __slots__ = ("newest", "oldest", "release")
    NEWEST_FIELD_NUMBER: _ClassVar[int]
    OLDEST_FIELD_NUMBER: _ClassVar[int]
    RELEASE_FIELD_NUMBER: _ClassVar[int]
    newest: int
    oldest: int
    release: str
    def __init__(self, newest: _Optional[int] = ..., oldest: _Optional[int] = ..., release: _Optional[str] = ...) -> None: ...

class Setting(_message.Message):
    __slots__ = ("name", "value", "versions")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    VERSIONS_FIELD_NUMBER: _ClassVar[int]
    name: str
    value: str
    versions: Versions
    def __init__(self, name: _Optional[str] = ..., value: _Optional[str] = ..., versions: _Optional[_Union[Versions, _Mapping]] = ...) -> None: ...

class PeerInfo(_message.Message):
    __slots__ = ("name", "incarnation", "address", "session", "fingerprint", "settings", "weight", "expects", "versions", "ranks")
    NAME_FIELD_NUMBER: _ClassVar[int]
    INCARNATION_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    SESSION_FIELD_NUMBER: _ClassVar[int]
    FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    SETTINGS_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    EXPECTS_FIELD_NUMBER: _ClassVar[int]
    VERSIONS_FIELD_NUMBER: _ClassVar[int]
    RANKS_FIELD_NUMBER: _ClassVar[int]
    name: str
    incarnation: str
    address: str
    session: str
    fingerprint: str
    settings: _containers.RepeatedCompositeFieldContainer[Setting]
    weight: int
    expects: int
    versions: Versions
    ranks: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, name: _Optional[str] = ..., incarnation: _Optional[str] = ..., address: _Optional[str] = ..., session: _Optional[str] = ..., fingerprint: _Optional[str] = ..., settings: _Optional[_Iterable[_Union[Setting, _Mapping]]] = ..., weight: _Optional[int] = ..., expects: _Optional[int] = ..., versions: _Optional[_Union[Versions, _Mapping]] = ..., ranks: _Optional[_Iterable[str]] = ...) -> None: ...

class ContributionStats(_message.Message):
    __slots__ = ("peer", "round", "weight", "status", "steps", "finite", "delta_norm", "signal", "residual", "nan_state", "moments", "root", "score", "own_score", "best_score", "stop")
    PEER_FIELD_NUMBER: _ClassVar[int]
    ROUND_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    STEPS_FIELD_NUMBER: _ClassVar[int]
    FINITE_FIELD_NUMBER: _ClassVar[int]
    DELTA_NORM_FIELD_NUMBER: _ClassVar[int]
    SIGNAL_FIELD_NUMBER: _ClassVar[int]
    RESIDUAL_FIELD_NUMBER: _ClassVar[int]
    NAN_STATE_FIELD_NUMBER: _ClassVar[int]
    MOMENTS_FIELD_NUMBER: _ClassVar[int]
    ROOT_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    OWN_SCORE_FIELD_NUMBER: _ClassVar[int]
    BEST_SCORE_FIELD_NUMBER: _ClassVar[int]
    STOP_FIELD_NUMBER: _ClassVar[int]
    peer: str
    round: int
    weight: int
    status: str
    steps: int
    finite: bool
    delta_norm: float
    signal: float
    residual: float
    nan_state: bool
    moments: bool
    root: str
    score: float
    own_score: float
    best_score: float
    stop: bool
    def __init__(self, peer: _Optional[str] = ..., round: _Optional[int] = ..., weight: _Optional[int] = ..., status: _Optional[str] = ..., steps: _Optional[int] = ..., finite: bool = ..., delta_norm: _Optional[float] = ..., signal: _Optional[float] = ..., residual: _Optional[float] = ..., nan_state: bool = ..., moments: bool = ..., root: _Optional[str] = ..., score: _Optional[float] = ..., own_score: _Optional[float] = ..., best_score: _Optional[float] = ..., stop: bool = ...) -> None: ...

class Attempt(_message.Message):
    __slots__ = ("counter", "leader")
    COUNTER_FIELD_NUMBER: _ClassVar[int]
    LEADER_FIELD_NUMBER: _ClassVar[int]
    counter: int
    leader: str
    def __init__(self, counter: _Optional[int] = ..., leader: _Optional[str] = ...) -> None: ...

class SyncState(_message.Message):
    __slots__ = ("interval", "reference")
    INTERVAL_FIELD_NUMBER: _ClassVar[int]
    REFERENCE_FIELD_NUMBER: _ClassVar[int]
    interval: int
    reference: float
    def __init__(self, interval: _Optional[int] = ..., reference: _Optional[float] = ...) -> None: ...

class Credential(_message.Message):
    __slots__ = ("peer", "key", "certificate", "proof")
    PEER_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    CERTIFICATE_FIELD_NUMBER: _ClassVar[int]
    PROOF_FIELD_NUMBER: _ClassVar[int]
    peer: str
    key: str
    certificate: str
    proof: str
    def __init__(self, peer: _Optional[str] = ..., key: _Optional[str] = ..., certificate: _Optional[str] = ..., proof: _Optional[str] = ...) -> None: ...

class Signature(_message.Message):
    __slots__ = ("peer", "value")
    PEER_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    peer: str
    value: str
    def __init__(self, peer: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...

class SignedPromise(_message.Message):
    __slots__ = ("peer", "accepted", "record", "value")
    PEER_FIELD_NUMBER: _ClassVar[int]
    ACCEPTED_FIELD_NUMBER: _ClassVar[int]
    RECORD_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    peer: str
    accepted: Attempt
    record: str
    value: str
    def __init__(self, peer: _Optional[str] = ..., accepted: _Optional[_Union[Attempt, _Mapping]] = ..., record: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...

class QuorumCertificate(_message.Message):
    __slots__ = ("attempt", "signatures", "promises")
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    SIGNATURES_FIELD_NUMBER: _ClassVar[int]
    PROMISES_FIELD_NUMBER: _ClassVar[int]
    attempt: Attempt
    signatures: _containers.RepeatedCompositeFieldContainer[Signature]
    promises: _containers.RepeatedCompositeFieldContainer[SignedPromise]
    def __init__(self, attempt: _Optional[_Union[Attempt, _Mapping]] = ..., signatures: _Optional[_Iterable[_Union[Signature, _Mapping]]] = ..., promises: _Optional[_Iterable[_Union[SignedPromise, _Mapping]]] = ...) -> None: ...

class Carried(_message.Message):
    __slots__ = ("attempt", "promises")
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    PROMISES_FIELD_NUMBER: _ClassVar[int]
    attempt: Attempt
    promises: _containers.RepeatedCompositeFieldContainer[SignedPromise]
    def __init__(self, attempt: _Optional[_Union[Attempt, _Mapping]] = ..., promises: _Optional[_Iterable[_Union[SignedPromise, _Mapping]]] = ...) -> None: ...

class Readiness(_message.Message):
    __slots__ = ("attempt", "signatures", "carried")
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    SIGNATURES_FIELD_NUMBER: _ClassVar[int]
    CARRIED_FIELD_NUMBER: _ClassVar[int]
    attempt: Attempt
    signatures: _containers.RepeatedCompositeFieldContainer[Signature]
    carried: _containers.RepeatedCompositeFieldContainer[Carried]
    def __init__(self, attempt: _Optional[_Union[Attempt, _Mapping]] = ..., signatures: _Optional[_Iterable[_Union[Signature, _Mapping]]] = ..., carried: _Optional[_Iterable[_Union[Carried, _Mapping]]] = ...) -> None: ...

class Origin(_message.Message):
    __slots__ = ("lineage", "round", "majority")
    LINEAGE_FIELD_NUMBER: _ClassVar[int]
    ROUND_FIELD_NUMBER: _ClassVar[int]
    MAJORITY_FIELD_NUMBER: _ClassVar[int]
    lineage: str
    round: int
    majority: bool
    def __init__(self, lineage: _Optional[str] = ..., round: _Optional[int] = ..., majority: bool = ...) -> None: ...

class Refusal(_message.Message):
    __slots__ = ("peer", "reason")
    PEER_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    peer: str
    reason: str
    def __init__(self, peer: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class Proof(_message.Message):
    __slots__ = ("peer", "key", "lineage", "round", "attempt", "record", "signature", "other_attempt", "other_record", "other_accepted", "other_signature")
    PEER_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    LINEAGE_FIELD_NUMBER: _ClassVar[int]
    ROUND_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    RECORD_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    OTHER_ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    OTHER_RECORD_FIELD_NUMBER: _ClassVar[int]
    OTHER_ACCEPTED_FIELD_NUMBER: _ClassVar[int]
    OTHER_SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    peer: str
    key: str
    lineage: str
    round: int
    attempt: Attempt
    record: str
    signature: str
    other_attempt: Attempt
    other_record: str
    other_accepted: Attempt
    other_signature: str
    def __init__(self, peer: _Optional[str] = ..., key: _Optional[str] = ..., lineage: _Optional[str] = ..., round: _Optional[int] = ..., attempt: _Optional[_Union[Attempt, _Mapping]] = ..., record: _Optional[str] = ..., signature: _Optional[str] = ..., other_attempt: _Optional[_Union[Attempt, _Mapping]] = ..., other_record: _Optional[str] = ..., other_accepted: _Optional[_Union[Attempt, _Mapping]] = ..., other_signature: _Optional[str] = ...) -> None: ...

class Best(_message.Message):
    __slots__ = ("round", "digest", "score", "since", "stop")
    ROUND_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    SINCE_FIELD_NUMBER: _ClassVar[int]
    STOP_FIELD_NUMBER: _ClassVar[int]
    round: int
    digest: str
    score: float
    since: int
    stop: bool
    def __init__(self, round: _Optional[int] = ..., digest: _Optional[str] = ..., score: _Optional[float] = ..., since: _Optional[int] = ..., stop: bool = ...) -> None: ...

class Commit(_message.Message):
    __slots__ = ("lineage", "round", "digest", "members", "group", "contributors", "sync", "closing", "done", "kind", "previous", "keys", "weights", "rule", "codec", "settings", "refused", "credentials", "proofs", "origins", "certificate", "best", "stop")
    LINEAGE_FIELD_NUMBER: _ClassVar[int]
    ROUND_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    MEMBERS_FIELD_NUMBER: _ClassVar[int]
    GROUP_FIELD_NUMBER: _ClassVar[int]
    CONTRIBUTORS_FIELD_NUMBER: _ClassVar[int]
    SYNC_FIELD_NUMBER: _ClassVar[int]
    CLOSING_FIELD_NUMBER: _ClassVar[int]
    DONE_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    PREVIOUS_FIELD_NUMBER: _ClassVar[int]
    KEYS_FIELD_NUMBER: _ClassVar[int]
    WEIGHTS_FIELD_NUMBER: _ClassVar[int]
    RULE_FIELD_NUMBER: _ClassVar[int]
    CODEC_FIELD_NUMBER: _ClassVar[int]
    SETTINGS_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    CREDENTIALS_FIELD_NUMBER: _ClassVar[int]
    PROOFS_FIELD_NUMBER: _ClassVar[int]
    ORIGINS_FIELD_NUMBER: _ClassVar[int]
    CERTIFICATE_FIELD_NUMBER: _ClassVar[int]
    BEST_FIELD_NUMBER: _ClassVar[int]
    STOP_FIELD_NUMBER: _ClassVar[int]
    lineage: str
    round: int
    digest: str
    members: _containers.RepeatedScalarFieldContainer[str]
    group: _containers.RepeatedScalarFieldContainer[str]
    contributors: _containers.RepeatedScalarFieldContainer[str]
    sync: SyncState
    closing: bool
    done: bool
    kind: str
    previous: str
    keys: _containers.RepeatedScalarFieldContainer[str]
    weights: _containers.RepeatedScalarFieldContainer[int]
    rule: str
    codec: str
    settings: str
    refused: _containers.RepeatedCompositeFieldContainer[Refusal]
    credentials: _containers.RepeatedCompositeFieldContainer[Credential]
    proofs: _containers.RepeatedCompositeFieldContainer[Proof]
    origins: _containers.RepeatedCompositeFieldContainer[Origin]
    certificate: QuorumCertificate
    best: Best
    stop: bool
    def __init__(self, lineage: _Optional[str] = ..., round: _Optional[int] = ..., digest: _Optional[str] = ..., members: _Optional[_Iterable[str]] = ..., group: _Optional[_Iterable[str]] = ..., contributors: _Optional[_Iterable[str]] = ..., sync: _Optional[_Union[SyncState, _Mapping]] = ..., closing: bool = ..., done: bool = ..., kind: _Optional[str] = ..., previous: _Optional[str] = ..., keys: _Optional[_Iterable[str]] = ..., weights: _Optional[_Iterable[int]] = ..., rule: _Optional[str] = ..., codec: _Optional[str] = ..., settings: _Optional[str] = ..., refused: _Optional[_Iterable[_Union[Refusal, _Mapping]]] = ..., credentials: _Optional[_Iterable[_Union[Credential, _Mapping]]] = ..., proofs: _Optional[_Iterable[_Union[Proof, _Mapping]]] = ..., origins: _Optional[_Iterable[_Union[Origin, _Mapping]]] = ..., certificate: _Optional[_Union[QuorumCertificate, _Mapping]] = ..., best: _Optional[_Union[Best, _Mapping]] = ..., stop: bool = ...) -> None: ...

class TensorLine(_message.Message):
    __slots__ = ("name", "shape", "dtype", "kind")
    NAME_FIELD_NUMBER: _ClassVar[int]
    SHAPE_FIELD_NUMBER: _ClassVar[int]
    DTYPE_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    name: str
    shape: _containers.RepeatedScalarFieldContainer[int]
    dtype: str
    kind: str
    def __init__(self, name: _Optional[str] = ..., shape: _Optional[_Iterable[int]] = ..., dtype: _Optional[str] = ..., kind: _Optional[str] = ...) -> None: ...

class Hello(_message.Message):
    __slots__ = ("peer", "schema", "roster", "commit", "wants_reply", "credential")
    PEER_FIELD_NUMBER: _ClassVar[int]
    SCHEMA_FIELD_NUMBER: _ClassVar[int]
    ROSTER_FIELD_NUMBER: _ClassVar[int]
    COMMIT_FIELD_NUMBER: _ClassVar[int]
    WANTS_REPLY_FIELD_NUMBER: _ClassVar[int]
    CREDENTIAL_FIELD_NUMBER: _ClassVar[int]
    peer: PeerInfo
    schema: _containers.RepeatedCompositeFieldContainer[TensorLine]
    roster: _containers.RepeatedCompositeFieldContainer[PeerInfo]
    commit: Commit
    wants_reply: bool
    credential: Credential
    def __init__(self, peer: _Optional[_Union[PeerInfo, _Mapping]] = ..., schema: _Optional[_Iterable[_Union[TensorLine, _Mapping]]] = ..., roster: _Optional[_Iterable[_Union[PeerInfo, _Mapping]]] = ..., commit: _Optional[_Union[Commit, _Mapping]] = ..., wants_reply: bool = ..., credential: _Optional[_Union[Credential, _Mapping]] = ...) -> None: ...

class Refuse(_message.Message):
    __slots__ = ("reason", "final", "about_name")
    REASON_FIELD_NUMBER: _ClassVar[int]
    FINAL_FIELD_NUMBER: _ClassVar[int]
    ABOUT_NAME_FIELD_NUMBER: _ClassVar[int]
    reason: str
    final: bool
    about_name: bool
    def __init__(self, reason: _Optional[str] = ..., final: bool = ..., about_name: bool = ...) -> None: ...

class Leave(_message.Message):
    __slots__ = ("reason", "unintended")
    REASON_FIELD_NUMBER: _ClassVar[int]
    UNINTENDED_FIELD_NUMBER: _ClassVar[int]
    reason: str
    unintended: bool
    def __init__(self, reason: _Optional[str] = ..., unintended: bool = ...) -> None: ...

class Farewell(_message.Message):
    __slots__ = ("lineage", "round")
    LINEAGE_FIELD_NUMBER: _ClassVar[int]
    ROUND_FIELD_NUMBER: _ClassVar[int]
    lineage: str
    round: int
    def __init__(self, lineage: _Optional[str] = ..., round: _Optional[int] = ...) -> None: ...

class Offer(_message.Message):
    __slots__ = ("lineage", "parent", "stats", "votes", "previous", "gone", "key", "signature")
    LINEAGE_FIELD_NUMBER: _ClassVar[int]
    PARENT_FIELD_NUMBER: _ClassVar[int]
    STATS_FIELD_NUMBER: _ClassVar[int]
    VOTES_FIELD_NUMBER: _ClassVar[int]
    PREVIOUS_FIELD_NUMBER: _ClassVar[int]
    GONE_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    lineage: str
    parent: str
    stats: ContributionStats
    votes: bool
    previous: str
    gone: _containers.RepeatedScalarFieldContainer[str]
    key: str
    signature: str
    def __init__(self, lineage: _Optional[str] = ..., parent: _Optional[str] = ..., stats: _Optional[_Union[ContributionStats, _Mapping]] = ..., votes: bool = ..., previous: _Optional[str] = ..., gone: _Optional[_Iterable[str]] = ..., key: _Optional[str] = ..., signature: _Optional[str] = ...) -> None: ...

class Withdraw(_message.Message):
    __slots__ = ("lineage", "round")
    LINEAGE_FIELD_NUMBER: _ClassVar[int]
    ROUND_FIELD_NUMBER: _ClassVar[int]
    lineage: str
    round: int
    def __init__(self, lineage: _Optional[str] = ..., round: _Optional[int] = ...) -> None: ...

class Entry(_message.Message):
    __slots__ = ("peer", "weight", "status", "norm", "residual", "steps", "moments")
    PEER_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    NORM_FIELD_NUMBER: _ClassVar[int]
    RESIDUAL_FIELD_NUMBER: _ClassVar[int]
    STEPS_FIELD_NUMBER: _ClassVar[int]
    MOMENTS_FIELD_NUMBER: _ClassVar[int]
    peer: str
    weight: int
    status: str
    norm: float
    residual: float
    steps: int
    moments: bool
    def __init__(self, peer: _Optional[str] = ..., weight: _Optional[int] = ..., status: _Optional[str] = ..., norm: _Optional[float] = ..., residual: _Optional[float] = ..., steps: _Optional[int] = ..., moments: bool = ...) -> None: ...

class Proposal(_message.Message):
    __slots__ = ("lineage", "round", "attempt", "parent", "voters", "members", "entries", "sync", "closing", "codec", "protocol", "done", "kind", "previous", "keys", "rule", "settings", "refused", "credentials", "proofs", "origins", "offers", "promises", "best", "stop")
    LINEAGE_FIELD_NUMBER: _ClassVar[int]
    ROUND_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    PARENT_FIELD_NUMBER: _ClassVar[int]
    VOTERS_FIELD_NUMBER: _ClassVar[int]
    MEMBERS_FIELD_NUMBER: _ClassVar[int]
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    SYNC_FIELD_NUMBER: _ClassVar[int]
    CLOSING_FIELD_NUMBER: _ClassVar[int]
    CODEC_FIELD_NUMBER: _ClassVar[int]
    PROTOCOL_FIELD_NUMBER: _ClassVar[int]
    DONE_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    PREVIOUS_FIELD_NUMBER: _ClassVar[int]
    KEYS_FIELD_NUMBER: _ClassVar[int]
    RULE_FIELD_NUMBER: _ClassVar[int]
    SETTINGS_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    CREDENTIALS_FIELD_NUMBER: _ClassVar[int]
    PROOFS_FIELD_NUMBER: _ClassVar[int]
    ORIGINS_FIELD_NUMBER: _ClassVar[int]
    OFFERS_FIELD_NUMBER: _ClassVar[int]
    PROMISES_FIELD_NUMBER: _ClassVar[int]
    BEST_FIELD_NUMBER: _ClassVar[int]
    STOP_FIELD_NUMBER: _ClassVar[int]
    lineage: str
    round: int
    attempt: Attempt
    parent: str
    voters: _containers.RepeatedScalarFieldContainer[str]
    members: _containers.RepeatedScalarFieldContainer[str]
    entries: _containers.RepeatedCompositeFieldContainer[Entry]
    sync: SyncState
    closing: bool
    codec: str
    protocol: int
    done: bool
    kind: str
    previous: str
    keys: _containers.RepeatedScalarFieldContainer[str]
    rule: str
    settings: str
    refused: _containers.RepeatedCompositeFieldContainer[Refusal]
    credentials: _containers.RepeatedCompositeFieldContainer[Credential]
    proofs: _containers.RepeatedCompositeFieldContainer[Proof]
    origins: _containers.RepeatedCompositeFieldContainer[Origin]
    offers: _containers.RepeatedCompositeFieldContainer[Offer]
    promises: _containers.RepeatedCompositeFieldContainer[SignedPromise]
    best: Best
    stop: bool
    def __init__(self, lineage: _Optional[str] = ..., round: _Optional[int] = ..., attempt: _Optional[_Union[Attempt, _Mapping]] = ..., parent: _Optional[str] = ..., voters: _Optional[_Iterable[str]] = ..., members: _Optional[_Iterable[str]] = ..., entries: _Optional[_Iterable[_Union[Entry, _Mapping]]] = ..., sync: _Optional[_Union[SyncState, _Mapping]] = ..., closing: bool = ..., codec: _Optional[str] = ..., protocol: _Optional[int] = ..., done: bool = ..., kind: _Optional[str] = ..., previous: _Optional[str] = ..., keys: _Optional[_Iterable[str]] = ..., rule: _Optional[str] = ..., settings: _Optional[str] = ..., refused: _Optional[_Iterable[_Union[Refusal, _Mapping]]] = ..., credentials: _Optional[_Iterable[_Union[Credential, _Mapping]]] = ..., proofs: _Optional[_Iterable[_Union[Proof, _Mapping]]] = ..., origins: _Optional[_Iterable[_Union[Origin, _Mapping]]] = ..., offers: _Optional[_Iterable[_Union[Offer, _Mapping]]] = ..., promises: _Optional[_Iterable[_Union[SignedPromise, _Mapping]]] = ..., best: _Optional[_Union[Best, _Mapping]] = ..., stop: bool = ...) -> None: ...

class Propose(_message.Message):
    __slots__ = ("proposal",)
    PROPOSAL_FIELD_NUMBER: _ClassVar[int]
    proposal: Proposal
    def __init__(self, proposal: _Optional[_Union[Proposal, _Mapping]] = ...) -> None: ...

class Prepare(_message.Message):
    __slots__ = ("lineage", "round", "attempt", "signature")
    LINEAGE_FIELD_NUMBER: _ClassVar[int]
    ROUND_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    lineage: str
    round: int
    attempt: Attempt
    signature: str
    def __init__(self, lineage: _Optional[str] = ..., round: _Optional[int] = ..., attempt: _Optional[_Union[Attempt, _Mapping]] = ..., signature: _Optional[str] = ...) -> None: ...

class Promise(_message.Message):
    __slots__ = ("lineage", "round", "attempt", "accepted", "digest", "ready", "signature")
    LINEAGE_FIELD_NUMBER: _ClassVar[int]
    ROUND_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    ACCEPTED_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    READY_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    lineage: str
    round: int
    attempt: Attempt
    accepted: Proposal
    digest: str
    ready: Readiness
    signature: str
    def __init__(self, lineage: _Optional[str] = ..., round: _Optional[int] = ..., attempt: _Optional[_Union[Attempt, _Mapping]] = ..., accepted: _Optional[_Union[Proposal, _Mapping]] = ..., digest: _Optional[str] = ..., ready: _Optional[_Union[Readiness, _Mapping]] = ..., signature: _Optional[str] = ...) -> None: ...

class PartialNorm(_message.Message):
    __slots__ = ("peer", "squared")
    PEER_FIELD_NUMBER: _ClassVar[int]
    SQUARED_FIELD_NUMBER: _ClassVar[int]
    peer: str
    squared: float
    def __init__(self, peer: _Optional[str] = ..., squared: _Optional[float] = ...) -> None: ...

class Ready(_message.Message):
    __slots__ = ("lineage", "round", "attempt", "digest", "norms", "signature", "slices")
    LINEAGE_FIELD_NUMBER: _ClassVar[int]
    ROUND_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    NORMS_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    SLICES_FIELD_NUMBER: _ClassVar[int]
    lineage: str
    round: int
    attempt: Attempt
    digest: str
    norms: _containers.RepeatedCompositeFieldContainer[PartialNorm]
    signature: str
    slices: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, lineage: _Optional[str] = ..., round: _Optional[int] = ..., attempt: _Optional[_Union[Attempt, _Mapping]] = ..., digest: _Optional[str] = ..., norms: _Optional[_Iterable[_Union[PartialNorm, _Mapping]]] = ..., signature: _Optional[str] = ..., slices: _Optional[_Iterable[str]] = ...) -> None: ...

class Failed(_message.Message):
    __slots__ = ("lineage", "round", "attempt", "blamed", "reason", "rejects")
    LINEAGE_FIELD_NUMBER: _ClassVar[int]
    ROUND_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    BLAMED_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    REJECTS_FIELD_NUMBER: _ClassVar[int]
    lineage: str
    round: int
    attempt: Attempt
    blamed: str
    reason: str
    rejects: bool
    def __init__(self, lineage: _Optional[str] = ..., round: _Optional[int] = ..., attempt: _Optional[_Union[Attempt, _Mapping]] = ..., blamed: _Optional[str] = ..., reason: _Optional[str] = ..., rejects: bool = ...) -> None: ...

class Abort(_message.Message):
    __slots__ = ("lineage", "round", "attempt", "reason")
    LINEAGE_FIELD_NUMBER: _ClassVar[int]
    ROUND_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    lineage: str
    round: int
    attempt: Attempt
    reason: str
    def __init__(self, lineage: _Optional[str] = ..., round: _Optional[int] = ..., attempt: _Optional[_Union[Attempt, _Mapping]] = ..., reason: _Optional[str] = ...) -> None: ...

class Accept(_message.Message):
    __slots__ = ("proposal", "digest", "ready")
    PROPOSAL_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    READY_FIELD_NUMBER: _ClassVar[int]
    proposal: Proposal
    digest: str
    ready: Readiness
    def __init__(self, proposal: _Optional[_Union[Proposal, _Mapping]] = ..., digest: _Optional[str] = ..., ready: _Optional[_Union[Readiness, _Mapping]] = ...) -> None: ...

class Accepted(_message.Message):
    __slots__ = ("lineage", "round", "attempt", "signature")
    LINEAGE_FIELD_NUMBER: _ClassVar[int]
    ROUND_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    lineage: str
    round: int
    attempt: Attempt
    signature: str
    def __init__(self, lineage: _Optional[str] = ..., round: _Optional[int] = ..., attempt: _Optional[_Union[Attempt, _Mapping]] = ..., signature: _Optional[str] = ...) -> None: ...

class Nack(_message.Message):
    __slots__ = ("lineage", "round", "attempt", "promised", "signature")
    LINEAGE_FIELD_NUMBER: _ClassVar[int]
    ROUND_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    PROMISED_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    lineage: str
    round: int
    attempt: Attempt
    promised: Attempt
    signature: str
    def __init__(self, lineage: _Optional[str] = ..., round: _Optional[int] = ..., attempt: _Optional[_Union[Attempt, _Mapping]] = ..., promised: _Optional[_Union[Attempt, _Mapping]] = ..., signature: _Optional[str] = ...) -> None: ...

class Decide(_message.Message):
    __slots__ = ("commit",)
    COMMIT_FIELD_NUMBER: _ClassVar[int]
    commit: Commit
    def __init__(self, commit: _Optional[_Union[Commit, _Mapping]] = ...) -> None: ...

class Ask(_message.Message):
    __slots__ = ("lineage", "round")
    LINEAGE_FIELD_NUMBER: _ClassVar[int]
    ROUND_FIELD_NUMBER: _ClassVar[int]
    lineage: str
    round: int
    def __init__(self, lineage: _Optional[str] = ..., round: _Optional[int] = ...) -> None: ...

class Evidence(_message.Message):
    __slots__ = ("proof",)
    PROOF_FIELD_NUMBER: _ClassVar[int]
    proof: Proof
    def __init__(self, proof: _Optional[_Union[Proof, _Mapping]] = ...) -> None: ...

class Envelope(_message.Message):
    __slots__ = ("session", "sender", "incarnation", "address", "hello", "refuse", "leave", "farewell", "offer", "withdraw", "propose", "prepare", "promise", "ready", "failed", "abort", "accept", "accepted", "nack", "decide", "ask", "evidence")
    SESSION_FIELD_NUMBER: _ClassVar[int]
    SENDER_FIELD_NUMBER: _ClassVar[int]
    INCARNATION_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    HELLO_FIELD_NUMBER: _ClassVar[int]
    REFUSE_FIELD_NUMBER: _ClassVar[int]
    LEAVE_FIELD_NUMBER: _ClassVar[int]
    FAREWELL_FIELD_NUMBER: _ClassVar[int]
    OFFER_FIELD_NUMBER: _ClassVar[int]
    WITHDRAW_FIELD_NUMBER: _ClassVar[int]
    PROPOSE_FIELD_NUMBER: _ClassVar[int]
    PREPARE_FIELD_NUMBER: _ClassVar[int]
    PROMISE_FIELD_NUMBER: _ClassVar[int]
    READY_FIELD_NUMBER: _ClassVar[int]
    FAILED_FIELD_NUMBER: _ClassVar[int]
    ABORT_FIELD_NUMBER: _ClassVar[int]
    ACCEPT_FIELD_NUMBER: _ClassVar[int]
    ACCEPTED_FIELD_NUMBER: _ClassVar[int]
    NACK_FIELD_NUMBER: _ClassVar[int]
    DECIDE_FIELD_NUMBER: _ClassVar[int]
    ASK_FIELD_NUMBER: _ClassVar[int]
    EVIDENCE_FIELD_NUMBER: _ClassVar[int]
    session: str
    sender: str
    incarnation: str
    address: str
    hello: Hello
    refuse: Refuse
    leave: Leave
    farewell: Farewell
    offer: Offer
    withdraw: Withdraw
    propose: Propose
    prepare: Prepare
    promise: Promise
    ready: Ready
    failed: Failed
    abort: Abort
    accept: Accept
    accepted: Accepted
    nack: Nack
    decide: Decide
    ask: Ask
    evidence: Evidence
    def __init__(self, session: _Optional[str] = ..., sender: _Optional[str] = ..., incarnation: _Optional[str] = ..., address: _Optional[str] = ..., hello: _Optional[_Union[Hello, _Mapping]] = ..., refuse: _Optional[_Union[Refuse, _Mapping]] = ..., leave: _Optional[_Union[Leave, _Mapping]] = ..., farewell: _Optional[_Union[Farewell, _Mapping]] = ..., offer: _Optional[_Union[Offer, _Mapping]] = ..., withdraw: _Optional[_Union[Withdraw, _Mapping]] = ..., propose: _Optional[_Union[Propose, _Mapping]] = ..., prepare: _Optional[_Union[Prepare, _Mapping]] = ..., promise: _Optional[_Union[Promise, _Mapping]] = ..., ready: _Optional[_Union[Ready, _Mapping]] = ..., failed: _Optional[_Union[Failed, _Mapping]] = ..., abort: _Optional[_Union[Abort, _Mapping]] = ..., accept: _Optional[_Union[Accept, _Mapping]] = ..., accepted: _Optional[_Union[Accepted, _Mapping]] = ..., nack: _Optional[_Union[Nack, _Mapping]] = ..., decide: _Optional[_Union[Decide, _Mapping]] = ..., ask: _Optional[_Union[Ask, _Mapping]] = ..., evidence: _Optional[_Union[Evidence, _Mapping]] = ...) -> None: ...

class StreamHeader(_message.Message):
    __slots__ = ("session", "sender", "incarnation", "lineage", "round", "attempt")
    SESSION_FIELD_NUMBER: _ClassVar[int]
    SENDER_FIELD_NUMBER: _ClassVar[int]
    INCARNATION_FIELD_NUMBER: _ClassVar[int]
    LINEAGE_FIELD_NUMBER: _ClassVar[int]
    ROUND_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    session: str
    sender: str
    incarnation: str
    lineage: str
    round: int
    attempt: Attempt
    def __init__(self, session: _Optional[str] = ..., sender: _Optional[str] = ..., incarnation: _Optional[str] = ..., lineage: _Optional[str] = ..., round: _Optional[int] = ..., attempt: _Optional[_Union[Attempt, _Mapping]] = ...) -> None: ...

class FetchRequest(_message.Message):
    __slots__ = ("session", "sender", "digest", "part", "parts", "records", "after")
    SESSION_FIELD_NUMBER: _ClassVar[int]
    SENDER_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    PART_FIELD_NUMBER: _ClassVar[int]
    PARTS_FIELD_NUMBER: _ClassVar[int]
    RECORDS_FIELD_NUMBER: _ClassVar[int]
    AFTER_FIELD_NUMBER: _ClassVar[int]
    session: str
    sender: str
    digest: str
    part: int
    parts: int
    records: bool
    after: str
    def __init__(self, session: _Optional[str] = ..., sender: _Optional[str] = ..., digest: _Optional[str] = ..., part: _Optional[int] = ..., parts: _Optional[int] = ..., records: bool = ..., after: _Optional[str] = ...) -> None: ...

class DataChannelRequest(_message.Message):
    __slots__ = ("session", "sender", "incarnation")
    SESSION_FIELD_NUMBER: _ClassVar[int]
    SENDER_FIELD_NUMBER: _ClassVar[int]
    INCARNATION_FIELD_NUMBER: _ClassVar[int]
    session: str
    sender: str
    incarnation: str
    def __init__(self, session: _Optional[str] = ..., sender: _Optional[str] = ..., incarnation: _Optional[str] = ...) -> None: ...

class DataChannelOffer(_message.Message):
    __slots__ = ("port", "token")
    PORT_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    port: int
    token: bytes
    def __init__(self, port: _Optional[int] = ..., token: _Optional[bytes] = ...) -> None: ...

class ReachRequest(_message.Message):
    __slots__ = ("address", "nonce")
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    NONCE_FIELD_NUMBER: _ClassVar[int]
    address: str
    nonce: bytes
    def __init__(self, address: _Optional[str] = ..., nonce: _Optional[bytes] = ...) -> None: ...

class ReachAnswer(_message.Message):
    __slots__ = ("name", "reason")
    NAME_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    name: str
    reason: str
    def __init__(self, name: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class ReachDataRequest(_message.Message):
    __slots__ = ("address", "offer")
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    OFFER_FIELD_NUMBER: _ClassVar[int]
    address: str
    offer: DataChannelOffer
    def __init__(self, address: _Optional[str] = ..., offer: _Optional[_Union[DataChannelOffer, _Mapping]] = ...) -> None: ...

class DialBackRequest(_message.Message):
    __slots__ = ("request", "offer")
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    OFFER_FIELD_NUMBER: _ClassVar[int]
    request: DataChannelRequest
    offer: DataChannelOffer
    def __init__(self, request: _Optional[_Union[DataChannelRequest, _Mapping]] = ..., offer: _Optional[_Union[DataChannelOffer, _Mapping]] = ...) -> None: ...
