"""The files of a process other than rank 0: its shards of the models in checkpoints, and the state of its training.

They are in ``rank-<number>`` in the directory of the checkpoints of the site, under the names that rank 0 gives. Which
of them are complete, and belong together, the files of rank 0 tell.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from swarm.errors import ModelError, UnreadableFileError
from swarm.records import Resumed
from swarm.storage.files import read_model_file, write_model
from swarm.storage.places import state_directory
from swarm.storage.rank_files import rank_directory, remove_former_ranks
from swarm.storage.training import Training, read_training, write_training

if TYPE_CHECKING:
    from pathlib import Path

    from swarm.config import Settings
    from swarm.ranks.shard_store import ShardStore
    from swarm.tensors.state import Schema

_KINDS = (ModelError, UnreadableFileError, OSError)
"""Errors that rank 0 raises as they are; all others become the last."""


class FileWork(enum.StrEnum):
    """What a process can do with its files."""

    WRITE = "write"
    """Write the shard with a number."""
    READ = "read"
    """Read a shard; the answer is its digest."""
    WRITE_TRAINING = "write_training"
    """Write the state of the training with a number."""
    READ_TRAINING = "read_training"
    """Read the state of the training."""
    TIDY = "tidy"
    """Remove the files that rank 0 does not name."""


class ShardFiles:
    """Files of one process. It does one work at a time, as rank 0 waits for each."""

    def __init__(self, rank: int, settings: Settings, store: ShardStore, schema: Schema) -> None:
        """Nothing is read yet.

        Args:
            rank: of this process.
            settings: of the site.
            store: has what is written, and takes what is read.
            schema: of the shards of committed models.
        """
        self._rank = rank
        self._settings = settings
        self._store = store
        self._schema = schema

    def do(self, content: Mapping[str, Any]) -> dict[str, Any]:
        """Do what rank 0 asks for; the answer, for ``require_done``."""
        try:
            site = state_directory(replace(self._settings, name=content["peer"]))
            directory = rank_directory(site, self._rank)
            return {"found": self._do(FileWork(content["work"]), content, directory)}
        except Exception as error:  # noqa: BLE001  (rank 0 raises it)
            kind = next((kind for kind in _KINDS if isinstance(error, kind)), OSError)
            return {"error": kind.__name__, "text": str(error)}

    def _do(self, work: FileWork, content: Mapping[str, Any], directory: Path) -> str | None:
        match work:
            case FileWork.WRITE:
                write_model(directory / content["file"], self._store.get(content["model"]), content["about"])
            case FileWork.READ:
                model = read_model_file(
                    directory / content["file"], self._schema.kept if content["kept"] else self._schema
                )
                self._store.put(content["result"], model)
                return model.digest()
            case FileWork.WRITE_TRAINING:
                state = self._store.training(content["state"])
                write_training(directory / content["file"], Training(Resumed(**content["progress"]), state))
            case FileWork.READ_TRAINING:
                self._store.keep_training(content["state"], read_training(directory / content["file"]).state)
            case FileWork.TIDY:
                for path in directory.glob("*.safetensors"):
                    if path.name not in content["files"]:
                        path.unlink(missing_ok=True)
                remove_former_ranks(directory.parent, content["ranks"])
        return None


def require_done(answer: Mapping[str, Any], whose: str) -> None:
    """Raise the error in an answer of ``ShardFiles.do``, if it has one.

    Raises:
        OSError: something could not be written.
        UnreadableFileError: something could not be read.
        ModelError: a file is of another model, or the state of the training cannot be written.
    """
    if "error" in answer:
        kind = next(kind for kind in _KINDS if kind.__name__ == answer["error"])
        raise kind(f"{whose}: {answer['text']}")
