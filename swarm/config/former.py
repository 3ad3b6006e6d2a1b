"""The spellings of HPE Swarm Learning 1.x and 2.x, so that a script moves by changing its import.

The parameters of 0.3 are already named as ours. Source: HPE Swarm Learning user guide, "How to Swarm enable an ML
algorithm", and its Python client.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Mapping
from types import MappingProxyType

from swarm.config.packages import is_ours
from swarm.errors import UnknownArgumentError

SPELLINGS: Mapping[str, str] = MappingProxyType(
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
        "totalEpochs": "total_epochs",
        "lossFunction": "loss_function",
        "lossFunctionArgs": "loss_function_args",
        "metricFunction": "metric_function",
        "metricFunctionArgs": "metric_function_args",
    }
)
"""Our name of each parameter."""


def translate(arguments: Mapping[str, object]) -> dict[str, object]:
    """The arguments under our names, with a ``DeprecationWarning`` at the user's line for each other spelling.

    Raises:
        UnknownArgumentError: one parameter is given under two names.
    """
    translated: dict[str, object] = {}
    spelt: dict[str, str] = {}
    for name, value in arguments.items():
        ours = SPELLINGS.get(name, name)
        if ours in spelt:
            raise UnknownArgumentError(f"{spelt[ours]!r} and {name!r} are the same argument: give {ours!r} alone")
        if ours != name:
            message = f"{name!r} is HPE's spelling, which will go: write {ours!r}"
            warnings.warn(message, DeprecationWarning, stacklevel=_users_level())
        translated[ours] = value
        spelt[ours] = name
    return translated


def _users_level() -> int:
    """The level, for a caller's ``stacklevel``, of the first frame outside Swarm."""
    level = 1
    frame = sys._getframe(1)  # noqa: SLF001 - as `warnings` itself does; 3.11 has no `skip_file_prefixes`
    while frame.f_back and is_ours(frame.f_globals.get("__name__", "")):
        frame = frame.f_back
        level += 1
    return level
