"""Committed models on disk, so that a restarted site can continue.

A checkpoint is two files, the model as safetensors and the record of its round as JSON, in
``MODEL_DIR/swarm-state/<session>/<peer>``. The record is written last. A checkpoint without a record is ignored. The
metadata of the model say how far the ledger went then.
The values that this site keeps for itself are in a file of their own, which is replaced with each checkpoint. So is the
state of its training.
With ``keep_best`` the best model before that round is in a file of its own, ``best-<digest>.safetensors``.
Where each process of the site has its own shard of the model (``exchange_shards``), the model in these files is the
shard of rank 0, and the metadata tell the layout. The other processes have files of their own.
"""

from __future__ import annotations

import json
import logging
import os
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from swarm.certification.encoding import decode_record, encode_record
from swarm.certification.statements import record_hash
from swarm.config import Settings
from swarm.errors import ConfigurationError, ModelError, UnreadableFileError
from swarm.executor import Executor
from swarm.records import NOT_RESUMED, Commit, Resumed
from swarm.storage.files import read_about, read_model_file, replace_file, write_model
from swarm.storage.ledger import Head, Ledger
from swarm.storage.places import state_directory
from swarm.storage.rank_files import remove_former_ranks
from swarm.storage.training import Training, read_progress, read_training, write_training
from swarm.tensors.state import ModelState, Schema

KEPT = "kept.safetensors"
"""The values that this site keeps for itself, at the time of the newest checkpoint."""
TRAINING = "training.safetensors"
"""The state of this site's training when the newest checkpoint was written; not there if that closed its run."""
BEST = "best-"
"""Before the digest in the name of the file of the best model."""
PATIENCE = 10.0
"""Seconds to wait until the ledger, which another thread writes, has the record of a checkpoint."""
LAYOUT = "layout"
"""The metadata of a shard: how the model is divided over the processes of the site."""
KEEP = 2
"""Number of checkpoints kept: the newest, and the previous one in case the newest is damaged."""

Found = tuple[Commit, ModelState]
"""A checkpoint: the record of a round, and its model."""
Doubt = Callable[[Commit], str]
"""Why a record is not true; empty if it is."""
LOAD_IT = "to train on from its model, load that file in your script instead"
_BY_A_SETTING = re.compile(r"'(outer|optimizer|scaffold)\.\w+ of ")
"""A tensor that is in the model because of a setting."""


def trusted(_: Commit) -> str:
    """Takes every record for true."""
    return ""


class CheckpointStore(ABC):
    """Storage for the checkpoints of one peer in one session. ``str()`` gives the location for messages."""

    @abstractmethod
    def write(self, commit: Commit, model: ModelState, head: Head | None) -> None:
        """Store a committed model, and how far the ledger goes.

        Raises:
            OSError: it could not be written.
        """

    @abstractmethod
    def newest(
        self, schema: Schema, logger: logging.Logger, doubt: Doubt = trusted
    ) -> tuple[Commit, ModelState] | None:
        """The newest complete checkpoint whose record is true, or None. Skipped checkpoints are logged.

        Args:
            schema: of the model.
            logger: is told what is skipped, and why.
            doubt: tells which records are true.

        Raises:
            ConfigurationError: there are checkpoints, but of another model; the message names the first difference.
        """

    @abstractmethod
    def write_best(self, digest: str, best: ModelState) -> None:
        """Store the best model, which records of checkpoints name by ``digest``, if it is not stored yet.

        Raises:
            OSError: it could not be written.
        """

    @abstractmethod
    def best(self, digest: str, schema: Schema, logger: logging.Logger) -> ModelState | None:
        """The stored best model with this digest; None, with a log line, if it is not there."""

    @abstractmethod
    def write_kept(self, kept: ModelState) -> None:
        """Store the values that this site keeps for itself.

        Raises:
            OSError: they could not be written.
        """

    @abstractmethod
    def kept(self, schema: Schema, logger: logging.Logger) -> ModelState | None:
        """The stored values of the tensors of ``schema``; None, with a warning, if there are none that fit it."""

    @abstractmethod
    def write_training(self, training: Training | None) -> None:
        """Store the state of this site's training; None removes it.

        Raises:
            OSError: it could not be written.
            ModelError: it holds something that cannot be written.
        """

    @abstractmethod
    def training(self, logger: logging.Logger) -> Training | None:
        """The stored state of this site's training; None if there is none, with a warning if it cannot be read."""


