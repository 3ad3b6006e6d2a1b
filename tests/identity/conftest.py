from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from swarm.identity import Consortium, Identity, certificates, files
from swarm.identity.consortium import Member, Revoked

START = datetime(2027, 1, 1, tzinfo=UTC)
MONTH = timedelta(days=30)


class Calendar:
    """A date that a test moves."""

    def __init__(self) -> None:
        self.today = START

    def __call__(self) -> datetime:
        return self.today


@dataclass
class Authority:
    """Issues certificates and signs documents, as the owner of a consortium does."""

    directory: Path
    calendar: Calendar

    def __post_init__(self) -> None:
        self.key = certificates.new_key()
        self.pem = certificates.authority(self.key, "heart", START, 12 * MONTH)
        self.document = Consortium("heart", 1, START.isoformat())

    def certificate(self, name: str, key: certificates.Key, valid: timedelta = 3 * MONTH) -> bytes:
        request = certificates.request(key, name)
        return certificates.issue(request, name, key=self.key, issuer=self.pem, now=self.calendar.today, valid=valid)

    def publish(self, *names: str, revoked: tuple[Revoked, ...] = ()) -> bytes:
        """A new version of the document."""
        self.document = replace(
            self.document,
            version=self.document.version + 1,
            members=tuple(Member(name) for name in names),
            revoked=(*self.document.revoked, *revoked),
        )
        return self.document.signed(self.key)

    def give(self, name: str, document: bytes, valid: timedelta = 3 * MONTH) -> Path:
        """The directory of an identity."""
        directory = self.directory / name
        files.make_directory(directory)
        key = certificates.new_key()
        files.write(directory / files.IDENTITY, certificates.key_pem(key) + self.certificate(name, key, valid), 0o600)
        files.write(directory / files.AUTHORITY, self.pem)
        files.write(directory / files.CONSORTIUM, document)
        return directory


@pytest.fixture
def calendar():
    return Calendar()


@pytest.fixture
def heart(tmp_path, calendar):
    return Authority(tmp_path / "heart", calendar)


@pytest.fixture
def berlin(heart, calendar):
    """The identity of a member of a consortium of two."""
    return Identity(heart.give("berlin", heart.publish("berlin", "paris")), calendar)
