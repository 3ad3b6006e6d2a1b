"""Loads a file of a run into an estimator."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from swarm.errors import ModelError
from swarm.storage import load_into
from swarm_sklearn.estimators import family_of
from swarm_sklearn.port import SklearnPort


def load_weights(estimator: Any, path: str | Path) -> None:
    """Set the state of ``estimator`` from a file of a model directory, such as ``swarm-final.safetensors``.

    Args:
        estimator: one that was fitted, or that ``initialise`` was called with.
        path: the file.

    Raises:
        ModelError: the estimator has no state yet, the file cannot be read, or it is of another model; the message
            names the first difference.
        ConfigurationError: the estimator cannot be merged.
    """
    family = family_of(estimator)
    if not family.ready:
        raise ModelError(
            f"{type(estimator).__name__} has no shapes yet: call swarm_sklearn.initialise(estimator, x, classes=...) "
            "before load_weights"
        )
    load_into(SklearnPort(family), Path(path))
