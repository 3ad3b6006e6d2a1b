"""The directories of a training script: ``DATA_DIR``, ``MODEL_DIR`` and ``SCRATCH_DIR``."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from swarm.config import Settings
from swarm.config.sources import Value
from swarm.errors import ConfigurationError

CONTAINER_LAYOUT = Path("/platform/swarmml")
"""The parent directory of ``data`` and ``model`` in HPE's containers."""

RANK = "{rank}"
"""Placeholder for the rank of a peer in the directories of ``swarm up``."""
SCRATCH = "scratch"
"""Scratch directory below the model directory, if ``SCRATCH_DIR`` is not set."""


SCRATCH_PREFIX = "swarm-scratch-"
"""Prefix of temporary scratch directories."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Directories:
    """Directories of one peer; with ``None`` the default of the script is used."""

    data: Path | None = None
    model: Path | None = None
    scratch: Path | None = None

    def of_ranks(self, peers: int) -> list[Directories]:
        """The directories of each of several local peers.

        ``{rank}`` is replaced in all of them. Without it, each peer writes to ``peer-<rank>`` inside the model and the
        scratch directory. It reads ``peer-<rank>`` of the data directory if there is one for every peer; otherwise all
        peers read the data directory.

        Raises:
            ConfigurationError: the data directory has such directories only for some of the peers.
        """
        data = _data_of_ranks(self.data, peers)
        return [
            Directories(data=data[rank], model=_own(self.model, rank), scratch=_own(self.scratch, rank))
            for rank in range(peers)
        ]

    def prepare(self) -> None:
        """Create the directories that a peer writes to.

        Raises:
            ConfigurationError: the data directory does not exist, or another one cannot be created.
        """
        if self.data and not self.data.is_dir():
            raise ConfigurationError(f"data_dir={str(self.data)!r} is not a directory: name the one with the data")
        for name, directory in (("model_dir", self.model), ("SCRATCH_DIR", self.scratch)):
            try:
                if directory:
                    directory.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise ConfigurationError(
                    f"{name}={str(directory)!r} cannot be created ({error.strerror}): give one that can be written"
                ) from error

    def variables(self) -> dict[str, str]:
        """The environment variables that name the directories for a script and its session."""
        variables = {}
        for name, directory in (("DATA_DIR", self.data), ("MODEL_DIR", self.model)):
            if directory:
                variables[name] = variables[f"SWARM_{name}"] = str(directory.absolute())
        if self.scratch:
            variables["SCRATCH_DIR"] = str(self.scratch.absolute())
        return variables


def _own(directory: Path | None, rank: int) -> Path | None:
    """The directory of one peer, so that two peers do not write the same file."""
    if directory is None:
        return None
    named = _replaced(directory, rank)
    return directory / f"peer-{rank}" if named == directory else named


def _data_of_ranks(directory: Path | None, peers: int) -> list[Path | None]:
    if directory is None or RANK in str(directory):
        return [directory and _replaced(directory, rank) for rank in range(peers)]
    own = [directory / f"peer-{rank}" for rank in range(peers)]
    lacking = [path for path in own if not path.is_dir()]
    if not lacking:
        return [*own]
    if len(lacking) < peers:
        raise ConfigurationError(
            f"data_dir={str(directory)!r} holds directories peer-<rank>, but {str(lacking[0])!r} is not there: give "
            f"each of the {peers} peers one, or none, where all use the same data"
        )
    return [directory] * peers


def _replaced(directory: Path, rank: int) -> Path:
    return Path(str(directory).replace(RANK, str(rank)))


def fallbacks(environment: Mapping[str, str], container_layout: Path = CONTAINER_LAYOUT) -> dict[str, Value]:
    """Directories for settings that are not set: ``DATA_DIR`` and ``MODEL_DIR``, else those of the container layout."""
    found = {}
    for variable, container in (("DATA_DIR", container_layout / "data"), ("MODEL_DIR", container_layout / "model")):
        if environment.get(variable):
            found[variable.lower()] = Value(Path(environment[variable]), variable)
        elif container.is_dir():
            found[variable.lower()] = Value(container, str(container))
    return found


def of_settings(settings: Settings, environment: Mapping[str, str]) -> Directories:
    """The directories that the settings name; ``SCRATCH_DIR`` comes from the environment only."""
    scratch = environment.get("SCRATCH_DIR")
    return Directories(data=settings.data_dir, model=settings.model_dir, scratch=Path(scratch) if scratch else None)


def with_scratch(directories: Directories, otherwise: Path | None = None) -> Directories:
    """The directories with a scratch directory: the given one, else one in the model directory, else ``otherwise``."""
    if directories.scratch:
        return directories
    return replace(directories, scratch=directories.model / SCRATCH if directories.model else otherwise)


@contextmanager
def temporary_scratch() -> Iterator[Path]:
    """A directory for scratch directories, which is removed at the end if it is empty."""
    root = Path(tempfile.mkdtemp(prefix=SCRATCH_PREFIX))
    try:
        yield root
    finally:
        remove_empty([root])


def remove_empty(directories: Iterable[str | Path | None]) -> None:
    """Remove the directories that are empty."""
    for directory in directories:
        with suppress(OSError):
            if directory:
                Path(directory).rmdir()
