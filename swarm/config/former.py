"""Names that are still accepted, with a warning: HPE's, and those of earlier versions of Swarm.

Source of HPE's: the user guide of HPE Swarm Learning 1.x and 2.x, "How to Swarm enable an ML algorithm", and its Python
client. The parameters of 0.3 are already named as ours.
"""

from __future__ import annotations

import functools
import logging
import warnings
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TypeVar

from swarm.callers import users_level
from swarm.config.links import is_link
from swarm.config.settings import PREFIX
from swarm.errors import ConfigurationError, UnknownArgumentError
from swarm.logs import configure_from_environment

SETTINGS: Mapping[str, str] = MappingProxyType(
    {
        "bulk_lane": "data_channel",
        "lane_port": "data_port",
        "membership": "discovery",
        "grace": "straggler_timeout",
    }
)
"""The present name of each setting that was renamed."""

HPE: Mapping[str, str] = MappingProxyType(
    {
        "syncFrequency": "sync_interval",
        "minPeers": "min_peers",
        "trainingContract": "model_name",
        "modelName": "model_name",
        "useAdaptiveSync": "use_adaptive_sync",
        "adsValData": "val_data",
        "valData": "val_data",
        "adsValBatchSize": "val_batch_size",
        "valBatchSize": "val_batch_size",
        "checkinModelOnTrainEnd": "checkin_model_on_train_end",
        "nodeWeightage": "node_weightage",
        "mlPlatform": "ml_platform",
        "mergeMethod": "merge_method",
        "hfMode": "trainable_only",
        "totalEpochs": "total_epochs",
        "lossFunction": "loss_function",
        "lossFunctionArgs": "loss_function_args",
        "metricFunction": "metric_function",
        "metricFunctionArgs": "metric_function_args",
    }
)
"""Our name of each parameter of HPE's callbacks."""

_HPE_VALUES: Mapping[str, Mapping[object, object]] = MappingProxyType({"hfMode": {"full": False, "peft": True}})
"""Our values of HPE's, of parameters that have others."""

ARGUMENTS: Mapping[str, str] = MappingProxyType({**HPE, **SETTINGS})
"""The present name of each argument."""

_VARIABLES = {PREFIX + old.upper(): PREFIX + new.upper() for old, new in SETTINGS.items()}
_Given = TypeVar("_Given")
_log = logging.getLogger("swarm")


def arguments(given: Mapping[str, object]) -> dict[str, object]:
    """The arguments under their present names, with a ``DeprecationWarning`` at the user's line for each other name.

    Values of HPE's that we call otherwise are ours then.

    Raises:
        UnknownArgumentError: one is given under two names.
    """

    def warn(old: str, new: str) -> None:
        reason = "is HPE's spelling" if old in HPE else "was renamed"
        instead = repr(new) if present[old] is given[old] else f"{new}={present[old]!r}"
        message = f"the argument {old!r} {reason} and is deprecated: write {instead}"
        warnings.warn(message, DeprecationWarning, stacklevel=users_level())

    present = {name: _present_value(name, value) for name, value in given.items()}
    return _renamed(present, ARGUMENTS, warn)


def _present_value(name: str, value: object) -> object:
    return _HPE_VALUES[name].get(value, value) if name in _HPE_VALUES and isinstance(value, str) else value


def variables(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment with every setting under its present name; the log names each former one, once per process.

    Raises:
        ConfigurationError: a setting is given under both names.
    """
    renamed = {name: text for name, text in environment.items() if name not in _VARIABLES or text.strip()}
    for old, new in _VARIABLES.items():
        if not _is_given(old, renamed):
            continue
        if _is_given(new, renamed):
            raise ConfigurationError(f"{old} and {new} are the same setting: give {new} alone")
        _log_once("the variable", old, new)
        renamed[new] = renamed.pop(old)
    return renamed


def _is_given(variable: str, environment: Mapping[str, str]) -> bool:
    text = environment.get(variable, "").strip()
    return bool(text) and not is_link(variable, text, setting=True)


def keys(table: Mapping[str, _Given], origin: str) -> dict[str, _Given]:
    """The keys of the file that ``origin`` names, in the same way.

    Raises:
        ConfigurationError: a setting is given under both names.
    """
    try:
        return _renamed(table, SETTINGS, functools.partial(_log_once, f"{origin}: the setting"))
    except UnknownArgumentError as error:
        raise ConfigurationError(f"{origin}: {error}") from None


def _renamed(
    given: Mapping[str, _Given], present: Mapping[str, str], warn: Callable[[str, str], None]
) -> dict[str, _Given]:
    renamed: dict[str, _Given] = {}
    spelt: dict[str, str] = {}
    for name, value in given.items():
        new = present.get(name, name)
        if new in spelt:
            raise UnknownArgumentError(f"{spelt[new]!r} and {name!r} are the same setting: give {new!r} alone")
        if new != name:
            warn(name, new)
        renamed[new] = value
        spelt[new] = name
    return renamed


@functools.cache
def _log_once(where: str, old: str, new: str) -> None:
    configure_from_environment()
    _log.warning("%s %s was renamed and is deprecated: write %s", where, old, new)
