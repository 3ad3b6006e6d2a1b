"""Where a training script finds its data and leaves its model: ``DATA_DIR`` and ``MODEL_DIR``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from swarm.errors import ConfigurationError

CONTAINER_LAYOUT = Path("/platform/swarmml")
"""Where scripts written for HPE's containers expect ``data`` and ``model``."""

RANK = "{rank}"
"""In a data directory: stands for the rank of the peer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Directories:
    """The data and the model directory of one peer; ``None`` leaves the script's own default in place."""

    data: Path | None = None
    model: Path | None = None

    def of_rank(self, rank: int) -> Directories:
        """The directories of one of several local peers: the same data, unless its path names the rank; its own model.

        Raises:
            ConfigurationError: the data directory of this rank does not exist.
        """
        data = self.data and Path(str(self.data).replace(RANK, str(rank)))
        return Directories(data=data, model=self.model and self.model / f"peer-{rank}")

    def prepare(self) -> None:
        """Create the model directory.

        Raises:
            ConfigurationError: the data directory does not exist, or the model directory cannot be created.
        """
        if self.data and not self.data.is_dir():
            raise ConfigurationError(f"data_dir={str(self.data)!r} is not a directory: name the one with the data")
        if self.model:
            try:
                self.model.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise ConfigurationError(
                    f"model_dir={str(self.model)!r} cannot be created ({error.strerror}): give one that can be written"
                ) from error

    def variables(self) -> dict[str, str]:
        """The environment variables that tell a script and its session of the directories."""
        variables = {}
        for name, directory in (("DATA_DIR", self.data), ("MODEL_DIR", self.model)):
            if directory:
                variables[name] = variables[f"SWARM_{name}"] = str(directory.absolute())
        return variables


def choose(
    settings: Directories, environment: Mapping[str, str], container_layout: Path = CONTAINER_LAYOUT
) -> Directories:
    """What the settings say, else ``DATA_DIR`` and ``MODEL_DIR``, else the container layout where there is one."""
    return Directories(
        data=settings.data or _fallback("DATA_DIR", environment, container_layout / "data"),
        model=settings.model or _fallback("MODEL_DIR", environment, container_layout / "model"),
    )


def _fallback(variable: str, environment: Mapping[str, str], container: Path) -> Path | None:
    if environment.get(variable):
        return Path(environment[variable])
    return container if container.is_dir() else None
