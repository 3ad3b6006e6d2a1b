"""The table of settings: name, type, default, check and meaning of each.

``Settings`` is the table. The callback's arguments, the variables, the options of the launchers, ``help`` and the
tables of ``docs/parameters.md`` follow from it. After a change, run ``python tests/docs/tables.py``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from types import MappingProxyType
from typing import Literal, TypeVar

from swarm.config.checks import (
    Check,
    address,
    choice,
    directory,
    integer,
    label,
    pattern,
    place,
    seconds,
    several,
    switch,
)
from swarm.errors import ConfigurationError

PREFIX = "SWARM_"
_Value = TypeVar("_Value")
_ALL = "yes"


@dataclass(frozen=True, slots=True)
class Setting:
    """One row of the table."""

    name: str
    default: object
    check: Check
    meaning: str
    """Markdown; links start from ``docs/``."""
    agree: str
    """Whether all peers of a session must have the same value: 'yes', 'no', or the setting that decides it."""
    computed: str
    """The default in words, where it depends on other settings."""
    no_argument: str
    """Why the callback does not take it, and what to do instead; empty where it does."""

    @property
    def variable(self) -> str:
        """Its environment variable."""
        return PREFIX + self.name.upper()

    @property
    def default_text(self) -> str:
        """The default, as documentation writes it."""
        if self.computed:
            return self.computed
        if self.default in (None, ()):
            return "none"
        if isinstance(self.default, bool):
            return f"`{str(self.default).lower()}`"
        return f'`"{self.default}"`' if isinstance(self.default, str) else f"`{self.default:g}`"

    @property
    def plain_meaning(self) -> str:
        """Its meaning, without targets of links."""
        return re.sub(r"\[([^]]+)\]\([^)]+\)", r"\1", self.meaning)


def _setting(
    default: _Value, check: Check, meaning: str, *, agree: str = "no", computed: str = "", no_argument: str = ""
) -> _Value:
    row = {"check": check, "meaning": meaning, "agree": agree, "computed": computed, "no_argument": no_argument}
    return field(default=default, metadata=row)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Every scalar setting, checked and complete.

    ``resolve`` makes one from arguments, environment, ``swarm.toml`` and defaults, and checks it.
    """

    sync_interval: int = _setting(
        128,
        integer(1),
        "local batches between merges. The merge happens at the first hook at or after that many batches at which no "
        "gradient is pending",
        agree=_ALL,
    )
    min_peers: int = _setting(
        2,
        integer(1),
        "least number of peers, this one included, that a round needs",
        agree=_ALL,
        computed="majority of `world_size` or `members`, else `2`; `1` with `loopback`",
    )
    use_adaptive_sync: bool = _setting(
        False,
        switch(),
        'short for `sync_policy="validation"`: let the interval follow the merged model\'s validation loss; needs '
        "`val_data`, and `loss_function` with PyTorch",
        agree="as `sync_policy`",
    )
    sync_policy: str | None = _setting(
        None,
        label(str.lower),
        'what sets the interval: `"fixed"`, `"validation"` or a plugin\'s; without it `"validation"` with '
        '`use_adaptive_sync`, else `"fixed"`. `"fixed"` contradicts `use_adaptive_sync=True`. A policy that follows '
        "the validation loss needs what `use_adaptive_sync` needs",
        agree=_ALL,
    )
    val_batch_size: int = _setting(32, integer(1), "samples per batch of `val_data` given as arrays or a `Dataset`")
    val_steps: int = _setting(
        100,
        integer(1),
        "batches read at most from `val_data` given as a generator, or of unknown or endless length",
    )
    checkin_model_on_train_end: Literal["inactive", "snapshot", "active"] = _setting(
        "snapshot",
        choice("inactive", "snapshot", "active"),
        'what a finished peer contributes until all are done: `"inactive"` nothing, `"snapshot"` the weights it '
        '[stopped with](rounds.md#end), `"active"` each merged model again. In all three the model ends with the '
        "swarm's closing weights",
    )
    node_weightage: int = _setting(
        1, integer(0, 100), "relative importance of this peer in the merge, 0 to 100; the others see it"
    )
    ml_platform: str | None = _setting(
        None,
        label(str.upper),
        '`"PYTORCH"`, `"KERAS"`, `"TF"`, `"LIGHTNING"` or a plugin\'s; without it inferred from `model`, or Keras if '
        "it is imported",
    )
    model_name: str = _setting(
        "swarm_model", label(), "names the session: peers with another name never meet in a round"
    )
    merge_method: str = _setting(
        "mean", label(str.lower), '`"mean"`, `"coordmedian"`, `"geomedian"` or a plugin\'s', agree=_ALL
    )
    codec: str = _setting(
        "exact",
        label(str.lower),
        'how weights travel: `"exact"`, `"bf16"` (half the bytes), `"int8"` (a quarter; what coding loses is sent with '
        'the next round), a plugin\'s, or `"auto"`: the quickest, by measurement',
        agree=_ALL,
    )
    share: tuple[str, ...] = _setting(
        (),
        several(pattern()),
        "[patterns of tensor names](#merging-a-part-of-a-model): only these tensors are merged; without it all are",
        agree=_ALL,
    )
    local: tuple[str, ...] = _setting(
        (),
        several(pattern()),
        "patterns of tensor names: these stay with each peer, whatever `share` says",
        agree=_ALL,
    )
    below_quorum: Literal["train", "wait"] = _setting(
        "train", choice("train", "wait"), 'without enough peers: `"train"` on locally, or `"wait"`'
    )
    overlap: bool = _setting(
        False,
        switch(),
        "train on while a round runs in the background; what the merge changed is then "
        "[added to the weights](rounds.md#overlap). Each peer may choose for itself",
    )
    start_timeout: float = _setting(600.0, seconds(), "seconds for which `on_train_begin` waits for `min_peers`")
    total_epochs: int | None = _setting(
        None,
        integer(1),
        "epochs of the local training, only for the progress and the estimated time left that `swarm up` and "
        "`swarm status` show",
    )

    name: str = _setting(
        "peer",
        label(),
        "this peer's name, unique in the session; see [two peers of one name](#two-peers-of-one-name)",
        computed="`peer-<rank>`, else the host's name",
    )
    listen: str = _setting(
        "127.0.0.1:0",
        address(0),
        "`host:port` to listen on; port 0 takes a free one. `0.0.0.0` and `[::]` stand for all addresses of the "
        "machine, and are written out",
    )
    advertise: str | None = _setting(
        None,
        place(),
        "`host` or `host:port` at which others reach this peer, where that is "
        "[not what it listens on](#the-address-that-others-are-told)",
    )
    peers: tuple[str, ...] = _setting(
        (), several(address(1)), "addresses (`host:port`) of peers to join through; one is enough"
    )
    rendezvous: Path | None = _setting(
        None,
        directory(),
        "directory in which local peers publish their addresses, also those of several sessions; `swarm up` sets it",
    )
    discovery: str | None = _setting(
        None,
        label(str.lower),
        'how peers find one another: `"directory"` (through `rendezvous`), `"seeds"` (through `peers`) or a plugin\'s; '
        "without it, each of the two whose setting is given",
    )
    transport: str = _setting("grpc", label(str.lower), 'how messages and weights travel: `"grpc"` or a plugin\'s')
    data_channel: bool = _setting(
        True,
        switch(),
        "weights travel over TCP connections of their own, two to three times as fast, where the other side can be "
        "reached on its `data_port`; elsewhere over gRPC streams, and the log says which",
    )
    data_port: int = _setting(
        0,
        integer(0, 65535),
        "port for those connections, on the host of `listen`, other than its port; 0 takes a free one. Behind a "
        "firewall: set it, and open it beside the port of `listen`",
    )
    world_size: int | None = _setting(None, integer(1), "number of peers that a launcher started")
    rank: int | None = _setting(None, integer(0), "this peer's number under a launcher, from 0")
    members: tuple[str, ...] = _setting(
        (),
        several(label()),
        "names of the peers that belong to the swarm. Names are not checked: only their number counts, for "
        "`min_peers` and the start",
    )
    failure_timeout: float = _setting(10.0, seconds(), "seconds without an answer after which a peer counts as lost")
    straggler_timeout: float | None = _setting(
        None,
        seconds(zero=True),
        "seconds that a round waits for stragglers once it has a quorum; without it, learned from their pace",
    )
    loopback: bool = _setting(False, switch(), "train alone on purpose: no network, no rounds with others")
    insecure: bool = _setting(
        False,
        switch(),
        "allow weights to travel unencrypted between machines: "
        "[there is no TLS yet](guarantees.md#the-network-is-trusted)",
    )

    data_dir: Path | None = _setting(
        None,
        directory(),
        "directory with the training data: the launchers export it to the script as `DATA_DIR`. No argument of the "
        "callback, which loads no data",
        no_argument="it loads no data. Open the data in the script, from the variable DATA_DIR, and name the directory "
        "where you start it: `swarm run --data-dir`, SWARM_DATA_DIR, or data_dir in swarm.toml",
    )
    model_dir: Path | None = _setting(
        None,
        directory(),
        "directory for [the result and other files](#the-files-of-a-model-directory); the launchers export it as "
        "`MODEL_DIR`",
    )
    checkpoint_seconds: float = _setting(
        30.0,
        seconds(zero=True),
        "least seconds between two checkpoints of the committed model; the closing model is always written",
    )
    resume: bool = _setting(
        False,
        switch(),
        "continue from the newest checkpoint in `model_dir` that can be read: `swarm run --resume`, "
        "`swarm up --resume`. One of another model is an error",
    )

    disabled_plugins: tuple[str, ...] = _setting((), several(label()), "names of installed plugins to leave out")

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
        """Name and value of the settings that all peers of a session must share; a list counts in any order."""
        values = {name: getattr(self, name) for name, row in SETTINGS.items() if row.agree == _ALL}
        values["sync_policy"] = self.policy
        return tuple((name, str(sorted(v) if isinstance(v, tuple) else v)) for name, v in values.items())

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


SETTINGS: Mapping[str, Setting] = MappingProxyType(
    {each.name: Setting(each.name, each.default, **each.metadata) for each in fields(Settings) if each.metadata}
)
"""The rows of the table by name, in their documented order."""
