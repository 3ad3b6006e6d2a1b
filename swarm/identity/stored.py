"""What the files of an identity hold: its credentials, the consortium's document, and what is revoked."""

from __future__ import annotations

import re
import ssl
from collections import defaultdict
from collections.abc import Collection, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import NameOID

from swarm.errors import IdentityError
from swarm.identity import certificates, consortium, files
from swarm.identity.certificates import Certificate
from swarm.identity.consortium import Consortium
from swarm.text import MAX_SHOWN, printable

_CRL = re.compile(rb"-----BEGIN X509 CRL-----.*?-----END X509 CRL-----", re.DOTALL)
_SIDES = (ssl.PROTOCOL_TLS_SERVER, ssl.PROTOCOL_TLS_CLIENT)


@dataclass(frozen=True, slots=True)
class Credentials:
    """What this peer shows, and whose certificates it accepts, all in PEM."""

    key: bytes
    chain: bytes
    """Its certificate, then those between it and the authority's."""
    authority: bytes
    """Of another public-key infrastructure there may be several."""


@dataclass(frozen=True, slots=True)
class Issuer:
    """An authority, or one below it."""

    name: str
    until: datetime
    leads: bool
    """Whether the certificate of this peer comes from it."""


@dataclass(frozen=True, slots=True)
class Revocations:
    """The lists of revoked certificates (CRL) of another public-key infrastructure."""

    serials: Mapping[x509.Name, AbstractSet[int]] = field(default_factory=dict)
    """By who has signed a list, the serial numbers in it."""
    above: Mapping[x509.Name, AbstractSet[x509.Name]] = field(default_factory=dict)
    """By issuer, itself and those above it, as far as issuers are known here."""
    until: datetime | None = None
    """When the first of them is to be replaced by a newer one; None if none says so."""

    def have(self, certificate: Certificate) -> bool:
        """Whether a certificate is in a list of its issuer, or of one above that; in any list if that is not known.

        Two authorities may have used the same serial number.
        """
        may = self.above.get(certificate.issuer)
        return any(
            certificate.serial in serials and (may is None or signer in may) for signer, serials in self.serials.items()
        )


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
    issuers: tuple[Issuer, ...]
    """All that are known here."""
    revoked: Revocations
    server: ssl.SSLContext
    client: ssl.SSLContext

    @property
    def until(self) -> datetime:
        """When the certificate of this peer counts no more: at its end, or at that of an authority it comes from."""
        return min([self.own.not_after, *(each.until for each in self.issuers if each.leads)])


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
    issuers = _issuers(private, authority, directory)
    document_file = directory / files.CONSORTIUM
    data = files.read(document_file) if document_file.exists() else b""
    if not data and (directory / files.ENROLMENT).exists():
        raise IdentityError(
            f"{document_file} is missing or empty: without it every certificate of the authority would be trusted; "
            "copy that of another member, since all members have the same"
        )
    if data and len(certificates.load_all(authority)) > 1:
        raise IdentityError(
            f"{directory / files.AUTHORITY} holds several certificates, and a consortium has one authority: all of "
            "them would be trusted; copy the file of another member, since all members have the same"
        )
    credentials = Credentials(certificates.key_pem(key), chain, authority)
    server, client = (context(each, directory, credentials) for each in _SIDES)
    return Stored(
        seen=seen,
        own=own,
        credentials=credentials,
        document=consortium.verified(data, authority) if data else None,
        document_bytes=data,
        issuers=tuple(Issuer(_name(each), each.not_valid_after_utc, leads) for each, leads in issuers.items()),
        revoked=_revocations(directory / files.REVOKED, issuers),
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


def _issuers(private: bytes, authority: bytes, directory: Path) -> dict[x509.Certificate, bool]:
    """Those between the own certificate and the authority's, and all authorities; whether the own comes from each.

    Raises:
        IdentityError: the authority has not issued it, nor one below it.
    """
    authorities = certificates.load_all(authority)
    try:
        path = certificates.path(private, authority)
    except IdentityError as error:
        raise IdentityError(
            f"{directory / files.IDENTITY} was not issued by the authority in {directory / files.AUTHORITY}"
        ) from error
    return dict.fromkeys(authorities, False) | dict.fromkeys(path[1:], True)


def _revocations(path: Path, issuers: Collection[x509.Certificate]) -> Revocations:
    """What the lists of revoked certificates say, if there are any."""
    if not path.exists():
        return Revocations()
    serials: dict[x509.Name, set[int]] = defaultdict(set)
    ends = []
    try:
        lists = [x509.load_pem_x509_crl(each) for each in _CRL.findall(files.read(path))]
        for each in lists:
            if not any(_has_signed(issuer, each) for issuer in issuers):
                raise IdentityError(
                    f"{path} was not signed by the authority: none in {files.AUTHORITY} and {files.IDENTITY} is "
                    f"{printable(each.issuer.rfc4514_string(), MAX_SHOWN)} and has signed the list of that name"
                )
            serials[each.issuer].update(row.serial_number for row in each)
            if each.next_update_utc is not None:
                ends.append(each.next_update_utc)
    except (ValueError, TypeError) as error:
        raise IdentityError(f"{path} is no list of revoked certificates that can be read: {error}") from error
    if not lists:
        raise IdentityError(f"{path} is no list of revoked certificates that can be read: it has none in PEM")
    return Revocations(serials, _above(issuers), min(ends, default=None))


def _above(issuers: Collection[x509.Certificate]) -> dict[x509.Name, set[x509.Name]]:
    found = {each.subject: {each.subject} for each in issuers}
    for _ in issuers:  # as many levels as there can be
        for each in issuers:
            found[each.subject] |= found.get(each.issuer, {each.issuer})
    return found


def _has_signed(issuer: x509.Certificate, revoked: x509.CertificateRevocationList) -> bool:
    public = issuer.public_key()
    return revoked.issuer == issuer.subject and revoked.is_signature_valid(public)  # type: ignore[arg-type] # of any kind of key


def _name(certificate: x509.Certificate) -> str:
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return printable(str(names[0].value) if names else certificate.subject.rfc4514_string(), MAX_SHOWN)
