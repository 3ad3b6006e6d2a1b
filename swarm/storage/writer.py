"""Writes the models at the end of a run on separate threads, so that a disk that hangs does not block other peers."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future, wait
from pathlib import Path

from swarm.storage.files import write_model
from swarm.tensors.state import ModelState


class Writer:
    """Starts writing at once, and logs at the end what could not be written."""

    def __init__(self, directory: Path, logger: logging.Logger) -> None:
        self._directory = directory
        self._log = logger
        self._begun: dict[str, Future[bool]] = {}

    @property
    def busy(self) -> bool:
        """Whether a model is still being written, so that its memory must not change."""
        return not all(written.done() for written in self._begun.values())

    def write(self, name: str, model: ModelState, about: Mapping[str, str]) -> None:
        """Start writing ``model``, which must not change while this object is busy. Returns at once."""
        self._start(name, lambda path: write_model(path, model, about))

    def _start(self, name: str, write: Callable[[Path], None]) -> None:
        """Start to write a file of the directory, as ``write`` does."""
        written: Future[bool] = Future()

        def run() -> None:
            try:
                write(self._directory / name)
            except OSError as error:
                self._log.error("%s was not written to %s: %s", name, self._directory, error)
                written.set_result(False)
            except Exception as error:  # noqa: BLE001  (raised by ``wait``)
                written.set_exception(error)
            else:
                written.set_result(True)

        self._begun[name] = written
        threading.Thread(target=run, name="swarm-write", daemon=True).start()

    def wait(self, patience: float) -> set[str]:
        """Wait for at most ``patience`` seconds; return the names of the files that are written."""
        done, _ = wait(self._begun.values(), patience)
        names = set()
        for name, written in self._begun.items():
            if written in done:
                names |= {name} if written.result() else set()
            else:
                text = "%s was not written to %s within %.0f s: does the disk hang?"
                self._log.error(text, name, self._directory, patience)
        return names
