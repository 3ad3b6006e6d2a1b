"""Where a run writes its results: a directory that no other live run writes to."""

from __future__ import annotations

import logging
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING

from swarm.storage.files import BEST, FINAL, FRAMEWORK_SUFFIXES, LOCAL, OWN, SITE, remove
from swarm.storage.locks import FileLock
from swarm.storage.places import STATE

if TYPE_CHECKING:
    from swarm.config import Settings

REPORTS = ("swarm-report.json", "swarm-report.html")
"""The report of a run."""
PREVIOUS = "previous-"
"""Before the name of a result of an earlier run."""


class Results:
    """The directory of a run's results, which is this run's alone from ``open`` to ``close``.

    A lock on a file in ``MODEL_DIR/swarm-state`` says so.
    """

    def __init__(self, settings: Settings, logger: logging.Logger) -> None:
        self._settings = settings
        self._log = logger
        self._lock: FileLock | None = None
        self.directory = settings.model_dir
        """None where there is no model directory."""

    def open(self, name: str) -> None:
        """Choose the directory, and rename results of earlier runs in it, so that none looks like this run's.

        ``name`` is the peer's, for a directory of its own where another live run has the model directory. Nothing is
        raised: a directory that cannot be written costs the files and not the run.
        """
        root = self._settings.model_dir
        if root is None:
            return
        try:
            self.directory = self._claim(root, name)
        except OSError as error:
            text = "model_dir %s cannot be locked, so that another live run could write the same files: %s"
            self._log.warning(text, root, error)
        if self.directory != root:
            text = "another live run writes to model_dir %s: this one writes %s, %s and %s to %s"
            self._log.warning(text, root, FINAL, OWN, LOCAL, self.directory)
        try:
            self._keep_previous()
        except OSError as error:
            self._log.warning("results of an earlier run in %s could not be renamed: %s", self.directory, error)

    def close(self) -> None:
        """Let the next run have the directory; nothing happens where it is not held."""
        lock, self._lock = self._lock, None
        if lock is None:
            return
        try:
            lock.release()
        except OSError as error:
            self._log.debug("%s was not removed: %s", lock.path, error)

    def _claim(self, root: Path, name: str) -> Path:
        """The model directory if no other live run holds it, else one in it that none holds.

        Raises:
            OSError: the directory cannot be written, or its file system knows no locks.
        """
        state = root / STATE
        state.mkdir(parents=True, exist_ok=True)
        own = f"{self._settings.model_name}@{name}"
        places = chain(["", own], (f"{own}-{number}" for number in count(2)))
        return root / next(place for place in places if self._hold(state / (f".{place}.lock" if place else ".lock")))

    def _hold(self, path: Path) -> bool:
        lock = FileLock(path)
        if lock.take():
            self._lock = lock
        return self._lock is lock

    def _keep_previous(self) -> None:
        if self.directory is None:
            return
        finals = (FINAL, SITE, OWN)
        others = (str(Path(name).with_suffix(suffix)) for name in finals for suffix in FRAMEWORK_SUFFIXES)
        old = [name for name in (*finals, BEST, LOCAL, *REPORTS, *others) if (self.directory / name).exists()]
        for name in old:
            previous = self.directory / f"{PREVIOUS}{name}"
            if previous.is_dir():
                remove(previous)
            (self.directory / name).replace(previous)
        if old:
            renamed = ", ".join(f"{name} to {PREVIOUS}{name}" for name in old)
            self._log.info("results of an earlier run in %s are renamed: %s", self.directory, renamed)
