"""The table of settings: name, type, default, check and meaning of each.

``Settings`` is the table. The callback's arguments, the variables, the options of the launchers, ``help`` and the
tables of ``docs/parameters.md`` follow from it. After a change, run ``python tests/docs/tables.py``.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, TypeVar, get_args, get_type_hints

from swarm.config.agreement import agreement, told_name, told_value
from swarm.config.checks import (
    SAMPLES,
    WEIGHTS,
    Check,
    above_zero,
    address,
    below_one,
    choice,
    directory,
    fraction,
    http_proxy,
    integer,
    label,
    number,
    pattern,
    place,
    rates,
    seconds,
    several,
    switch,
    switch_or,
    weight,
)
from swarm.config.monitor import LOSS, monitor
from swarm.config.outer import OUTER_PREFIX, PARAMETERS, Outer, defaults
from swarm.errors import ConfigurationError
from swarm.proxy import Proxy
from swarm.records import LONGEST_INTERVAL, MAX_LIARS, MAX_RANKS, MAX_SAMPLES, MAX_SETTING, MAX_WEIGHT

PREFIX = "SWARM_"
_Value = TypeVar("_Value")
_ALL = "yes"
_WEIGHT = "node_weightage"
_SHOWN = 200
"""Characters shown of a value that is too long to be sent."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One row of the table."""

    name: str
    default: object
    check: Check
    meaning: str
    """Markdown; links start from ``docs/``."""
    agree: str = "no"
    """Whether all peers of a session must have the same value: 'yes', 'no', or the setting that decides it."""
    before: str = ""
    """The value that a peer counts as having which does not declare the setting: that of releases without it."""
    advice: str = ""
    """What to do where peers have different values; empty where it is to give them the same one."""
    computed: str = ""
    """The default in words, where it depends on other settings."""
    no_argument: str = ""
    """Why the callback does not take it, and what to do instead; empty where it does."""
    of_process: bool = False
    """Whether all sessions of a process must have the same value: they share an address, and so a transport."""

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


