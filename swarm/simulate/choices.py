"""The settings that can be tried out, and the combinations of their values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import product

from swarm.config.granted import OF_A_SITE
from swarm.config.settings import SETTINGS, Setting
from swarm.errors import ConfigurationError, SwarmError
from swarm.plugins import PluginRegistry

Choice = Mapping[str, object]
"""A value for each setting that is tried out, by name."""

_NOT_TRIED = OF_A_SITE | {
    "val_batch_size",
    "val_steps",
    "ml_platform",
    "model_name",
    "start_timeout",
    "total_epochs",
    "data_channel",
    "require_members",
    "failure_timeout",
    "straggler_timeout",
    "checkpoint_seconds",
    "framework_result",
    "trainable_only",
    "exchange_shards",
}
"""What describes a site, its data or its network. All other settings, also those added later, can be tried out."""

TRIED: Mapping[str, Setting] = {name: row for name, row in SETTINGS.items() if name not in _NOT_TRIED}
"""The settings that can be tried out."""


def option(setting: str) -> str:
    """The option of the command for a setting."""
    return f"--{setting.replace('_', '-')}"


def combinations(given: Mapping[str, Sequence[str]]) -> list[Choice]:
    """Every combination of the values, in the order given.

    Args:
        given: by name of setting, what the option had: values with commas between them. A setting that is a list takes
            one value each time that its option is given.

    Raises:
        ConfigurationError: a value is not allowed, is given twice, or no plugin provides it.
    """
    values = {name: list(_values(TRIED[name], texts)) for name, texts in given.items()}
    for name, found in values.items():
        if len(set(found)) < len(found):
            raise ConfigurationError(f"{option(name)} has a value twice: give each once")
    return [dict(zip(values, combination, strict=True)) for combination in product(*values.values())]


def require_peers(choices: Sequence[Choice], peers: int) -> None:
    """Refuse merge rules that need more peers; the peers would refuse them later, one by one.

    Raises:
        ConfigurationError: there are too few peers for a rule.
    """
    registry = PluginRegistry()
    for choice in choices:
        name = choice.get("merge_method")
        fewest = registry.merge_rule(str(name)).fewest if name else 1
        if peers < fewest:
            raise ConfigurationError(
                f"{option('merge_method')} {name} needs {fewest} or more peers to limit a bad contribution, and -n "
                f"gives {peers}: raise it, or choose another rule"
            )


def label(choice: Choice) -> str:
    """A choice in one line."""
    return ", ".join(f"{name}={shown(value)}" for name, value in choice.items()) or "as configured"


def shown(value: object) -> str:
    """A value as the table shows it."""
    if isinstance(value, bool):
        return str(value).lower()
    return "+".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _values(row: Setting, texts: Sequence[str]) -> Iterator[object]:
    for text in texts:
        for part in [text] if isinstance(row.default, tuple) else text.split(","):
            try:
                value = (row.check.read or row.check.accept)(part)
            except (ValueError, TypeError, OverflowError):
                raise ConfigurationError(
                    f"{option(row.name)} {part!r} is not allowed: allowed is {row.check.allowed}"
                ) from None
            _require(row.name, value)
            yield value


def _require(name: str, value: object) -> None:
    """Refuse the name of a part that no plugin provides; the peers would refuse it later, one by one."""
    registry = PluginRegistry()
    known = {"merge_method": registry.merge_rule, "sync_policy": registry.sync_policy, "codec": registry.require_codec}
    try:
        if name in known:
            known[name](str(value))
    except SwarmError as error:
        raise ConfigurationError(f"{option(name)}: {error}") from error
