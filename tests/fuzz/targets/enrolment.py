"""Enrolment: invitations, and what the site that is invited and the authority send to each other."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import cache

from swarm.errors import IdentityError
from swarm.identity import certificates, enrolment, register
from swarm.identity.certificates import Key
from swarm.identity.consortium import Consortium, Member, Role
from swarm.identity.enrolment import Enrolment, Renewal, Reply
from swarm.identity.invitation import Invitation
from swarm.identity.register import Invited, Issued, Register
from tests.fuzz.mutation import TEXT
from tests.fuzz.target import Target

_NOW, _VALID = datetime(2026, 1, 1, tzinfo=UTC), timedelta(days=365)


@cache
def _key() -> Key:
    return certificates.new_key()


@cache
def _document() -> bytes:
    return Consortium("hospitals", 3, "2026-01-01T00:00:00+00:00", (Member("berlin"),)).signed(_key())


def _invitation(data: bytes) -> tuple[int, int]:
    """An invitation, as a user copies it. What is accepted can be copied once more."""
    found = Invitation.parse(data.decode("latin-1"))
    assert Invitation.parse(found.text()) == found
    return len(found.name), len(found.addresses)


def _request(data: bytes) -> str:
    """A request, whose proof is not checked. What is accepted is the same once more."""
    found = enrolment.read_request(data)
    assert enrolment.read_request(found.encoded()) == found
    if isinstance(found, Renewal):
        found.proved()
    else:
        assert not found.proved(b"another key")
    return type(found).__name__


def _reply(data: bytes) -> int:
    found = enrolment.read_reply(data)
    assert enrolment.read_reply(found.encoded()) == found
    return len(found.certificate) % 16


def _register(data: bytes) -> tuple[int, int]:
    """The authority's own file. What is accepted can be written once more."""
    found = register.read(data)
    assert register.read(found.encoded()) == found
    return len(found.invited), len(found.issued)


def _invitations() -> Mapping[str, bytes]:
    made = Invitation("berlin", _NOW, bytes(range(32)), ("10.0.0.5:7701", "[::1]:7701"), bytes(16))
    return {"invitation": made.text().encode()}


def _requests() -> Mapping[str, bytes]:
    request = certificates.request(_key(), "berlin")
    first = Enrolment.made(b"key", invitation="ab" * 8, name="berlin", request=request, address="10.0.0.6:7700")
    authority = certificates.authority(_key(), "hospitals", _NOW, _VALID)
    own = certificates.issue(request, "berlin", key=_key(), issuer=authority, now=_NOW, valid=_VALID)
    again = Renewal.made(_key(), certificate=own, request=request, address="")
    return {"enrolment": first.encoded(), "renewal": again.encoded()}


def _replies() -> Mapping[str, bytes]:
    authority = certificates.authority(_key(), "hospitals", _NOW, _VALID)
    return {"reply": Reply(authority, authority, _document()).encoded()}


def _registers() -> Mapping[str, bytes]:
    invited = Invited("ab" * 8, bytes(32), "oslo", 30, Role.OBSERVER, _NOW, _NOW, "cd" * 32)
    found = Register("paris", "swarm-identity", "10.0.0.5:7701", "10.0.0.5:7701", 365, _document())
    full = Register(
        "paris",
        "swarm-identity",
        "10.0.0.5:7701",
        "10.0.0.5:7701",
        365,
        _document(),
        (invited,),
        (Issued("berlin", 0x123456, _NOW, "ef" * 32),),
    )
    return {"new": found.encoded(), "full": full.encoded()}


GROUP = [
    Target(name="invitation", run=_invitation, refusals=(IdentityError,), values=_invitations, form=TEXT),
    Target(name="enrolment-request", run=_request, refusals=(IdentityError,), values=_requests, form=TEXT),
    Target(name="enrolment-reply", run=_reply, refusals=(IdentityError,), values=_replies, form=TEXT),
    Target(name="register", run=_register, refusals=(IdentityError,), values=_registers, form=TEXT),
]
