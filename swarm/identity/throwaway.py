"""Identities that commands make by themselves, for peers on one machine.

Those of ``swarm up``, and that of ``swarm run`` on a loopback address, are from an authority that belongs to the user
of the machine, so that a later run can check the records of an earlier one. ``swarm identities`` makes some of an
authority whose key is never stored.
"""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

from swarm.errors import IdentityError, NameInUseError
from swarm.identity import certificates, files
from swarm.identity.consortium import Consortium, Member

VALID = timedelta(days=365)
_ODD = re.compile("[^a-z0-9.-]+")


def make_identities(
    directories: Mapping[str, Path], now: datetime | None = None, authority: Path | None = None
) -> None:
    """Make identities that trust one another.

    Args:
        directories: by name of peer; made where they are not there.
        now: from when on; the present.
        authority: directory of the one that they are from, made where it is not there. None: one of their own, so that
            they trust nobody else.

    Raises:
        IdentityError: a name is not allowed, or a file cannot be written.
    """
    now = now or datetime.now(UTC)
    if authority is not None:
        files.make_directory(authority)
    issuer = _Authority.new(now) if authority is None else _Authority.of_user(authority)
    members = tuple(Member(name) for name in sorted(directories))
    document = Consortium("this-machine", 1, now.isoformat(timespec="seconds"), members).signed(issuer.key)
    for name, directory in directories.items():
        issuer.give(name, directory, now)
        files.write(directory / files.CONSORTIUM, document)


def own_identity(directory: Path, name: str, *, exact: bool) -> Path:
    """The directory of an identity from the authority in ``directory``, for a peer of the user of this machine.

    The name is this process's until it ends, also across ``exec``.

    Args:
        directory: of the authority, which is made where it is not there.
        name: of the peer.
        exact: whether it is to have this name. Otherwise what a certificate cannot hold is replaced, and a number is
            added where another process has the name.

    Raises:
        NameInUseError: another process has the name.
        IdentityError: the name is not allowed, or a file cannot be written.
    """
    files.make_directory(directory)
    wanted = name if exact else _ODD.sub("-", name.lower()).strip("-.") or "peer"
    certificates.checked_name(wanted)
    numbered = (wanted if number == 1 else f"{wanted}-{number}" for number in count(1))
    found = next(each for each in numbered if exact or _take(directory / f"{each}.lock"))
    if exact and not _take(directory / f"{found}.lock"):
        raise NameInUseError(
            f"another process of this user on this machine is peer {found!r}: choose another name (--name)"
        )
    _Authority.of_user(directory).give(found, directory / found, datetime.now(UTC))
    return directory / found


@dataclass(frozen=True, slots=True)
class _Authority:
    key: certificates.Key
    pem: bytes

    @classmethod
    def new(cls, now: datetime) -> _Authority:
        key = certificates.new_key()
        return cls(key, certificates.authority(key, "peers of one machine", now, VALID))

    @classmethod
    def of_user(cls, directory: Path) -> _Authority:
        """The one in ``directory``; made anew where there is none, or it ends soon.

        Raises:
            IdentityError: a file there cannot be read or written.
        """
        file = directory / "authority.key"
        with _using(directory), (directory / "authority.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            now = datetime.now(UTC)
            if file.exists():
                data = files.read_private(file)
                if certificates.load(data).not_valid_after_utc - now > VALID / 2:
                    return cls(certificates.load_key(data), data[data.index(b"-----BEGIN CERTIFICATE") :])
            made = cls.new(now)
            files.write(file, certificates.key_pem(made.key) + made.pem, files.PRIVATE)
            return made

    def give(self, name: str, directory: Path, now: datetime) -> None:
        """Write the identity of a peer."""
        key = certificates.new_key()
        request = certificates.request(key, name)
        issued = certificates.issue(request, name, key=self.key, issuer=self.pem, now=now, valid=VALID)
        files.make_directory(directory)
        files.write(directory / files.IDENTITY, certificates.key_pem(key) + issued, files.PRIVATE)
        files.write(directory / files.AUTHORITY, self.pem)


def _take(file: Path) -> bool:
    """Whether this process has the lock in ``file`` from now on.

    Raises:
        IdentityError: the file cannot be written, or its file system knows no locks.
    """
    with _using(file.parent):
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT, files.PRIVATE)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        except OSError:
            os.close(descriptor)
            raise
        os.set_inheritable(descriptor, True)
    return True


@contextmanager
def _using(directory: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise IdentityError(
            f"{error.filename or directory} cannot be used: {error.strerror}: if another user has made it, as with "
            f"`sudo`, give all of {directory} to this one with `chown -R`; else set XDG_DATA_HOME to another directory"
        ) from error