class CheckpointFiles(CheckpointStore):
    """A directory of checkpoints."""

    def __init__(self, directory: Path, layout: str = "") -> None:
        """Nothing is read yet.

        Args:
            directory: of the files.
            layout: how the model is divided over the processes of this site; empty where this one has all of it.
        """
        self._directory = directory
        self._layout = layout
        self._ranks_with_files = 1
        """Processes of this site that have files, this one included."""
        self._skipped: set[Path] = set()
        """Records of checkpoints that this run does not continue from. It does not remove them: the user may."""

    def __str__(self) -> str:
        return str(self._directory)

    def write(self, commit: Commit, model: ModelState, head: Head | None) -> None:
        stem = f"{commit.lineage}-{commit.round:09d}"
        about = {"digest": commit.digest} | (head.metadata() if head else {})
        self._write_model(self._directory / f"{stem}.safetensors", model, about)
        before = self._records()
        record = self._directory / f"{stem}.json"
        replace_file(record, encode_record(commit))
        last = max((_written_at(path) for path in before), default=0)
        if _written_at(record) <= last:
            # The clock was set back: a checkpoint must not look older than the previous ones.
            os.utime(record, ns=(last + 1, last + 1))
        for old in [each for each in self._records() if each not in self._skipped][:-KEEP]:
            old.unlink(missing_ok=True)
            old.with_suffix(".safetensors").unlink(missing_ok=True)
        self._remove_bests()
        remove_former_ranks(self._directory, self._ranks_with_files)

    def write_best(self, digest: str, best: ModelState) -> None:
        path = self._best(digest)
        if not path.is_file():
            self._write_model(path, best, {"digest": digest})

    def best(self, digest: str, schema: Schema, logger: logging.Logger) -> ModelState | None:
        path = self._best(digest)
        try:
            model, found = self._read_model(path, schema)
        except (UnreadableFileError, ModelError) as error:
            logger.info("resume: the best model is not in %s, and other peers are asked for it: %s", path, error)
            return None
        if found == digest:
            return model
        logger.warning("resume: the best model in %s is damaged, and other peers are asked for it", path)
        return None

    def _write_model(self, path: Path, model: ModelState, about: Mapping[str, str]) -> None:
        """Write a committed model.

        Raises:
            OSError: it could not be written.
        """
        write_model(path, model, {**about, LAYOUT: self._layout} if self._layout else about)

    def _read_model(self, path: Path, schema: Schema) -> tuple[ModelState, str]:
        """A committed model, and its digest.

        Raises:
            UnreadableFileError: the file cannot be read, or is not complete.
            ModelError: it contains a model of another schema.
            ConfigurationError: the model was divided over other processes, or not at all.
        """
        layout = read_about(path).get(LAYOUT, "")
        if layout != self._layout:
            raise ConfigurationError(_divided_otherwise(path, layout, self._layout))
        model = read_model_file(path, schema)
        return model, model.digest()

    def _best(self, digest: str) -> Path:
        return self._directory / f"{BEST}{digest}.safetensors"

    def _remove_bests(self) -> None:
        """Remove the best models that no record names any more."""
        found = [_record_in(path)[0] for path in self._records()]
        named = {self._best(commit.best.digest) for commit in found if commit and commit.best}
        for path in {*self._directory.glob(f"{BEST}*.safetensors")} - named:
            path.unlink(missing_ok=True)

    def newest(
        self, schema: Schema, logger: logging.Logger, doubt: Doubt = trusted
    ) -> tuple[Commit, ModelState] | None:
        records = self._records()
        for record in reversed(records):
            path = record.with_suffix(".safetensors")
            if not path.is_file():
                logger.warning("resume: checkpoint %s is incomplete and is skipped", record)
                continue
            commit, reason = _record_in(record)
            if commit is None or (reason := doubt(commit)):
                self._skipped.add(record)
                logger.warning("resume: checkpoint %s is skipped: %s; %s (%s)", record, reason, LOAD_IT, path)
                continue
            try:
                model, digest = self._read_model(path, schema)
            except UnreadableFileError as error:
                logger.warning("resume: %s is damaged or cannot be read and is skipped: %s", path, error)
                continue
            except ModelError as error:
                text = f"resume: {path} contains another model than this script trains: {error}"
                if _BY_A_SETTING.search(str(error)):
                    text += "; give outer, optimizer_state and scaffold the values that they had in that run"
                raise ConfigurationError(text) from error
            if digest == commit.digest:
                return commit, model
            logger.warning("resume: %s has another digest than its record: it is damaged, and is skipped", path)
        if records:
            logger.warning("resume: no checkpoint in %s can be used; the run starts anew", self._directory)
        return None

    def write_kept(self, kept: ModelState) -> None:
        write_model(self._directory / KEPT, kept, {})

    def _records(self) -> list[Path]:
        """The records of all checkpoints, the oldest first."""
        return sorted(self._directory.glob("*.json"), key=_written_at)

    def kept(self, schema: Schema, logger: logging.Logger) -> ModelState | None:
        path = self._directory / KEPT
        try:
            return read_model_file(path, schema)
        except (UnreadableFileError, ModelError) as error:
            text = "resume: the values that this site keeps for itself start as those of the swarm, as %s: %s"
            logger.warning(text, path, error)
            return None

    def write_training(self, training: Training | None) -> None:
        path = self._directory / TRAINING
        if training is None:
            path.unlink(missing_ok=True)
        else:
            write_training(path, training)

    def training(self, logger: logging.Logger) -> Training | None:
        path = self._directory / TRAINING
        if not path.exists():
            return None
        try:
            return read_training(path)
        except UnreadableFileError as error:
            logger.warning("resume: the training begins at its first epoch, as %s cannot be used: %s", path, error)
            return None

    def progress(self) -> Resumed:
        """How much of its training the site has done; ``NOT_RESUMED`` where that is not known."""
        try:
            return read_progress(self._directory / TRAINING)
        except UnreadableFileError:
            return NOT_RESUMED


