"""Committed models on disk, so that a restarted site can continue.

A checkpoint is two files, the model as safetensors and the record of its round as JSON, in
``MODEL_DIR/swarm-state/<session>/<peer>``. The record is written last. A checkpoint without a record is ignored.
The values that this site keeps for itself are in a file of their own, which is replaced with each checkpoint.
"""

from __future__ import annotations

import json
import logging
import os
import re
import urllib.parse
from abc import ABC, abstractmethod
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

from swarm.config import Settings
from swarm.errors import ConfigurationError, ModelError, UnreadableFileError
from swarm.executor import Executor
from swarm.records import MAX_TOTAL_WEIGHT, Commit, SyncState
from swarm.storage.files import read_model_file, replace_file, write_model
from swarm.tensors.state import ModelState, Schema
from swarm.text import IDENTIFIER, is_name

Value = TypeVar("Value")
_PEERS = ("members", "group", "contributors")
"""Fields of a record."""
KEPT = "kept.safetensors"
"""The values that this site keeps for itself, at the time of the newest checkpoint."""
KEEP = 2
"""Number of checkpoints kept: the newest, and the previous one in case the newest is damaged."""


class CheckpointStore(ABC):
    """Storage for the checkpoints of one peer in one session. ``str()`` gives the location for messages."""

    @abstractmethod
    def write(self, commit: Commit, model: ModelState) -> None:
        """Store a committed model.

        Raises:
            OSError: it could not be written.
        """

    @abstractmethod
    def newest(self, schema: Schema, logger: logging.Logger) -> tuple[Commit, ModelState] | None:
        """The newest complete checkpoint, or None. Skipped checkpoints are logged.

        Raises:
            ConfigurationError: there are checkpoints, but of another model; the message names the first difference.
        """

    @abstractmethod
    def write_kept(self, kept: ModelState) -> None:
        """Store the values that this site keeps for itself.

        Raises:
            OSError: they could not be written.
        """

    @abstractmethod
    def kept(self, schema: Schema, logger: logging.Logger) -> ModelState | None:
        """The stored values of the tensors of ``schema``; None, with a warning, if there are none that fit it."""


class CheckpointFiles(CheckpointStore):
    """A directory of checkpoints."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def __str__(self) -> str:
        return str(self._directory)

    def write(self, commit: Commit, model: ModelState) -> None:
        stem = f"{commit.lineage}-{commit.round:09d}"
        write_model(self._directory / f"{stem}.safetensors", model, {"digest": commit.digest})
        before = _by_age(self._directory)
        record = self._directory / f"{stem}.json"
        replace_file(record, json.dumps(_fields_of(commit), indent=1).encode())
        last = max((_written_at(path) for path in before), default=0)
        if _written_at(record) <= last:
            # The clock was set back: a checkpoint must not look older than the previous ones.
            os.utime(record, ns=(last + 1, last + 1))
        for old in _by_age(self._directory)[:-KEEP]:
            old.unlink(missing_ok=True)
            old.with_suffix(".safetensors").unlink(missing_ok=True)

    def newest(self, schema: Schema, logger: logging.Logger) -> tuple[Commit, ModelState] | None:
        records = _by_age(self._directory)
        for record in reversed(records):
            commit = _commit_of(record)
            path = record.with_suffix(".safetensors")
            if commit is None or not path.is_file():
                logger.warning("resume: checkpoint %s is incomplete and is skipped", record)
                continue
            try:
                model = read_model_file(path, schema)
            except UnreadableFileError as error:
                logger.warning("resume: %s is damaged or cannot be read and is skipped: %s", path, error)
                continue
            except ModelError as error:
                text = f"resume: {path} contains another model than this script trains: {error}"
                raise ConfigurationError(text) from error
            if model.digest() == commit.digest:
                return commit, model
            why = "it is damaged, or of a version of Swarm that computed other digests"
            logger.warning("resume: %s has another digest than its record and is skipped: %s", path, why)
        if records:
            logger.warning("resume: no checkpoint in %s can be used; the run starts anew", self._directory)
        return None

    def write_kept(self, kept: ModelState) -> None:
        write_model(self._directory / KEPT, kept, {})

    def kept(self, schema: Schema, logger: logging.Logger) -> ModelState | None:
        path = self._directory / KEPT
        try:
            return read_model_file(path, schema)
        except (UnreadableFileError, ModelError) as error:
            text = "resume: the values that this site keeps for itself start as those of the swarm, as %s: %s"
            logger.warning(text, path, error)
            return None


def files_of(settings: Settings) -> CheckpointFiles | None:
    """The checkpoint files of a peer with these settings; None without a model directory."""
    return CheckpointFiles(checkpoint_directory(settings)) if settings.model_dir else None


class Checkpoints:
    """Writes committed models in the background. If the disk is slow, models are skipped and the newest is written."""

    def __init__(self, store: CheckpointStore, *, every: float, executor: Executor, logger: logging.Logger) -> None:
        """``every`` is the least number of seconds between two checkpoints; the closing model is always written."""
        self._store = store
        self._every = every
        self._clock = executor
        self._log = logger
        self._due = executor.now()
        self._waiting: tuple[Commit, ModelState] | None = None
        self._kept: ModelState | None = None
        self._newest = 0
        self._changed = executor.condition()
        self._closed = False
        self._failed = False
        self._task = executor.start("swarm-checkpoints", self._run)

    def offer(self, commit: Commit, model: ModelState) -> None:
        """A round is committed; ``model`` is never changed afterwards. Returns at once."""
        if not commit.closing and self._clock.now() < self._due:
            return
        self._due = self._clock.now() + self._every
        with self._changed:
            self._waiting, self._newest = (commit, model), commit.round
            self._changed.notify_all()

    def keep(self, kept: ModelState) -> None:
        """The values that this site keeps for itself now; never changed afterwards. They go with the next model."""
        self._kept = kept

    def close(self, timeout: float) -> None:
        """Write the waiting model, for at most ``timeout`` seconds; log an error if that is too short."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._task.join(timeout)
        if self._task.is_alive():
            text = "round %d was not written to %s within %.0f s: does the disk hang?"
            self._log.error(text, self._newest, self._store, timeout)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting is not None or self._closed)
                if self._waiting is None:
                    return
                commit, model = self._waiting
                self._waiting = None
            try:
                if self._kept:
                    self._store.write_kept(self._kept)
                self._store.write(commit, model)
                self._failed = False
            except OSError as error:
                level = logging.DEBUG if self._failed else logging.ERROR
                self._failed = True
                self._log.log(level, "round %d was not written to %s: %s", commit.round, self._store, error)


