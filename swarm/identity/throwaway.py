"""Identities for peers that one command starts on one machine: the key of their authority is never stored."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

from swarm.identity import certificates, files
from swarm.identity.consortium import Consortium, Member

VALID = timedelta(days=365)


def make_identities(directories: Mapping[str, Path], now: datetime | None = None) -> None:
    """Make identities that trust one another and nobody else.

    Args:
        directories: by name of peer; made where they are not there.
        now: from when on; the present.

    Raises:
        IdentityError: a name is not allowed, or a file cannot be written.
    """
    now = now or datetime.now(UTC)
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
