"""The register on disk, and the certificates that were issued; changed by one process at a time."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from swarm.errors import IdentityError
from swarm.identity import files, register
from swarm.identity.register import Register

REGISTER = "register.json"
ISSUED = "issued"
"""Directory of the certificates that were issued, by serial number."""
_LOCK = "lock"


@dataclass(slots=True)
class Change:
    """What is to be stored."""

    register: Register


class RegisterFiles:
    """The files in the directory of an authority that change.

    Args:
        directory: of the authority.
        now: the time, in UTC.
        stored: is called after each change, while other processes still wait.
    """

    def __init__(self, directory: Path, now: Callable[[], datetime], stored: Callable[[], object]) -> None:
        self._directory, self._now, self._stored = directory, now, stored

    @staticmethod
    def create(directory: Path, kept: Register) -> None:
        """Write the first register."""
        files.make_directory(directory / ISSUED)
        files.write(directory / REGISTER, kept.encoded(), files.PRIVATE)

    def read(self) -> Register:
        """The register as it is now.

        Raises:
            IdentityError: it is missing or damaged, or others can read it.
        """
        return register.read(files.read_private(self._directory / REGISTER))

    def certificate(self, serial: int) -> Path:
        """The file of a certificate that was issued."""
        return self._directory / ISSUED / f"{serial:x}.pem"

    @contextlib.contextmanager
    def changing(self) -> Iterator[Change]:
        """Exclude others, and store the register if the block ends well and has changed it.

        Raises:
            IdentityError: it cannot be read or stored.
        """
        try:
            descriptor = os.open(self._directory / _LOCK, os.O_RDWR | os.O_CREAT, files.PRIVATE)
        except OSError as error:
            raise IdentityError(f"{self._directory} cannot be changed: {error.strerror}") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            before = self.read()
            change = Change(before)
            yield change
            if change.register != before:
                kept = change.register.without_old(self._now())
                files.write(self._directory / REGISTER, kept.encoded(), files.PRIVATE)
                for gone in set(before.issued) - set(kept.issued):
                    self.certificate(gone.serial).unlink(missing_ok=True)
            self._stored()
        finally:
            os.close(descriptor)