def checkpoint_directory(settings: Settings) -> Path:
    """The directory of this peer's checkpoints of this session.

    Raises:
        ConfigurationError: there is no model directory.
    """
    if settings.model_dir is None:
        raise ConfigurationError("model_dir is not set: checkpoints need it")
    session, peer = (urllib.parse.quote(name, safe=" ") for name in (settings.model_name, settings.name))
    return settings.model_dir / "swarm-state" / session / peer


def _by_age(directory: Path) -> list[Path]:
    """The records of a directory, the oldest first."""
    return sorted(directory.glob("*.json"), key=_written_at)


def _written_at(record: Path) -> int:
    return record.stat().st_mtime_ns


def _fields_of(commit: Commit) -> dict[str, Any]:
    """What a record holds: releases before ``done`` read those that do not name it."""
    fields = asdict(commit)
    if not commit.done:
        del fields["done"]
    return fields


def _commit_of(record: Path) -> Commit | None:
    """The commit in a record; None if the record is incomplete, or has a value that none can have."""
    try:
        fields: dict[str, Any] = json.loads(record.read_text())
        fields["sync"] = SyncState(**fields["sync"])
        for name in _PEERS:
            fields[name] = tuple(_typed(list, fields[name]))
        commit = Commit(**fields)
        # What no peer could be told is no record of this run.
        if not all(re.fullmatch(IDENTIFIER, _typed(str, text)) for text in (commit.lineage, commit.digest)):
            return None
        if not all(is_name(_typed(str, peer)) for name in _PEERS for peer in fields[name]):
            return None
        if any(len(set(fields[name])) < len(fields[name]) for name in _PEERS):
            return None
        ranges = (commit.round, 0, 2**31), (commit.weight, 0, MAX_TOTAL_WEIGHT), (commit.sync.interval, 1, 2**31)
        if not all(low <= _typed(int, count) < end for count, low, end in ranges):
            return None
        _typed(bool, commit.closing)
        _typed(bool, commit.done)
        if commit.sync.loss is not None:
            _typed(float, commit.sync.loss)
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None
    return commit


def _typed(kind: type[Value], value: Any) -> Value:
    """``value``, which must be of this type; a subclass, as bool of int, is another one.

    Raises:
        TypeError: it is not.
    """
    if type(value) is not kind:
        raise TypeError(f"{value!r} is no {kind.__name__}")
    return value
