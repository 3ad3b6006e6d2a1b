"""The settings of the round machine, and the decisions that it leaves to others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

from swarm.codec.exact import ExactCodec
from swarm.records import ContributionStats, PeerId, SyncState
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
    seeks: bool = False
    """Whether addresses of other peers were given: then it does not start alone before it has looked there."""
    averaging: bool = True
    """Whether the merge rule is the mean; under any other one an ``active`` peer contributes nothing."""
    wait_below_quorum: bool = False
    failure_timeout: float = 10.0
    straggler_timeout: float | None = None
    start_timeout: float = 600.0
    versions: Versions = UNNAMED
    """The versions of the protocol that this peer speaks."""
    screen: Callable[[ContributionStats], str | None] = lambda _: None
    """Reason to leave a contribution out, or None."""
    share: Callable[[PeerId], Fraction] = lambda _: Fraction(1)
    """The largest share of the weight of a round that a peer may have, 0 to 1."""
    by_samples: bool = False
    """Whether weights are numbers of samples."""
    codec: Callable[[], str] = lambda: ExactCodec.name
    """Name of the codec of the next round that this peer leads."""
    find_codec: Callable[[str], Codec] = lambda _: ExactCodec()
    """The codec of a name."""
