"""Identities for peers that one command starts on one machine: their authority's key is never stored."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

from swarm.errors import IdentityError
from swarm.identity import certificates, files
from swarm.identity.consortium import Consortium, Member
from swarm.identity.identity import Identity

VALID = timedelta(days=3650)
"""So long may a run be resumed."""


def ensure_identities(directories: Mapping[str, Path], now: datetime | None = None) -> None:
    """Identities that trust one another, for the peers named; those that are there already stay.

    Where one of them is missing or cannot be used, all are made anew.

    Args:
        directories: by name of peer.
        now: from when on; the present.

    Raises:
        IdentityError: a name is not allowed, or a file cannot be written.
    """
    now = now or datetime.now(UTC)
    if not _usable(directories):
        _make(directories, now)


def _usable(directories: Mapping[str, Path]) -> bool:
    """Whether all are there and have one document."""
    try:
        found = {name: Identity(directory) for name, directory in directories.items()}
    except IdentityError:
        return False
    documents = {identity.document_bytes for identity in found.values()}
    return len(documents) == 1 and all(name == identity.name for name, identity in found.items())


def _make(directories: Mapping[str, Path], now: datetime) -> None:
    key = certificates.new_key()
    authority = certificates.authority(key, "throw-away identities of one machine", now, VALID)
    members = tuple(Member(name) for name in sorted(directories))
    document = Consortium("this-machine", 1, now.isoformat(timespec="seconds"), members).signed(key)
    for name, directory in directories.items():
        own = certificates.new_key()
        request = certificates.request(own, name)
        issued = certificates.issue(request, name, key=key, issuer=authority, now=now, valid=VALID)
        files.make_directory(directory)
        files.write(directory / files.IDENTITY, certificates.key_pem(own) + issued, files.PRIVATE)
        files.write(directory / files.AUTHORITY, authority)
        files.write(directory / files.CONSORTIUM, document)
