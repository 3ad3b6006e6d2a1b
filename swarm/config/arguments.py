"""What every callback of Swarm is made from: the settings, and the objects of the user's script."""

from __future__ import annotations

import difflib
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypedDict

from swarm.config import SETTINGS, Settings, resolve
from swarm.config.hpe import SPELLINGS, translate
from swarm.errors import ConfigurationError, UnknownArgumentError

OBJECTS = (
    "model",
    "val_data",
    "optimizer",
    "loss_function",
    "loss_function_args",
    "metric_function",
    "metric_function_args",
    "logger",
)
"""Arguments that are no settings: they come from the script alone."""

Path = str | os.PathLike[str]


class Arguments(TypedDict, total=False):
    """The keyword arguments of every callback, described in ``swarm.SwarmCallback``."""

    sync_interval: int | None
    min_peers: int | None
    use_adaptive_sync: bool | None
    sync_policy: str | None
    val_data: Any
    val_batch_size: int | None
    val_steps: int | None
    checkin_model_on_train_end: Literal["inactive", "snapshot", "active"] | None
    node_weightage: int | None
    ml_platform: str | None
    model_name: str | None
    model: Any
    merge_method: str | None
    codec: str | None
    share: tuple[str, ...] | list[str] | str | None
    local: tuple[str, ...] | list[str] | str | None
    optimizer: Any
    below_quorum: Literal["train", "wait"] | None
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
    world_size: int | None
    rank: int | None
    members: tuple[str, ...] | list[str] | str | None
    failure_timeout: float | None
    straggler_timeout: float | None
    loopback: bool | None
    insecure: bool | None
    data_dir: Path | None
    model_dir: Path | None
    checkpoint_seconds: float | None
    resume: bool | None
    disabled_plugins: tuple[str, ...] | list[str] | str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CallbackArguments:
    """Checked arguments of a callback. Picklable if the user's objects are."""

    settings: Settings
    model: Any = None
    val_data: Any = None
    optimizer: Any = None
    loss_function: Any = None
    """A callable, or the name of a class."""
    loss_function_args: Mapping[str, Any] | None = None
    """Keyword arguments for the class that ``loss_function`` names."""
    metric_function: Any = None
    """A callable, or the name of a class."""
    metric_function_args: Mapping[str, Any] | None = None
    """Keyword arguments for the class that ``metric_function`` names."""
    logger: logging.Logger | None = None


def parse_arguments(arguments: Mapping[str, object], *, platforms: tuple[str, ...] = ()) -> CallbackArguments:
    """Check the keyword arguments of a callback, and complete them from environment, ``swarm.toml`` and defaults.

    Environment and file are read now. That a swarm is configured is not asked here but when training starts, by
    ``Settings.require_swarm``, so that a callback can be made, pickled and tested anywhere.

    Args:
        arguments: by name, ours or HPE's; ``None`` means not given.
        platforms: those that the callback serves, if it is a framework's own; the first is ``ml_platform`` where no
            argument gives it, whatever environment and file say.

    Raises:
        UnknownArgumentError: there is no such argument, or one is given under two names.
        ConfigurationError: a value is not allowed, or two contradict each other.
    """
    given = translate(arguments)
    for name in given:
        if name not in SETTINGS and name not in OBJECTS:
            raise UnknownArgumentError(f"there is no argument {name!r}{_nearest(name)}")
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


def _nearest(name: str) -> str:
    known = [*SETTINGS, *OBJECTS, *SPELLINGS]
    close = difflib.get_close_matches(name, known, n=1) or difflib.get_close_matches(name.lower(), known, n=1)
    if close:
        return f": did you mean {SPELLINGS.get(close[0], close[0])!r}?"
    return f"; known are {', '.join(sorted({*SETTINGS, *OBJECTS}))}"


def _refuse_contradictions(arguments: CallbackArguments) -> None:
    settings = arguments.settings
    if settings.policy == "validation" and arguments.val_data is None:
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
