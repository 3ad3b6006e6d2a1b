from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from swarm.identity import Consortium, Identity, authority, certificates, files
from swarm.identity.consortium import Member, Revoked
from swarm.identity.site import Site

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


DAY = timedelta(days=1)


@pytest.fixture
def site(tmp_path, calendar):
    """The site of a name, in a directory of its own."""
    return lambda name: Site(tmp_path / name / "swarm-identity", calendar)


@pytest.fixture
def founded(tmp_path, calendar, site):
    """The authority of a consortium that paris has founded."""
    paris = site("paris")
    paris.directory.parent.mkdir()
    made = authority.Authority.create(
        tmp_path / "paris" / "swarm-consortium",
        "heart",
        founder="paris",
        identity=paris.directory,
        listen="127.0.0.1:7701",
        address="127.0.0.1:7701",
        allowed={"merge_method": ("mean",)},
        valid_days=365,
        now=calendar,
    )
    paris.found(made, "127.0.0.1:7700")
    return made


@pytest.fixture
def join(founded, site):
    """Lets a site join, without a network."""

    def joined(name: str, **options) -> Site:
        made = founded.invite(name, valid=DAY, **options)
        new = site(name)
        new.directory.parent.mkdir(exist_ok=True)
        new.accept(founded.answer(new.enrolment(made, "10.0.0.2:7700")).reply)
        return new

    return joined