def _setting(default: _Value, meaning: str, check: Check | None = None, **more: str | bool) -> _Value:
    """A row; without ``check``, its type says what it may be. ``more``: further fields of :class:`Setting`."""
    return field(default=default, metadata={"meaning": meaning, "check": check, **more})


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Every scalar setting, checked and complete.

    ``resolve`` makes one from arguments, environment, ``swarm.toml`` and defaults, and checks it.
    """

    sync_interval: int = _setting(
        128,
        "local batches between merges. The merge happens at the first hook at or after that many batches at which no "
        "gradient is pending",
        integer(1, LONGEST_INTERVAL),
        agree=_ALL,
    )
    min_peers: int = _setting(
        2,
        "least number of peers, this one included, that a round needs",
        integer(1),
        agree=_ALL,
        computed="majority of `world_size` or `members`, else `2`; `1` with `loopback`",
    )
    tolerated_liars: int = _setting(
        0,
        "how many members may sign two results of one round and [do no harm](guarantees.md#members-that-lie): a round "
        "then needs more votes, and fewer peers may be away. `1` needs four peers, `2` seven",
        integer(0, MAX_LIARS),
        agree=_ALL,
        before="0",
    )
    use_adaptive_sync: bool = _setting(
        False,
        'let the interval follow the training: `sync_policy="validation"` with `val_data` (and `loss_function` with '
        'PyTorch), else `"qsr"` under a schedule of the learning rate, else `"adacomm"`',
        agree="as `sync_policy`",
    )
    sync_policy: str | None = _setting(
        None,
        '[what sets the interval](rounds.md#the-interval): `"fixed"`, `"validation"`, `"adacomm"`, `"qsr"`, `"drift"`, '
        '`"seconds"` or a plugin\'s; without it `use_adaptive_sync` chooses, else it is `"fixed"`, which contradicts '
        "`use_adaptive_sync=True`",
        label(str.lower),
        agree=_ALL,
    )
    sync_seconds: float = _setting(
        600.0,
        'seconds from merge to merge under `sync_policy="seconds"`; `sync_interval` is then the first interval',
        seconds(),
        agree=_ALL,
        before="600.0",
    )
    val_batch_size: int = _setting(32, "samples per batch of `val_data` given as arrays or a `Dataset`", integer(1))
    val_steps: int = _setting(
        100, "batches read at most from `val_data` given as a generator, or of unknown or endless length", integer(1)
    )
    validate_own: bool = _setting(
        True,
        "with `val_data` and `model_dir`: also validate this site's own model just before each merge, so that "
        "[the report](report.md) says what the merge changed. It doubles the time of the validation",
    )
    keep_best: bool = _setting(
        False,
        "keep [the best merged model](best-model.md), that with the best `monitor` of the swarm, and write it to "
        "`swarm-best.safetensors`. Takes memory for one more model",
        agree=_ALL,
        before="False",
    )
    patience: int | None = _setting(
        None,
        "[end the training at all peers](best-model.md#early-stopping) when so many merged models in a row were no "
        "better by the `monitor` of the swarm",
        integer(1),
        agree=_ALL,
        before="None",
    )
    monitor: str = _setting(
        LOSS,
        'by what `keep_best` and `patience` compare models, and what `share_metrics` tells: `"loss"` of the validation '
        'or one of its metrics, as `"max:accuracy"` or `"min:mae"`',
        monitor(),
        agree=_ALL,
        before=LOSS,
    )
    share_metrics: bool = _setting(
        False,
        "tell the other sites how good three models are on this site's validation data, by one number each: its own "
        "last one, the closing one and the best one. Sites that do see those of each other in "
        "[the report](report.md#across-sites)",
    )
    checkin_model_on_train_end: Literal["inactive", "snapshot", "active"] = _setting(
        "snapshot",
        'what a finished peer contributes until all are done: `"inactive"` nothing, `"snapshot"` the weights it '
        '[stopped with](rounds.md#end), `"active"` each merged model again. In all three the model ends with the '
        "swarm's closing weights",
    )
    train_until: Literal["own", "all"] = _setting(
        "own",
        'when training ends: `"own"` after the epochs of this peer; `"all"` when every peer has trained its own, so '
        "that all make [about the same number of steps](rounds.md#the-same-number-of-steps): raw PyTorch with "
        "`epochs()`, and Lightning",
        agree=_ALL,
        before="own",
    )
    node_weightage: int | Literal["samples"] = _setting(
        1,
        f'relative importance of this peer in the merge, 0 to {MAX_WEIGHT}; or `"samples"`: '
        "[the number of its training samples](#weights-by-samples). The others see it",
        weight(),
        agree="whether it is `samples`",
        before=WEIGHTS,
    )
    samples: int | None = _setting(
        None,
        'number of samples of this site\'s training set, the weight under `node_weightage="samples"`: a number, or in '
        "the callback the loader or data set. Lightning knows it",
        integer(0, MAX_SAMPLES),
    )
    largest_share: float = _setting(
        1.0,
        "largest share of the weight of a round that [one peer may have](#weights-by-samples), above 0 and at most 1",
        fraction(),
        agree=_ALL,
        before="1.0",
    )
    agree: tuple[tuple[str, str], ...] = _setting(
        (),
        "[facts about the data](#facts-about-the-data) that must be the same at all sites: a dict of names and values",
        agreement(),
        agree="each fact",
    )
    ml_platform: str | None = _setting(
        None,
        '`"PYTORCH"`, `"KERAS"`, `"TF"`, `"LIGHTNING"` or a plugin\'s; without it inferred from `model`, or Keras if '
        "it is imported",
        label(str.upper),
    )
    model_name: str = _setting(
        "swarm_model", "names the session: peers with another name never meet in a round", label()
    )
    merge_method: str = _setting(
        "mean",
        '[how weights are merged](merge-rules.md): `"mean"`, `"coordmedian"`, `"geomedian"`, `"trimmed_mean"`, '
        '`"norm_clip"`, `"centered_clip"`, `"nnm"` or a plugin\'s',
        label(str.lower),
        agree=_ALL,
    )
    screen: Literal["norms", "distances"] = _setting(
        "norms",
        'which contributions are left out: `"norms"`, what has moved more than 100 times as far as the median; or '
        '`"distances"`, also what is [more than twice as far from the others](merge-rules.md#a-stricter-check) as '
        "usual",
        agree=_ALL,
        before="norms",
    )
    outer: Outer = _setting(
        "none",
        "[outer optimizer](merge-rules.md#outer-optimizers): what makes the next model of the last one and of what a "
        'round has merged: `"none"` (the merged one is the next), `"nesterov"`, `"fedavgm"`, `"fedadam"` or '
        '`"fedyogi"`',
        agree=_ALL,
        before="none",
    )
    outer_learning_rate: float | None = _setting(
        None,
        "learning rate of the outer optimizer",
        above_zero(),
        agree=_ALL,
        before="None",
        computed=defaults("learning_rate"),
    )
    outer_momentum: float | None = _setting(
        None,
        "which part of its momentum the outer optimizer keeps from round to round; β1 of `fedadam` and `fedyogi`",
        below_one(),
        agree=_ALL,
        before="None",
        computed=defaults("momentum"),
    )
    outer_beta2: float | None = _setting(
        None,
        "which part of the second moment `fedadam` and `fedyogi` keep from round to round",
        below_one(),
        agree=_ALL,
        before="None",
        computed=defaults("beta2"),
    )
    outer_epsilon: float | None = _setting(
        None,
        "what `fedadam` and `fedyogi` add to the root of the second moment: the larger, the less they adapt (τ of the "
        "paper)",
        above_zero(),
        agree=_ALL,
        before="None",
        computed=defaults("epsilon"),
    )
    normalize_steps: bool = _setting(
        False,
        "merge what peers contribute [as if all had made as many steps](merge-rules.md#unequal-steps) since their last "
        "merge",
        agree=_ALL,
        before="False",
    )
    codec: str = _setting(
        "exact",
        'how weights travel: `"exact"`, `"bf16"` (half the bytes), `"int8"` (a quarter; what coding loses is sent with '
        'the next round), a plugin\'s, or `"auto"`: the quickest, by measurement',
        label(str.lower),
        agree=_ALL,
    )
    share: tuple[str, ...] = _setting(
        (),
        "[patterns of tensor names](#merging-a-part-of-a-model): only these tensors are merged; without it all are",
        several(pattern()),
        agree=_ALL,
    )
    local: tuple[str, ...] = _setting(
        (), "patterns of tensor names: these stay with each peer, whatever `share` says", several(pattern()), agree=_ALL
    )
    trainable_only: bool | None = _setting(
        None,
        "merge only [the tensors that are trained](#adapters-and-other-trained-parts), such as adapters; the frozen "
        "ones must be the same at every peer, which is checked. For PyTorch, Lightning and Transformers",
        switch(),
        computed="`true` for a PEFT model, else `false`",
    )
    exchange_shards: bool | int = _setting(
        False,
        "of a site of several processes, [each exchanges its own shard](ranks.md#each-process-exchanges-its-shard) of "
        "a model that `fully_shard` has sharded. All sites exchange as many shards: a site of one process, or of "
        "another number of them, gives their number, such as `2`",
        switch_or(integer(2, MAX_RANKS + 1)),
        agree=_ALL,
        before="False",
        advice="set it to the same number of shards at every peer, also where there is one process, as in "
        "exchange_shards=2; where layouts of as many shards differ, leave it out at every peer, and rank 0 exchanges "
        "the whole model",
    )
    normalization: Literal["pooled", "silobn", "fedbn"] = _setting(
        "silobn",
        'what sites share of [BatchNorm layers](#batchnorm): `"pooled"` all of it, `"silobn"` all but the statistics, '
        'which each site keeps for itself, `"fedbn"` nothing. Each peer may choose for itself',
    )
    share_statistics: bool = _setting(
        False,
        "allow [`swarm.pool`](before-training.md) at this site: it tells the other sites counts, sums and sums of "
        "squares of the data",
    )
    below_quorum: Literal["train", "wait"] = _setting(
        "train", 'without enough peers: `"train"` on locally, or `"wait"`'
    )
    optimizer_state: Literal["keep", "reset", "merge"] = _setting(
        "keep",
        "what happens to [the optimizer's state](#the-state-of-the-optimizer) when a merged model is loaded: "
        '`"keep"` nothing, `"merge"` momenta and second moments are merged with the weights, which at most doubles the '
        'bytes with exact weights, `"reset"` they start anew. For both raw PyTorch needs `optimizer`',
        agree=_ALL,
        before="keep",
    )
    proximal: float = _setting(
        0.0,
        "[FedProx](choosing.md#corrections-at-the-sites): how strongly each step draws the weights to the last merged "
        "model, µ. With raw PyTorch if `optimizer` is given, and with Lightning",
        number("a finite number of at least 0", lambda value: value >= 0),
        agree=_ALL,
        before="0.0",
    )
    scaffold: bool = _setting(
        False,
        "[SCAFFOLD](choosing.md#corrections-at-the-sites): take out of the gradients of each site what is its own, by "
        "control variates that are merged with the weights, which adds half to the bytes. With SGD in raw PyTorch, if "
        '`optimizer` is given, and in Lightning; not with `overlap` or another `merge_method` than `"mean"`',
        agree=_ALL,
        before="False",
    )
    overlap: bool = _setting(
        False,
        "train on while a round runs in the background; what the merge changed is then "
        "[added to the weights](rounds.md#overlap). Each peer may choose for itself",
    )
    start_timeout: float = _setting(600.0, "seconds for which `on_train_begin` waits for `min_peers`", seconds())
    total_epochs: int | None = _setting(
        None,
        "epochs of the local training, only for the progress and the estimated time left that `swarm up` and "
        "`swarm status` show",
        integer(1),
    )

    name: str = _setting(
        "peer",
        "this peer's name, unique in the session; see [two peers of one name](#two-peers-of-one-name)",
        label(),
        computed="`peer-<rank>`, else the host's name",
        of_process=True,
    )
    listen: str = _setting(
        "127.0.0.1:0",
        "`host:port` to listen on; port 0 takes a free one. `0.0.0.0` and `[::]` stand for all addresses of the "
        "machine, and are written out",
        address(0),
        of_process=True,
    )
    advertise: str | None = _setting(
        None,
        "`host` or `host:port` at which others reach this peer, where that is "
        "[not what it listens on](#the-address-that-others-are-told)",
        place(),
        of_process=True,
    )
    peers: tuple[str, ...] = _setting(
        (),
        "addresses of peers to join through; one is enough. `host:port`, or `name@host:port`: then only the peer with "
        "that name in its certificate is accepted there",
        several(address(1, named=True)),
    )
    rendezvous: Path | None = _setting(
        None,
        "directory in which local peers publish their addresses, also those of several sessions; `swarm up` sets it",
    )
    discovery: str | None = _setting(
        None,
        'how peers find one another: `"directory"` (through `rendezvous`), `"seeds"` (through `peers`), `"consortium"` '
        "(through `identity`) or a plugin's; without it, each of the three whose setting is given",
        label(str.lower),
    )
    transport: str = _setting(
        "grpc", 'how messages and weights travel: `"grpc"` or a plugin\'s', label(str.lower), of_process=True
    )
    data_channel: bool = _setting(
        True,
        "weights travel over TCP connections of their own, two to three times as fast, where the other side can be "
        "reached on its `data_port`; elsewhere over gRPC streams, and the log says which",
        of_process=True,
    )
    data_port: int = _setting(
        0,
        "port for those connections, on the host of `listen`, other than its port; 0 takes a free one. Behind a "
        "firewall: set it, and open it beside the port of `listen`",
        integer(0, 65535),
        of_process=True,
    )
    proxy: Proxy | None = _setting(
        None,
        "[HTTP proxy for connections to other machines](firewall.md#a-proxy), `http://host:port` or "
        "`http://user:password@host:port`; `none` for no proxy. Without it that of the variable `https_proxy`, else "
        "`http_proxy`; [hosts in `no_proxy`](firewall.md#hosts-without-the-proxy) are always reached without one. The "
        "password is never shown",
        http_proxy(),
        of_process=True,
    )
    max_mbit: tuple[str, ...] = _setting(
        (),
        "[how fast this peer sends weights](operating.md#a-line-that-others-need-too), in Mbit/s, 2 or more: a number, "
        "or several with times of the day, such as `20@07:00-19:00`, of which the first that holds counts. Without one "
        "there is no limit",
        rates(),
        of_process=True,
    )
    world_size: int | None = _setting(None, "number of peers that a launcher started", integer(1))
    rank: int | None = _setting(None, "this peer's number under a launcher, from 0", integer(0))
    members: tuple[str, ...] = _setting(
        (),
        "names of the peers that belong to the swarm. Their number counts, for `min_peers` and the start, and with "
        "`require_members` the names too",
        several(label()),
    )
    require_members: bool = _setting(
        False,
        "no start and no successful end [without a site that is expected](rounds.md#nobody-is-missed-silently): all of "
        "`members`, or `world_size` peers, else all members of the consortium that train. Rounds in between, "
        "and a resumed run, may go on without one",
    )
    failure_timeout: float = _setting(
        10.0, "seconds without an answer after which a peer counts as lost", seconds(), of_process=True
    )
    straggler_timeout: float | None = _setting(
        None,
        "seconds that a round waits for stragglers once it has a quorum; without it, learned from their pace",
        seconds(zero=True),
    )
    loopback: bool = _setting(False, "train alone on purpose: no network, no rounds with others")
    identity: Path | None = _setting(
        None,
        "directory with this peer's [identity](identity.md), as `swarm join` makes it: with it all connections are "
        "mutual TLS 1.3, and `name` is that of the certificate",
        computed="`swarm-identity` in the working directory, where there is one",
        of_process=True,
    )
    insecure: bool = _setting(
        False,
        "let messages and weights travel unencrypted between machines, to and from anybody who can reach this peer: "
        "only for a network that you trust as much as this machine",
        of_process=True,
    )

    data_dir: Path | None = _setting(
        None,
        "directory with the training data: the launchers export it to the script as `DATA_DIR`. No argument of the "
        "callback, which loads no data",
        no_argument="it loads no data. Open the data in the script, from the variable DATA_DIR, and name the directory "
        "where you start it: `swarm run --data-dir`, SWARM_DATA_DIR, or data_dir in swarm.toml",
    )
    model_dir: Path | None = _setting(
        None,
        "directory for [the result and other files](#the-files-of-a-model-directory); the launchers export it as "
        "`MODEL_DIR`",
    )
    framework_result: bool = _setting(
        True,
        "write the result [in the framework's own format](results.md) too: `swarm-final.pt` of PyTorch, "
        "`swarm-final.ckpt` of Lightning, `swarm-final.keras`, or the directory `swarm-final` of Transformers",
    )
    checkpoint_seconds: float = _setting(
        30.0,
        "least seconds between two checkpoints of the committed model; the closing model is always written",
        seconds(zero=True),
    )
    resume: bool = _setting(
        False,
        "continue from the newest checkpoint in `model_dir` that can be read and whose record is in the ledger: "
        "`swarm run --resume`, `swarm up --resume`. One of another model is an error",
    )

    disabled_plugins: tuple[str, ...] = _setting((), "names of installed plugins to leave out", several(label()))

    named: bool = True
    """Whether any source gives the name, or a rank for it; set by ``resolve``, not a setting."""
    placed: bool = True
    """Whether any source says where the swarm is; set by ``resolve``, not a setting."""
    origins: Mapping[str, str] = field(default_factory=dict, compare=False)
    """By name of setting, where its value came from: "argument", the variable, the file, or "default"; set by
    ``resolve``, not a setting."""

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

    @property
    def outer_parameters(self) -> dict[str, float]:
        """The parameters of the outer optimizer, by name."""
        given = {name: getattr(self, OUTER_PREFIX + name) for name in PARAMETERS[self.outer]}
        return {name: PARAMETERS[self.outer][name] if value is None else value for name, value in given.items()}

    @property
    def corrects(self) -> str:
        """The setting that changes the gradients of the training, as a message names it; empty if none does."""
        return f"proximal={self.proximal}" if self.proximal else "scaffold=True" if self.scaffold else ""

    @property
    def judges(self) -> bool:
        """Whether the swarm compares its models."""
        return self.keep_best or self.patience is not None

    @property
    def by_samples(self) -> bool:
        """Whether the weight of a peer is the number of its samples."""
        return self.node_weightage == SAMPLES

    def require_weight(self) -> int:
        """The weight of this peer.

        Raises:
            ConfigurationError: it is the number of its samples, which is not known.
        """
        if self.node_weightage != "samples":
            return self.node_weightage
        if self.samples is None:
            raise ConfigurationError(
                'node_weightage="samples" needs the number of training samples of this site, which is not known: give '
                "samples=N, or in the callback samples=loader, a DataLoader or data set with a length "
                "(or set SWARM_SAMPLES)"
            )
        return self.samples

    def agreed(self) -> tuple[tuple[str, str], ...]:
        """Name and value of the settings that all peers of a session must share; a list counts in any order.

        A setting that earlier releases do not know is left out while it has the value that these stand for. A value
        that is too long to be sent is shortened, with a hash of all of it.
        """
        values: dict[str, object] = {name: getattr(self, name) for name, row in SETTINGS.items() if row.agree == _ALL}
        values["sync_policy"] = self.policy
        values |= {OUTER_PREFIX + name: value for name, value in self.outer_parameters.items()}
        values[_WEIGHT] = SAMPLES if self.by_samples else WEIGHTS
        told = {name: str(sorted(v) if isinstance(v, tuple) else v) for name, v in values.items()}
        facts = tuple((told_name(name), told_value(value)) for name, value in self.agree)
        return (*((name, _told(v)) for name, v in told.items() if v != (SETTINGS[name].before or None)), *facts)

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


def _told(value: str) -> str:
    """The value of a setting, as it is sent to other peers."""
    if len(value) <= MAX_SETTING:
        return value
    return f"{value[:_SHOWN]}… ({len(value)} characters, sha256 {hashlib.sha256(value.encode()).hexdigest()})"


def _check_of(kind: Any) -> Check:
    """The check of a setting whose type alone says what it may be: a switch, a directory, or one of a few words."""
    if kind is bool:
        return switch()
    return directory() if kind == Path | None else choice(*get_args(kind))


def _rows() -> Iterator[Setting]:
    types = get_type_hints(Settings)
    for each in fields(Settings):
        if each.metadata:
            check = each.metadata["check"] or _check_of(types[each.name])
            yield Setting(each.name, each.default, **{**each.metadata, "check": check})


SETTINGS: Mapping[str, Setting] = MappingProxyType({row.name: row for row in _rows()})
"""The rows of the table by name, in their documented order."""
