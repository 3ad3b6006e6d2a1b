"""Identities: certificates, requests for them, keys, and the consortium's document."""

from __future__ import annotations

import base64
import warnings
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from functools import cache

from cryptography.hazmat.primitives import serialization

from swarm.errors import IdentityError
from swarm.identity import certificates, consortium
from swarm.identity.certificates import Certificate, Key
from swarm.identity.consortium import Consortium, Member, Revoked, Role
from tests.fuzz.mutation import BINARY, TEXT
from tests.fuzz.target import Target

_NOW, _VALID = datetime(2026, 1, 1, tzinfo=UTC), timedelta(days=365)


@cache
def _key() -> Key:
    return certificates.new_key()


@cache
def _authority() -> bytes:
    return certificates.authority(_key(), "hospitals", _NOW, _VALID)


def _certificate(data: bytes) -> int:
    """A certificate in DER. What is accepted names a peer."""
    with warnings.catch_warnings():  # the library's, of what it reads nevertheless
        warnings.simplefilter("ignore")
        found = Certificate.read(data)
    certificates.checked_name(found.name)
    assert Certificate.read(found.pem) == found
    assert not certificates.signed_by(found.pem, b"", b"")
    return len(found.pem)


def _document(data: bytes) -> tuple[int, int]:
    """A document. What is accepted can be signed, and its signature is then that of the authority."""
    found, _, _ = consortium.read(data)
    again = consortium.verified(found.signed(_key()), _authority())
    assert again == found
    return len(found.members), len(found.revoked)


def _in_pem(kind: str, run: Callable[[bytes], object]) -> Callable[[bytes], None]:
    """A decoder of PEM, given inputs in DER: changed letters of PEM would mostly be no base 64."""

    def decode(data: bytes) -> None:
        body = base64.encodebytes(data)
        run(b"-----BEGIN %s-----\n%s-----END %s-----\n" % (kind.encode(), body, kind.encode()))

    return decode


def _der(pem: bytes) -> bytes:
    return base64.b64decode(b"".join(line for line in pem.splitlines() if not line.startswith(b"-----")))


def _certificates() -> Mapping[str, bytes]:
    request = certificates.request(_key(), "berlin")
    own = certificates.issue(request, "berlin", key=_key(), issuer=_authority(), now=_NOW, valid=_VALID)
    return {"member": _der(own)}


def _documents() -> Mapping[str, bytes]:
    found = Consortium(
        name="hospitals",
        version=3,
        issued="2026-01-01T00:00:00+00:00",
        members=(Member("berlin", 30, address="10.0.0.1:7000"), Member("oslo", role=Role.OBSERVER)),
        revoked=(Revoked("rome", 0x123456, "2026-01-01T00:00:00+00:00"),),
        allowed={"merge_method": ("mean", "coordmedian"), "min_peers": (2, 3), "overlap": (True,)},
    )
    return {"document": found.signed(_key())}


GROUP = [
    Target(name="certificate", run=_certificate, refusals=(IdentityError,), values=_certificates, form=BINARY),
    Target(
        name="certificate-request",
        run=_in_pem("CERTIFICATE REQUEST", certificates.requested_key),
        refusals=(IdentityError,),
        values=lambda: {"request": _der(certificates.request(_key(), "berlin"))},
        form=BINARY,
    ),
    Target(
        name="private-key",
        run=_in_pem("PRIVATE KEY", certificates.load_key),
        refusals=(IdentityError,),
        values=lambda: {"key": _key_in_der()},
        form=BINARY,
    ),
    Target(name="consortium", run=_document, refusals=(IdentityError,), values=_documents, form=TEXT),
]


def _key_in_der() -> bytes:
    return _key().private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
