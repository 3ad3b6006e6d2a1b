"""The settings of a peer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from swarm.config.kinds import Kind, address, choice, directory, integer, name, pattern, place, seconds, several, switch
from swarm.errors import ConfigurationError

_AGREED = ("sync_interval", "min_peers", "merge_method", "codec")
_AGREED_IN_ANY_ORDER = ("share", "local")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Every scalar setting, checked and complete.

    ``resolve`` makes one from arguments, environment, ``swarm.toml`` and defaults, and checks it.
    """

    sync_interval: int = 128
    """Local batches between merges."""
    min_peers: int = 2
    """Least number of peers, this one included, that a round needs."""
    use_adaptive_sync: bool = False
    """Whether the interval follows the training's progress."""
    sync_policy: str | None = None
    """Name of the sync policy; None: 'validation' with `use_adaptive_sync`, else 'fixed'."""
    val_batch_size: int = 32
    """Samples per batch of validation data given as arrays or a dataset."""
    val_steps: int = 100
    """Batches read at most from a generator of validation data."""
    checkin_model_on_train_end: Literal["inactive", "snapshot", "active"] = "snapshot"
    """What a finished peer contributes until all are done."""
    node_weightage: int = 1
    """Relative importance of this peer in the merge, 0 to 100."""
    ml_platform: str | None = None
    """The framework, such as 'KERAS' or 'PYTORCH'; None: inferred."""
    model_name: str = "swarm_model"
    """Tag of the session: peers with another tag never meet in a round."""
    merge_method: str = "mean"
    """Name of the merge rule."""
    codec: str = "exact"
    """How weights travel: 'auto', or the name of a codec."""
    share: tuple[str, ...] = ()
    """Patterns of the names of the tensors that are merged; none: all."""
    local: tuple[str, ...] = ()
    """Patterns of the names of the tensors that stay with each peer, whatever `share` says."""
    below_quorum: Literal["train", "wait"] = "train"
    """Without enough peers: train on locally, or wait."""
    overlap: bool = False
    """Whether training goes on while a round runs."""
    start_timeout: float = 600.0
    """Seconds to wait for enough peers at the start."""
    total_epochs: int | None = None
    """Epochs of the local training, for progress and the estimated time left only."""

    name: str = "peer"
    """This peer's name, unique in the session; by default `peer-<rank>` under a launcher, else the host's name, with a
    number where another peer has it."""
    listen: str = "127.0.0.1:0"
    """Address to listen on; port 0 takes a free one."""
    advertise: str | None = None
    """Host, or host and port, at which others reach this peer; None: `listen`, or found where that is a wildcard."""
    peers: tuple[str, ...] = ()
    """Addresses of peers to join; one is enough."""
    rendezvous: Path | None = None
    """Directory in which local peers publish their addresses."""
    discovery: str | None = None
    """Name of the discovery; None: the directory if `rendezvous` is set, seeds if `peers` are."""
    transport: str = "grpc"
    """Name of the transport."""
    data_channel: bool = True
    """Whether weights travel over connections of their own where they can."""
    data_port: int = 0
    """Port for those connections, on the host of `listen`; 0 takes a free one."""
    world_size: int | None = None
    """Number of peers that a launcher started."""
    rank: int | None = None
    """This peer's number under a launcher, from 0."""
    members: tuple[str, ...] = ()
    """Names of the peers that belong to the swarm."""
    failure_timeout: float = 10.0
    """Seconds without an answer after which a peer counts as lost."""
    straggler_timeout: float | None = None
    """Seconds a round waits for stragglers once it has enough peers; None: learned from their pace."""
    loopback: bool = False
    """Train alone on purpose: no network, no rounds with others."""
    insecure: bool = False
    """Allow weights to travel unencrypted between machines."""

    data_dir: Path | None = None
    """Directory with the training data."""
    model_dir: Path | None = None
    """Directory for the trained model, and for checkpoints of the committed ones."""
    checkpoint_seconds: float = 30.0
    """Least seconds between two checkpoints in `model_dir`; the closing model is always written."""
    resume: bool = False
    """Go on from the newest checkpoint in `model_dir`."""

    disabled_plugins: tuple[str, ...] = ()
    """Names of installed plugins to leave out."""

    named: bool = True
    """Whether any source gives the name, or a rank for it; ``resolve`` finds out, it is no setting itself."""
    placed: bool = True
    """Whether any source says where the swarm is; ``resolve`` finds out, it is no setting itself."""

    @property
    def expected_peers(self) -> int:
        """Peers expected in the session, this one included; 0 where unknown."""
        return self.world_size or len(self.members)

    @property
    def policy(self) -> str:
        """Name of the sync policy in use, whichever setting chose it."""
        return self.sync_policy or ("validation" if self.use_adaptive_sync else "fixed")

    @property
    def policy_setting(self) -> str:
        """The setting that chose the sync policy, as a message names it."""
        chosen = self.sync_policy is None and self.use_adaptive_sync
        return "use_adaptive_sync=True" if chosen else f"sync_policy={self.policy!r}"

    def agreed(self) -> tuple[tuple[str, str], ...]:
        """Name and value of the settings that all peers of a session must share."""
        return (
            *((name, str(getattr(self, name))) for name in _AGREED),
            *((name, str(sorted(getattr(self, name)))) for name in _AGREED_IN_ANY_ORDER),
            ("sync_policy", self.policy),
        )

    def require_swarm(self) -> None:
        """Refuse to start training where nothing says with whom.

        Raises:
            ConfigurationError: no swarm is configured.
        """
        if not self.placed:
            raise ConfigurationError(
                "no swarm is configured: start the script with `swarm up -n 4 -- python train.py` (peers on this "
                "machine) or `swarm run --peer host:port -- python train.py` (one peer of a swarm), set `peers` or "
                "`listen` (or SWARM_PEERS, SWARM_LISTEN), or set SWARM_LOOPBACK=true to train alone"
            )


KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        "sync_interval": integer(1),
        "min_peers": integer(1),
        "use_adaptive_sync": switch(),
        "sync_policy": name(str.lower),
        "val_batch_size": integer(1),
        "val_steps": integer(1),
        "checkin_model_on_train_end": choice("inactive", "snapshot", "active"),
        "node_weightage": integer(0, 100),
        "ml_platform": name(str.upper),
        "model_name": name(),
        "merge_method": name(str.lower),
        "codec": name(str.lower),
        "share": several(pattern()),
        "local": several(pattern()),
        "below_quorum": choice("train", "wait"),
        "overlap": switch(),
        "start_timeout": seconds(),
        "total_epochs": integer(1),
        "name": name(),
        "listen": address(0),
        "advertise": place(),
        "peers": several(address(1)),
        "rendezvous": directory(),
        "discovery": name(str.lower),
        "transport": name(str.lower),
        "data_channel": switch(),
        "data_port": integer(0, 65535),
        "world_size": integer(1),
        "rank": integer(0),
        "members": several(name()),
        "failure_timeout": seconds(),
        "straggler_timeout": seconds(zero=True),
        "loopback": switch(),
        "insecure": switch(),
        "data_dir": directory(),
        "model_dir": directory(),
        "checkpoint_seconds": seconds(zero=True),
        "resume": switch(),
        "disabled_plugins": several(name()),
    }
)
"""What each setting may be."""

SETTINGS = tuple(KINDS)
"""The names of all settings."""

DEFAULTS: Mapping[str, object] = MappingProxyType(
    {field.name: field.default for field in fields(Settings) if field.name in KINDS}
)
"""The defaults that depend on nothing else."""
