"""The checkpoints of a site of which each process has its own shard of the model, in rank 0.

The files of rank 0 are those of a site of one process, with its shard in the place of the model. The other processes
write first, so that a record or a file of rank 0 never names what is not there. Each file of theirs has a name that
tells with which file of rank 0 it belongs together.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

from swarm.errors import ModelError, RanksError, UnreadableFileError
from swarm.ranks.directed import number_of
from swarm.ranks.shard_files import FileWork
from swarm.ranks.shard_training import OWN, StateOfAll
from swarm.storage.checkpoints import BEST, LAYOUT, CheckpointFiles
from swarm.tensors.shards import joint_digest

if TYPE_CHECKING:
    import logging
    from collections.abc import Mapping
    from pathlib import Path
    from typing import Any

    from swarm.ranks.directed import DirectedRanks
    from swarm.records import Commit, Resumed
    from swarm.storage.ledger import Head
    from swarm.storage.training import Training
    from swarm.tensors.shards import OtherShards
    from swarm.tensors.state import ModelState, Schema

NOT_LOADED = "resume: the state of the optimizer and of other objects of the script is not loaded: %s"


class ShardCheckpoints(CheckpointFiles):
    """A directory of checkpoints, and those of the other processes."""

    def __init__(self, directory: Path, peer: str, ranks: DirectedRanks, layout: str, *, each: bool = True) -> None:
        """Nothing is read yet.

        Args:
            directory: of the files of rank 0.
            peer: the name of this peer.
            ranks: the other processes.
            layout: which process has what.
            each: whether each process trains, and has the state of its own training; else rank 0 has all of it.
        """
        super().__init__(directory, layout)
        self._peer = peer
        self._ranks = ranks
        self._each = each
        self._ranks_with_files = len(ranks.addresses) + 1
        self._kept = self._training = ""
        """The files of the other processes that belong to those of rank 0 with these names."""

    def write(self, commit: Commit, model: ModelState, head: Head | None) -> None:
        super().write(commit, model, head)
        self._tidy()

    def _write_model(self, path: Path, model: ModelState, about: Mapping[str, str]) -> None:
        self._write_shards(path.name, model, {**about, LAYOUT: self._layout})
        super()._write_model(path, model, about)

    def _read_model(self, path: Path, schema: Schema) -> tuple[ModelState, str]:
        model, own = super()._read_model(path, schema)
        model.others, digests = self._read_shards(path.name)
        digest = joint_digest([own, *digests])
        self._ranks.call(model.others, digest)
        return model, digest

    def write_kept(self, kept: ModelState) -> None:
        name = _kept_name(kept)
        self._write_shards(name, kept, {})
        super().write_kept(kept)
        self._kept = name

    def kept(self, schema: Schema, logger: logging.Logger) -> ModelState | None:
        found = super().kept(schema, logger)
        if found is None:
            return None
        name = _kept_name(found)
        try:
            found.others, _ = self._read_shards(name, kept=True)
        except (UnreadableFileError, ModelError) as error:
            text = "resume: the values that this site keeps for itself start as those of the swarm: %s"
            logger.warning(text, error)
            return None
        self._kept = name
        return found

    def write_training(self, training: Training | None) -> None:
        name = ""
        if training and isinstance(training.state, StateOfAll):
            name = _training_name(training.progress)
            content = {"state": number_of(training.state.others), "progress": asdict(training.progress)}
            self._do(FileWork.WRITE_TRAINING, name, content)
        super().write_training(training)
        self._training = name
        if training is None:
            self._tidy()

    def training(self, logger: logging.Logger) -> Training | None:
        found = super().training(logger)
        if found is None or found.state is None:
            return found
        if (isinstance(found.state, dict) and OWN in found.state) != self._each:
            whose = "of one process" if self._each else "of several processes, each with its own shard"
            logger.warning(NOT_LOADED, f"it is that {whose}")
            return replace(found, state=None)
        if not self._each:
            return found
        name, others = _training_name(found.progress), self._ranks.new()
        try:
            self._do(FileWork.READ_TRAINING, name, {"state": others.number})
        except (UnreadableFileError, ModelError) as error:
            logger.warning(NOT_LOADED, error)
            return replace(found, state=None)
        self._training = name
        return replace(found, state=StateOfAll(found.state[OWN], others))

    def _tidy(self) -> None:
        """Have the other processes remove the files that belong to none of rank 0; where that fails, the next time."""
        models = [path.with_suffix(".safetensors") for path in self._records()]
        names = [path.name for path in (*models, *self._directory.glob(f"{BEST}*.safetensors"))]
        with suppress(OSError):
            files = [*names, self._kept, self._training]
            self._do(FileWork.TIDY, "", {"files": files, "ranks": self._ranks_with_files})

    def _write_shards(self, name: str, model: ModelState, about: Mapping[str, str]) -> None:
        self._do(FileWork.WRITE, name, {"model": number_of(model.others), "about": dict(about)})

    def _read_shards(self, name: str, *, kept: bool = False) -> tuple[OtherShards, list[str]]:
        """Have the other processes read their shards of a model; these, and their digests, by rank."""
        others = self._ranks.new()
        return others, self._do(FileWork.READ, name, {"result": others.number, "kept": kept})

    def _do(self, work: FileWork, name: str, content: Mapping[str, Any]) -> list[Any]:
        try:
            return self._ranks.do_files(work, {"peer": self._peer, "file": name, **content})
        except RanksError as error:
            if work in (FileWork.READ, FileWork.READ_TRAINING):
                raise
            raise OSError(str(error)) from error  # the session hears from the link that a process is gone


def _kept_name(kept: ModelState) -> str:
    return f"kept-{kept.digest()}.safetensors"


def _training_name(done: Resumed) -> str:
    return f"training-{done.round:09d}-{done.batches}.safetensors"
