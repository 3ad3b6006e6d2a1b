"""What the round machine is told once: the settings that bear on rounds, and the two decisions it leaves to others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from swarm.codec.exact import ExactCodec
from swarm.records import ContributionStats, SyncState

if TYPE_CHECKING:
    from swarm.codec.base import Codec
    from swarm.sync.base import SyncPolicy


def _accept_all(_: ContributionStats) -> str | None:
    return None


def _exact() -> str:
    return ExactCodec.name


def _codec_exact(_: str) -> Codec:
    return ExactCodec()


@dataclass(frozen=True, kw_only=True)
class RoundRules:
    """Settings of one session, equal on every peer but for the waits."""

    session: str
    min_peers: int
    policy: SyncPolicy
    first_sync: SyncState
    expected: int = 0
    """Peers to expect at the start; 0 where unknown."""
    seeks: bool = False
    """Whether it was told where others may be: then it does not begin alone before it has looked for them."""
    averaging: bool = True
    """Whether the merge rule is the mean; under any other an ``active`` peer's echo of the model counts nothing."""
    wait_below_quorum: bool = False
    failure_timeout: float = 10.0
    straggler_timeout: float | None = None
    start_timeout: float = 600.0
    screen: Callable[[ContributionStats], str | None] = _accept_all
    """Reason to leave a contribution out, or None."""
    codec: Callable[[], str] = _exact
    """Name of the codec of the next round that this peer leads."""
    find_codec: Callable[[str], Codec] = _codec_exact
    """The codec of a name."""
