"""What every callback of Swarm is made from: the settings, and the objects of the user's script."""

from __future__ import annotations

import logging
import os
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal, TypedDict

from swarm.config import former
from swarm.config.resolve import resolve
from swarm.config.samples import given_samples
from swarm.config.settings import SETTINGS, Setting, Settings
from swarm.config.sources import nearest
from swarm.errors import ConfigurationError, UnknownArgumentError
from swarm.proxy import Proxy

Path = str | os.PathLike[str]


class Arguments(TypedDict, total=False):
    """The keyword arguments of every callback, for type checkers; a test holds them to the table of settings."""

    sync_interval: int | None
    min_peers: int | None
    use_adaptive_sync: bool | None
    sync_policy: str | None
    sync_seconds: float | None
    val_data: Any
    val_batch_size: int | None
    val_steps: int | None
    validate_own: bool | None
    keep_best: bool | None
    patience: int | None
    monitor: str | None
    share_metrics: bool | None
    checkin_model_on_train_end: Literal["inactive", "snapshot", "active"] | None
    train_until: Literal["own", "all"] | None
    node_weightage: int | Literal["samples"] | None
    samples: Any
    largest_share: float | None
    tolerated_liars: int | None
    agree: Mapping[str, Any] | None
    ml_platform: str | None
    model_name: str | None
    model: Any
    merge_method: str | None
    screen: Literal["norms", "distances"] | None
    outer: Literal["none", "nesterov", "fedavgm", "fedadam", "fedyogi"] | None
    outer_learning_rate: float | None
    outer_momentum: float | None
    outer_beta2: float | None
    outer_epsilon: float | None
    normalize_steps: bool | None
    codec: str | None
    share: tuple[str, ...] | list[str] | str | None
    local: tuple[str, ...] | list[str] | str | None
    trainable_only: bool | None
    exchange_shards: bool | int | None
    share_statistics: bool | None
    optimizer: Any
    stateful: Any
    master_weights: Mapping[str, Any] | None
    normalization: Literal["pooled", "silobn", "fedbn"] | None
    below_quorum: Literal["train", "wait"] | None
    optimizer_state: Literal["keep", "reset", "merge"] | None
    proximal: float | None
    scaffold: bool | None
    overlap: bool | None
    start_timeout: float | None
    total_epochs: int | None
    loss_function: Any
    loss_function_args: Mapping[str, Any] | None
    metric_function: Any
    metric_function_args: Mapping[str, Any] | None
    logger: logging.Logger | None
    name: str | None
    listen: str | None
    advertise: str | None
    peers: tuple[str, ...] | list[str] | str | None
    rendezvous: Path | None
    discovery: str | None
    transport: str | None
    data_channel: bool | None
    data_port: int | None
    proxy: str | Proxy | None
    max_mbit: tuple[str, ...] | list[str] | str | None
    world_size: int | None
    rank: int | None
    members: tuple[str, ...] | list[str] | str | None
    require_members: bool | None
    failure_timeout: float | None
    straggler_timeout: float | None
    loopback: bool | None
    identity: Path | None
    insecure: bool | None
    model_dir: Path | None
    framework_result: bool | None
    checkpoint_seconds: float | None
    resume: bool | None
    disabled_plugins: tuple[str, ...] | list[str] | str | None


def _object(meaning: str) -> Any:
    return field(default=None, metadata={"meaning": meaning})


@dataclass(frozen=True, slots=True, kw_only=True)
class CallbackArguments:
    """Checked arguments of a callback. Picklable if the user's objects are."""

    settings: Settings
    model: Any = _object("the model to train. Required for PyTorch; Keras and Lightning hand theirs over")
    val_data: Any = _object(
        "data on which the merged model is evaluated: `(x, y)`, `(x, y, sample_weight)`, a generator (read once), a "
        "Keras dataset, a torch `Dataset` or `DataLoader`"
    )
    optimizer: Any = _object(
        "raw PyTorch: the optimizer. The metrics then show its learning rate, as `swarm_learning_rate`. Required for "
        '`optimizer_state="merge"` and `"reset"`, and for `proximal` and `scaffold`'
    )
    stateful: Any = _object(
        "raw PyTorch: what else has a state, an object with `state_dict()` and `load_state_dict()` or a list of them: "
        "schedulers, a `GradScaler`. A resumed run gets it back with that of `optimizer`"
    )
    master_weights: Mapping[str, Any] | None = _object(
        "raw PyTorch, of a model in half precision: the float32 copies that the optimizer trains, tensors by the names "
        "of their parameters, as in `model.state_dict()`. They are merged in place of the parameters, which are set "
        "from them"
    )
    loss_function: Any = _object(
        "PyTorch and Lightning: the loss of the validation, a callable `(outputs, targets)`, a class of `torch.nn` or "
        'its name, or `"model"` where the model computes it, as those of Transformers do. Without it the merged model '
        "is not validated"
    )
    loss_function_args: Mapping[str, Any] | None = _object("keyword arguments for a loss given as a class or a name")
    metric_function: Any = _object(
        "PyTorch and Lightning: a metric of the validation, a callable `(outputs, targets)`, a class of `torchmetrics` "
        "or its name"
    )
    metric_function_args: Mapping[str, Any] | None = _object(
        "keyword arguments for a metric given as a class or a name"
    )
    logger: logging.Logger | None = _object("where the callback logs: a `logging.Logger`")


