"""The settings of the round machine, and the decisions that it leaves to others."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING

from swarm.certification.chain import Verifier
from swarm.certification.keys import ProcessKey, Signer
from swarm.codec.exact import ExactCodec
from swarm.consensus.best import Judge
from swarm.records import ContributionStats, Credential, PeerId, SyncState
from swarm.versions import UNNAMED, Versions

if TYPE_CHECKING:
    from swarm.codec.base import Codec
    from swarm.sync.base import SyncPolicy


@dataclass(frozen=True, kw_only=True)
class RoundRules:
    """Settings of one session, equal on every peer except for the time-outs, which are in seconds."""

    session: str
    min_peers: int
    policy: SyncPolicy
    first_sync: SyncState
    expected: int = 0
    """Peers to expect at the start; 0 where unknown."""
    possible: float = 0
    """The most peers that there may be, as identities tell; infinity where they do not tell, 0 without identities."""
    require_all: bool = False
    """Whether the session does not start without all that are expected, and has no limit for those who train on."""
    members: AbstractSet[PeerId] = frozenset()
    """Names of those that are expected, as far as they are known; they may change."""
    seeks: bool = False
    """Whether addresses of other peers were given: then it does not start alone before it has looked there."""
    averaging: bool = True
    """Whether the merge rule is the mean; under any other one an ``active`` peer contributes nothing."""
    normalize_steps: bool = False
    """Whether contributions are merged as if all had made as many steps."""
    wait_below_quorum: bool = False
    failure_timeout: float = 10.0
    straggler_timeout: float | None = None
    start_timeout: float = 600.0
    versions: Versions = UNNAMED
    """The versions of the protocol that this peer speaks."""
    refusal: Callable[[ContributionStats], str | None] = lambda _: None
    """Reason to leave a contribution out, or None."""
    largest_share: Callable[[PeerId], Fraction] = lambda _: Fraction(1)
    """The largest share of the weight of a round that a peer may have, 0 to 1."""
    by_samples: bool = False
    """Whether weights are numbers of samples."""
    codec: Callable[[], str] = lambda: ExactCodec.name
    """Name of the codec of the next round that this peer leads."""
    codecs: frozenset[str] | None = None
    """Names of those that a leader may choose; None: any."""
    find_codec: Callable[[str], Codec] = lambda _: ExactCodec()
    """The codec of a name."""
    merge_rule: str = "mean"
    """Its name, for the record."""
    settings: str = ""
    """SHA-256 of the settings that must agree, for the record."""
    signer: Signer = field(default_factory=ProcessKey)
    """The key of this process."""
    credential: Credential | None = None
    """What proves that this key is this peer's; None: the key alone, without an identity."""
    vouch: Callable[[Credential, bool], str] = lambda _, __: ""
    """Why a credential is not that of its peer, now or, if the second argument is False, when it was given; empty if it
    is."""
    weight: int | None = None
    """What this peer declared on joining."""
    judge: Judge | None = None
    """How the best model is found; None where nobody wants to know."""
    tolerated_liars: int = 0
    """How many voters may sign two results without harm."""

    @property
    def verifier(self) -> Verifier:
        """Tells true records in this session."""
        return Verifier(
            session=self.session,
            signer=self.signer,
            vouch=lambda credential: self.vouch(credential, False),
            min_peers=self.min_peers,
            liars=self.tolerated_liars,
        )
