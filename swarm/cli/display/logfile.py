"""The file with all that the peers write, while a terminal shows only what matters."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

NAME = "swarm-up.log"
"""In the model directory."""
PREFIX = "swarm-log-"
"""Of the file in the temporary directory, where there is no model directory."""


class LogFile:
    """A file of lines. Where it cannot be written, training goes on without it."""

    def __init__(self, path: Path | None, *, append: bool = False) -> None:
        """Opens the file.

        Args:
            path: of the file; None: a new one in the temporary directory.
            append: keep what is in it.
        """
        self.problem = ""
        """Why nothing is written any more; empty if it is."""
        self.path: Path | None = None
        self._file: int | None = None
        try:
            if path is None:
                self._file, name = tempfile.mkstemp(prefix=PREFIX, suffix=".txt")
                self.path = Path(name)
            else:
                path.parent.mkdir(parents=True, exist_ok=True)
                keep = os.O_APPEND if append else os.O_TRUNC
                self._file = os.open(path, os.O_WRONLY | os.O_CREAT | keep, 0o600)
                self.path = path
        except OSError as error:
            self.problem = f"there is no log file: {path or tempfile.gettempdir()} ({error.strerror})"

    def write(self, text: str) -> None:
        """Append a line."""
        if self._file is None:
            return
        try:
            data = f"{text}\n".encode(errors="backslashreplace")
            while data:
                data = data[os.write(self._file, data) :]
        except OSError as error:
            self.problem = f"the log file {self.path} is incomplete: {error.strerror}"
            self.close()

    def close(self) -> None:
        """Close the file; idempotent."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