def files_of(settings: Settings) -> CheckpointFiles | None:
    """The checkpoint files of a peer with these settings; None without a model directory."""
    return CheckpointFiles(state_directory(settings)) if settings.model_dir else None


@dataclass(frozen=True, slots=True)
class _Checkpoint:
    """What is to be written."""

    commit: Commit
    model: ModelState
    best: ModelState | None
    kept: ModelState | None
    training: Training | None


class Checkpoints:
    """Writes committed models in the background. If the disk is slow, models are skipped and the newest is written."""

    def __init__(
        self,
        store: CheckpointStore,
        *,
        every: float,
        executor: Executor,
        logger: logging.Logger,
        ledger: Ledger | None = None,
    ) -> None:
        """Start the thread that writes.

        Args:
            store: takes the checkpoints.
            every: the least number of seconds between two of them; the closing model is always written.
            executor: runs the thread, and tells the time.
            logger: is told what was not written.
            ledger: has the record of each of them first, as a run continues from no other ones.
        """
        self._store = store
        self._ledger = ledger
        self._every = every
        self._clock = executor
        self._log = logger
        self._due = executor.now()
        self._wanted = True
        """Whether the next round is stored if that is due."""
        self._waiting: _Checkpoint | None = None
        self._kept: ModelState | None = None
        self._training: Training | None = None
        self._newest = 0
        self._changed = executor.condition()
        self._closed = False
        self._failure = ""
        """Why the last attempt to write failed; empty if it did not."""
        self._unwritable = False
        self._task = executor.start("swarm-checkpoints", self._run)

    def offer(self, commit: Commit, model: ModelState, best: ModelState | None = None) -> None:
        """A round is committed. Returns at once.

        Args:
            commit: its record.
            model: never changed afterwards.
            best: the best model, which ``commit`` names, if it is kept and is here; never changed either.
        """
        if not commit.closing and (not self._wanted or self._clock.now() < self._due):
            return
        self._due = self._clock.now() + self._every
        with self._changed:
            self._waiting, self._newest = _Checkpoint(commit, model, best, self._kept, self._training), commit.round
            self._changed.notify_all()
        self._training = None  # it may be as large as two models, and comes anew with the next one that is stored

    def wants_training(self) -> bool:
        """A sync point begins: whether its round is stored if it is committed, and ``keep_training`` has to be called.

        Otherwise it is not stored, even if that is due by then: model and training are of the same round.
        """
        self._wanted = self._clock.now() >= self._due
        return self._wanted

    def keep(self, kept: ModelState) -> None:
        """The values that this site keeps for itself now; never changed afterwards. They go with the next model."""
        self._kept = kept

    def keep_training(self, training: Training) -> None:
        """The state of this site's training now; never changed afterwards. It goes with the next model."""
        self._training = training

    def close(self, timeout: float) -> None:
        """Write the waiting model, for at most ``timeout`` seconds; log an error if the newest one is not written."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._task.join(timeout)
        if self._task.is_alive():
            text = "round %d was not written to %s within %.0f s: does the disk hang?"
            self._log.error(text, self._newest, self._store, timeout)
        elif self._failure:
            text = "there is no checkpoint of round %d, the last one, in %s, so that a run cannot resume from it: %s"
            self._log.error(text, self._newest, self._store, self._failure)

    def _run(self) -> None:
        while due := self._next():
            self._write(due)
            del due  # it has a whole model, which would stay in memory until the next one is written

    def _next(self) -> _Checkpoint | None:
        """Wait for a model to be written; None once there will be no other."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting is not None or self._closed)
            due, self._waiting = self._waiting, None
            return due

    def _write(self, due: _Checkpoint) -> None:
        commit = due.commit
        try:
            if due.kept:
                self._store.write_kept(due.kept)
            if due.best and commit.best:
                self._store.write_best(commit.best.digest, due.best)
            if due.training and not commit.closing:
                self._write_training(due.training, commit.round)
            head = self._ledger.stored(record_hash(commit), PATIENCE) if self._ledger else None
            self._store.write(commit, due.model, head)
            if commit.closing:
                self._store.write_training(None)
            self._failure = ""
        except OSError as error:
            level = logging.DEBUG if self._failure else logging.ERROR
            self._failure = str(error) or type(error).__name__
            self._log.log(level, "round %d was not written to %s: %s", commit.round, self._store, error)

    def _write_training(self, training: Training, round_: int) -> None:
        training = replace(training, progress=replace(training.progress, round=round_))
        try:
            self._store.write_training(training)
        except ModelError as error:
            level = logging.DEBUG if self._unwritable else logging.WARNING
            self._unwritable = True
            text = "checkpoints have no state of the optimizer and of other objects of the script, as %s"
            self._log.log(level, text, error)
            self._store.write_training(replace(training, state=None))


