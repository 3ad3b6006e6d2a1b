"""The variables of the plugin."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from swarm.errors import ConfigurationError

PREFIX = "SWARM_MLFLOW_"
EXPERIMENT = "swarm"
WAIT = 120.0
"""Seconds that the end of a training waits until everything is in the store."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What was asked for."""

    store: str
    """``MLFLOW_TRACKING_URI``; it may hold a password."""
    experiment: str = EXPERIMENT
    models: bool = True
    """Whether the closing and the best model are logged, or their figures alone."""
    wait: float = WAIT

    def __repr__(self) -> str:
        return f"Settings(experiment={self.experiment!r}, models={self.models}, wait={self.wait})"

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Settings | None:
        """The settings; None without ``MLFLOW_TRACKING_URI``.

        Raises:
            ConfigurationError: a variable is unknown or not allowed; the message names it.
        """
        given = {
            name.removeprefix(PREFIX).lower(): value.strip()
            for name, value in environment.items()
            if name.startswith(PREFIX) and value.strip()
        }
        if unknown := given.keys() - {"experiment", "models", "wait"}:
            raise ConfigurationError(f"there is no variable {PREFIX}{min(unknown).upper()}; the README lists them")
        models = given.get("models", "true").lower()
        if models not in {"true", "false"}:
            raise ConfigurationError(f"{PREFIX}MODELS={given['models']!r} is not allowed: it is true or false")
        wait = _seconds(given.get("wait", str(WAIT)))
        if not (store := environment.get("MLFLOW_TRACKING_URI", "").strip()):
            return None
        experiment = given.get("experiment") or environment.get("MLFLOW_EXPERIMENT_NAME", "").strip() or EXPERIMENT
        return cls(store, experiment, models == "true", wait)


def _seconds(text: str) -> float:
    try:
        found = float(text)
    except ValueError:
        found = -1.0
    if not 0 <= found < 10**6:
        raise ConfigurationError(f"{PREFIX}WAIT={text!r} is not allowed: it is a number of seconds")
    return found
