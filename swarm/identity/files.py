"""The files of an identity, and their modes."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path

from swarm.errors import IdentityError

IDENTITY = "identity.pem"
"""The private key, and the certificate with those between it and the authority's."""
AUTHORITY = "authority.pem"
"""The authority's certificate; of another public-key infrastructure there may be several."""
CONSORTIUM = "consortium.json"
"""The newest document of the consortium; absent where certificates come from another public-key infrastructure."""
ENROLMENT = "enrolment.json"
"""Where the enrolment of the consortium is, for renewals; absent where certificates come from elsewhere."""
REVOKED = "revoked.pem"
"""Lists of revoked certificates (CRL) of another public-key infrastructure; optional."""

PRIVATE = 0o600
MAX_BYTES = 2**20
"""Of a file that is read."""


def make_directory(directory: Path) -> None:
    """Make a directory that only its owner can enter.

    Raises:
        IdentityError: it cannot be made.
    """
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise IdentityError(f"{directory} cannot be made: {error.strerror}") from error


def write(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Write a file completely or not at all.

    Raises:
        IdentityError: it cannot be written.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        partial.unlink(missing_ok=True)
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        with suppress(OSError):
            partial.unlink()
        raise IdentityError(f"{path} cannot be written: {error.strerror}") from error


def read(path: Path) -> bytes:
    """The content of a file.

    Raises:
        IdentityError: it cannot be read, or is too large.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise IdentityError(f"{path} cannot be read: {error.strerror}") from error
    if len(data) > MAX_BYTES:
        raise IdentityError(f"{path} has more than {MAX_BYTES} bytes")
    return data


def read_private(path: Path) -> bytes:
    """The content of a file with a private key.

    Raises:
        IdentityError: it cannot be read, or others can.
    """
    data = read(path)
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        raise IdentityError(
            f"{path} holds a private key and its mode is {mode:04o}: others may have read it. If they have not, "
            f"`chmod 600 {path}`; if they may have, get a new identity"
        )
    return data