def _divided_otherwise(path: Path, there: str, here: str) -> str:
    """Why a checkpoint cannot be used at a site whose model is divided otherwise, and what to do."""
    if not there:
        return (
            f"resume: {path} has the whole model, and with exchange_shards a run needs its shards: leave "
            "resume out, so that the site gets the model from the others, or leave exchange_shards out at every peer"
        )
    if not here:
        return (
            f"resume: {path} has a shard of the model ({there}): set exchange_shards again, to as many shards, "
            "or leave resume out"
        )
    return (
        f"resume: {path} has a shard of the model ({there}), which is divided otherwise here ({here}): exchange "
        "as many shards as in that run, with the same fully_shard, or leave resume out, so that the site gets the "
        "model from the others"
    )


def _written_at(record: Path) -> int:
    return record.stat().st_mtime_ns


def _record_in(path: Path) -> tuple[Commit | None, str]:
    """The record in a file; None, with the reason, if it cannot be read."""
    try:
        data = path.read_bytes()
    except OSError as error:
        return None, f"its record cannot be read ({error})"
    try:
        return decode_record(data), ""
    except ValueError as error:
        return None, _no_record(data) or f"its record is incomplete or damaged ({error})"


def _no_record(data: bytes) -> str:
    """What is in the file of a record of an earlier build; empty if it is not of one."""
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        return ""
    earlier = isinstance(found, dict) and "lineage" in found and "certificate" not in found
    return "it is of an earlier build of Swarm, whose records had no certificates" if earlier else ""
