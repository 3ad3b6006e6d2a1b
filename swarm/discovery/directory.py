"""A directory in which the peers of one machine, or of one shared file system, publish their addresses."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import tempfile
import urllib.parse
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from swarm.discovery.base import Discovery
from swarm.errors import ConfigurationError
from swarm.text import is_address

MAX_FILES = 4096
"""Maximum number of directory entries that are read."""
MAX_FILE_BYTES = 8192
ENDED = "ended"
"""Subdirectory in which whoever has started the peers names those that have ended."""
MAX_STEM = 200
"""Maximum length of a file name without suffixes; file systems allow 255 bytes."""


@dataclass(frozen=True, slots=True)
class Announcement:
    """The content of a peer's file."""

    file: Path
    name: str
    address: str


@dataclass(frozen=True, slots=True)
class Read:
    """What a file held when it was read."""

    stamp: tuple[int, int, int]
    """Inode, size and time of the last change."""
    announcement: Announcement | None


class DirectoryDiscovery(Discovery):
    """Publishes ``<session>@<name>.json``. Other files are skipped.

    A second peer with the same name adds its incarnation to the file name.

    Sessions may share a directory and use the same peer names. A greeting decides which session a peer belongs to.

    Args:
        path: the directory, created on announcing.
        session: the session of the announced peer.
    """

    def __init__(self, path: str | os.PathLike[str], session: str) -> None:
        self._path = Path(path)
        self._session = session
        self._own: tuple[Path, bytes] | None = None
        self._address = ""
        self._read: dict[str, Read] = {}
        """What the files held when they were read last, by name: there may be thousands, of peers that were killed."""
        self._second: Path
        """The file to use if a peer of another process has the first one."""

    def check(self) -> None:
        try:
            self._path.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self._path) as file:
                file.write(b"x")
        except OSError as error:
            raise self._unwritable(error) from error

    def announce(self, name: str, address: str, incarnation: str) -> None:
        self.withdraw()
        host = socket.gethostname()
        record = {"name": name, "address": address, "incarnation": incarnation, "pid": os.getpid(), "host": host}
        target = self._path / f"{stem(self._session, name)}.json"
        self._second = self._path / f"{stem(self._session, name, incarnation)}.json"
        self._address = address
        self._publish(self._second if _of_somebody(target) else target, json.dumps(record).encode())

    def _publish(self, target: Path, data: bytes) -> None:
        draft = target.with_suffix(f".{os.getpid()}.tmp")
        try:
            self._path.mkdir(parents=True, exist_ok=True)
            draft.write_bytes(data)
            draft.replace(target)
        except OSError as error:
            with suppress(OSError):
                draft.unlink()
            raise self._unwritable(error) from error
        self._own = target, data

    def _unwritable(self, error: OSError) -> ConfigurationError:
        return ConfigurationError(
            f"rendezvous directory {str(self._path)!r} cannot be written to ({error.strerror}); "
            "choose another one that all local peers share"
        )

    def discover(self) -> tuple[str, ...]:
        found = announcements(self._path, self._read)
        if self._own and any(each.file == self._own[0] and each.address != self._address for each in found):
            # A second peer with this name has announced itself at the same time.
            with suppress(ConfigurationError):
                self._publish(self._second, self._own[1])
        own = self._address if self._own else None
        return tuple(dict.fromkeys(each.address for each in found if each.address != own))

    def ended(self) -> frozenset[str]:
        return ended(self._path)

    def withdraw(self) -> None:
        if self._own is None:
            return
        target, data = self._own
        self._own = None
        with suppress(OSError):
            # A later peer with the same name may have replaced the file.
            if target.read_bytes() == data:
                target.unlink()


def _of_somebody(file: Path) -> bool:
    """Whether a file announces a peer that may be running, so that a second peer with its name must not replace it."""
    record = read_record(file)
    if record is None:
        return False
    pid = record.get("pid")
    if record.get("host") != socket.gethostname() or not isinstance(pid, int):
        return record.get("host") is not None
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except (OSError, OverflowError):
        return False
    return pid > 0


def declare_ended(directory: Path, name: str) -> None:
    """Tell the peers that meet in ``directory`` that the peer ``name`` has ended, and will not come. Never raises."""
    target = directory / ENDED / f"{stem(name)}.json"
    draft = target.with_suffix(f".{os.getpid()}.tmp")
    with suppress(OSError):
        target.parent.mkdir(exist_ok=True)
        draft.write_text(json.dumps({"name": name}), encoding="utf-8")
        draft.replace(target)


def ended(directory: Path) -> frozenset[str]:
    """Names of the peers that have ended, as whoever has started them says."""
    try:
        with os.scandir(directory / ENDED) as entries:
            found = [Path(entry.path) for entry in islice(entries, MAX_FILES) if entry.name.endswith(".json")]
    except OSError:
        return frozenset()
    names = ((read_record(path) or {}).get("name") for path in found)
    return frozenset(name for name in names if isinstance(name, str) and name.isprintable())


def stem(*names: str) -> str:
    """A file name without suffix that is unique for these names."""
    # Names may contain any character, so they are quoted. Dots too: a file name that begins with a dot is hidden.
    stem = "@".join(urllib.parse.quote(text, safe="").replace(".", "%2E") for text in names)
    if len(stem) <= MAX_STEM:
        return stem
    whole = hashlib.sha256(stem.encode()).hexdigest()[:32]
    return f"{stem[: MAX_STEM - len(whole) - 1]}@{whole}"


def announcements(directory: Path, read: dict[str, Read] | None = None) -> list[Announcement]:
    """The announcements in a directory, by file name; empty if there is no such directory.

    ``read`` is what an earlier call read, and is brought up to date: a file that has not changed is not read again.
    """
    known = {} if read is None else read
    now: dict[str, Read] = {}
    try:
        with os.scandir(directory) as entries:
            for entry in islice(entries, MAX_FILES):
                with suppress(OSError):  # of a file that was removed meanwhile
                    if entry.name.endswith(".json") and entry.is_file():
                        now[entry.name] = _read(directory, entry, known.get(entry.name))
    except OSError:
        return []
    known.clear()
    known.update(now)
    found = (now[name].announcement for name in sorted(now))
    return [announcement for announcement in found if announcement is not None]


def _read(directory: Path, entry: os.DirEntry[str], before: Read | None) -> Read:
    """What a file holds; what it held ``before`` if it is the same file, unchanged."""
    status = entry.stat()
    stamp = status.st_ino, status.st_size, status.st_mtime_ns
    return before if before and before.stamp == stamp else Read(stamp, _announcement(directory / entry.name))


def _announcement(path: Path) -> Announcement | None:
    """The announcement in a file; None if it contains none."""
    record = read_record(path)
    if record is None:
        return None
    name, address = record.get("name"), record.get("address")
    if not isinstance(name, str) or not isinstance(address, str):
        return None
    if not (name.isprintable() and is_address(address)):
        return None
    return Announcement(path, name, address)


def read_record(path: Path) -> dict[str, Any] | None:
    """The JSON object in a file; None if it contains none."""
    if not path.is_file():
        return None
    try:
        with path.open("rb") as file:
            record = json.loads(file.read(MAX_FILE_BYTES))
    except (OSError, ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None