OBJECTS: Mapping[str, str] = {
    each.name: each.metadata["meaning"] for each in fields(CallbackArguments) if each.metadata
}
"""Arguments that are no settings, and their meaning: they come from the script alone."""

_SPELLINGS = {**{name: name for name in Arguments.__annotations__}, **former.ARGUMENTS}


def parse_arguments(arguments: Mapping[str, object], *, platforms: tuple[str, ...] = ()) -> CallbackArguments:
    """Check the keyword arguments of a callback, and complete them from environment, ``swarm.toml`` and defaults.

    Environment and file are read now. Whether a swarm is configured is checked when training starts, by
    ``Settings.require_swarm``, so that a callback can be made, pickled and tested anywhere.

    Args:
        arguments: by name, ours or HPE's; ``None`` means not given.
        platforms: those that the callback serves, if it belongs to one framework; the first is ``ml_platform`` where
            no argument gives it, whatever environment and file say.

    Raises:
        UnknownArgumentError: there is no such argument, or one is given under two names.
        ConfigurationError: a value is not allowed, or two contradict each other.
    """
    given = former.arguments(arguments)
    for name in given:
        if name in SETTINGS and SETTINGS[name].no_argument:
            raise UnknownArgumentError(f"{name} is no argument of the callback: {SETTINGS[name].no_argument}")
        if name not in Arguments.__annotations__:
            raise UnknownArgumentError(f"there is no argument {name!r}{nearest(name, _SPELLINGS)}")
    if given.get("samples") is not None:
        given["samples"] = given_samples(given["samples"])
    if platforms and given.get("ml_platform") is None:
        given["ml_platform"] = platforms[0]
    settings = resolve({name: value for name, value in given.items() if name in SETTINGS}).settings
    parsed = CallbackArguments(settings=settings, **{name: given.get(name) for name in OBJECTS})  # type: ignore[arg-type]
    if platforms and settings.ml_platform not in platforms:
        raise ConfigurationError(
            f"ml_platform={settings.ml_platform!r} is not served by this callback: allowed is {' or '.join(platforms)}"
        )
    _refuse_contradictions(parsed)
    return parsed


def describe_arguments() -> str:
    """The section ``Args:`` of a callback's docstring, from the table of settings."""
    lines = ["Args:"]
    for name in Arguments.__annotations__:
        text = f"{name}: {OBJECTS[name] if name in OBJECTS else _in_full(SETTINGS[name])}."
        lines.append(textwrap.fill(text, 116, initial_indent=" " * 4, subsequent_indent=" " * 8))
    return "\n".join(lines)


def _in_full(setting: Setting) -> str:
    agree = ". Must be the same on every peer" if setting.agree == "yes" else ""
    return f"{setting.plain_meaning}. Default: {setting.default_text}{agree}"


def _refuse_contradictions(arguments: CallbackArguments) -> None:
    settings = arguments.settings
    if settings.sync_policy == "validation" and arguments.val_data is None:
        raise ConfigurationError(
            f"{settings.policy_setting} follows the merged model's validation loss: give val_data, or leave it off"
        )
    for function, keywords in (
        ("loss_function", arguments.loss_function_args),
        ("metric_function", arguments.metric_function_args),
    ):
        if keywords is None:
            continue
        if not isinstance(keywords, Mapping):
            raise ConfigurationError(f"{function}_args={keywords!r} is not allowed: allowed is a dict of arguments")
        if not isinstance(getattr(arguments, function), (str, type)):
            raise ConfigurationError(f"{function}_args is for a {function} given as a class or its name")
    logger = arguments.logger
    if logger is not None and not all(hasattr(logger, level) for level in ("debug", "info", "warning", "error")):
        raise ConfigurationError(f"logger={logger!r} is not allowed: allowed is a logging.Logger")
