"""Files by which one live process at a time has a directory or a database."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path


class FileLock:
    """A lock on a file, which the system releases when the process dies.

    Children that were forked, as to load data, close their copy of the file.
    """

    def __init__(self, path: Path) -> None:
        """It is not held yet."""
        self.path = path
        self._descriptor: int | None = None

    def take(self) -> bool:
        """Take the lock; False if another process has it.

        Raises:
            OSError: the file cannot be written, or its file system knows no locks.
        """
        self._descriptor = _locked(self.path)
        if self._descriptor is None:
            return False
        _held.add(self)
        return True

    def release(self) -> None:
        """Let another process have it, and remove the file; nothing happens where it is not held.

        Raises:
            OSError: the file cannot be removed.
        """
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is None:
            return
        _held.discard(self)
        try:
            # Unlocked by name: a child that something else than Python forked has the file open as well.
            self.path.unlink(missing_ok=True)
            fcntl.flock(descriptor, fcntl.LOCK_UN)
        finally:
            os.close(descriptor)

    def forget(self) -> None:
        """In a forked child: the lock is the parent's."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def _locked(path: Path) -> int | None:
    """The descriptor of a file that this process now has locked; None if another one has.

    Raises:
        OSError: the file cannot be written, or its file system knows no locks.
    """
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_at(descriptor, path):
                return descriptor
        except BlockingIOError:
            os.close(descriptor)
            return None
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # its last holder has removed it meanwhile


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


_held: set[FileLock] = set()
"""Those that this process holds."""


def _close_inherited() -> None:
    for lock in _held:
        lock.forget()
    _held.clear()


os.register_at_fork(after_in_child=_close_inherited)
