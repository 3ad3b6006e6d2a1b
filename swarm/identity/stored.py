"""What the files of an identity hold: its credentials, the consortium's document, and what is revoked."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization

from swarm.errors import IdentityError
from swarm.identity import certificates, consortium, files
from swarm.identity.certificates import Certificate
from swarm.identity.consortium import Consortium

_SIDES = (ssl.PROTOCOL_TLS_SERVER, ssl.PROTOCOL_TLS_CLIENT)


@dataclass(frozen=True, slots=True)
class Credentials:
    """What this peer shows, and whose certificates it accepts, all in PEM."""

    key: bytes
    chain: bytes
    """Its certificate, then those between it and the authority's."""
    authority: bytes


@dataclass(frozen=True, slots=True)
class Stored:
    """What the files of an identity hold, at one time."""

    seen: tuple[object, ...]
    """Tells whether a file has changed since."""
    own: Certificate
    """Of this peer."""
    credentials: Credentials
    document: Consortium | None
    document_bytes: bytes
    revoked: frozenset[int]
    """Serial numbers in the list of another public-key infrastructure."""
    server: ssl.SSLContext
    client: ssl.SSLContext


def read(directory: Path) -> Stored:
    """Read the files and check that they belong together.

    Raises:
        IdentityError: one is missing or damaged, others can read the private key, or the certificate is not one of the
            authority's.
    """
    seen = stamp(directory)
    private = files.read_private(directory / files.IDENTITY)
    authority = files.read(directory / files.AUTHORITY)
    key = certificates.load_key(private)
    own = Certificate.read(private)
    chain = b"".join(each.public_bytes(serialization.Encoding.PEM) for each in x509.load_pem_x509_certificates(private))
    _require_issued(private, authority, directory)
    document_file = directory / files.CONSORTIUM
    data = files.read(document_file) if document_file.exists() else b""
    if not data and (directory / files.ENROLMENT).exists():
        raise IdentityError(
            f"{document_file} is missing or empty: without it every certificate of the authority would be trusted; "
            "copy that of another member, since all members have the same"
        )
    credentials = Credentials(certificates.key_pem(key), chain, authority)
    server, client = (context(each, directory, credentials) for each in _SIDES)
    return Stored(
        seen=seen,
        own=own,
        credentials=credentials,
        document=consortium.verified(data, authority) if data else None,
        document_bytes=data,
        revoked=_revocations(directory / files.REVOKED, authority),
        server=server,
        client=client,
    )


def stamp(directory: Path) -> tuple[object, ...]:
    """Tells whether a file has changed."""
    found: list[object] = []
    for name in (files.IDENTITY, files.AUTHORITY, files.CONSORTIUM, files.REVOKED):
        try:
            stat = (directory / name).stat()
        except OSError:
            found.append(None)
        else:
            found.append((stat.st_mtime_ns, stat.st_ino, stat.st_size, stat.st_mode))
    return tuple(found)


def context(side: int, directory: Path, credentials: Credentials) -> ssl.SSLContext:
    """A context for TLS 1.3 with certificates on both sides.

    Raises:
        IdentityError: the credentials cannot be used.
    """
    made = ssl.SSLContext(side)
    made.check_hostname = False  # whose certificate it is, `trust` tells
    made.verify_mode = ssl.CERT_REQUIRED
    made.minimum_version = ssl.TLSVersion.TLSv1_3
    made.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # the authority may be one below another
    if side == ssl.PROTOCOL_TLS_SERVER:
        made.num_tickets = 0  # unasked bytes, which would look like an answer
    try:
        made.load_verify_locations(cadata=credentials.authority.decode("ascii"))
        made.load_cert_chain(directory / files.IDENTITY)
    except (ssl.SSLError, ValueError) as error:
        raise IdentityError(f"{directory / files.IDENTITY} cannot be used: {error}") from error
    return made


def _require_issued(private: bytes, authority: bytes, directory: Path) -> None:
    """Raise an ``IdentityError`` unless the authority, or one below it, has issued the certificate."""
    chain = [*x509.load_pem_x509_certificates(private), certificates.load(authority)]
    for issued, issuer in pairwise(chain):
        try:
            issued.verify_directly_issued_by(issuer)
        except (ValueError, TypeError, InvalidSignature) as error:
            raise IdentityError(
                f"{directory / files.IDENTITY} was not issued by the authority in {directory / files.AUTHORITY}"
            ) from error


def _revocations(path: Path, authority: bytes) -> frozenset[int]:
    """Serial numbers in a list of revoked certificates, if there is one."""
    if not path.exists():
        return frozenset()
    try:
        revoked = x509.load_pem_x509_crl(files.read(path))
        signed = revoked.is_signature_valid(certificates.load(authority).public_key())  # type: ignore[arg-type] # of any kind of key
    except (ValueError, TypeError) as error:
        raise IdentityError(f"{path} is no list of revoked certificates that can be read: {error}") from error
    if not signed:
        raise IdentityError(f"{path} was not signed by the authority")
    return frozenset(each.serial_number for each in revoked)
