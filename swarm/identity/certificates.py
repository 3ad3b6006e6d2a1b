"""Keys, certificates and requests for certificates (X.509, ECDSA with P-256 and SHA-256).

A peer's name is the common name of its certificate, and one of its DNS names, which is what TLS checks. Certificates of
a consortium also have the DNS name ``ANY_PEER``, for an address of which only the consortium is known.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any, cast

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from swarm.errors import IdentityError
from swarm.text import MEMBER_RULE, is_member_name

ANY_PEER = "peer.swarm-learning.invalid"
"""A DNS name of every certificate that a consortium issues; `.invalid` belongs to nobody (RFC 2606)."""
SKEW = timedelta(hours=1)
"""By which clocks of sites may differ."""

_CURVE = ec.SECP256R1
UNREADABLE = (
    *(ValueError, TypeError, UnsupportedAlgorithm),
    *(x509.InvalidVersion, x509.DuplicateExtension, x509.UnsupportedGeneralNameType),
)
"""What the library raises where a key, a certificate or a request cannot be read."""

Key = ec.EllipticCurvePrivateKey


def checked_name(name: str) -> str:
    """``name``, which a certificate can be issued for.

    Raises:
        IdentityError: it is not such a name.
    """
    if not is_member_name(name) or name == ANY_PEER:
        raise IdentityError(f"{name[:80]!r} cannot be the name of a member: allowed is {MEMBER_RULE}")
    return name


@dataclass(frozen=True, slots=True)
class Certificate:
    """What is read of a certificate."""

    name: str
    """Of the peer."""
    issuer: x509.Name
    serial: int
    """Unique among the certificates of the issuer."""
    fingerprint: str
    """SHA-256 of the certificate, as hex digits."""
    not_before: datetime
    not_after: datetime
    pem: bytes

    @classmethod
    def read(cls, data: bytes) -> Certificate:
        """The first certificate in PEM, or the one in DER.

        Raises:
            IdentityError: there is none, or it names no peer.
        """
        certificate = load(data)
        names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        name = checked_name(str(names[0].value) if names else "")
        if name not in dns_names(certificate):
            raise IdentityError(f"the certificate of {name} does not have {name} as a DNS name, so TLS cannot check it")
        return cls(
            name=name,
            issuer=certificate.issuer,
            serial=certificate.serial_number,
            fingerprint=fingerprint(certificate),
            not_before=certificate.not_valid_before_utc,
            not_after=certificate.not_valid_after_utc,
            pem=certificate.public_bytes(serialization.Encoding.PEM),
        )


def load(data: bytes) -> x509.Certificate:
    """The first certificate in PEM, or the one in DER.

    Raises:
        IdentityError: there is none, or it has a key or a serial number of a kind that is not allowed.
    """
    try:
        if b"-----BEGIN" in data:
            certificate = x509.load_pem_x509_certificates(data)[0]
        else:
            certificate = x509.load_der_x509_certificate(data)
        return _readable(certificate)
    except UNREADABLE as error:
        raise IdentityError(f"there is no certificate that can be read: {error}") from error


def load_all(data: bytes) -> list[x509.Certificate]:
    """All certificates in PEM, one at least.

    Raises:
        IdentityError: as of ``load``.
    """
    try:
        return [_readable(each) for each in x509.load_pem_x509_certificates(data)]
    except UNREADABLE as error:
        raise IdentityError(f"there is no certificate that can be read: {error}") from error


def path(chain: bytes, authority: bytes) -> list[x509.Certificate]:
    """The certificates from that of a peer to the authority that they lead to; of several, the one that ends last.

    Args:
        chain: that of the peer, then those between it and the authority's, in PEM.
        authority: that of each authority that counts, in PEM.

    Raises:
        IdentityError: one cannot be read, or was not issued by the next one, or the last one by no authority.
    """
    found, authorities = load_all(chain), load_all(authority)
    issuers = [each for each in authorities if _has_issued(each, found[-1])]
    if not issuers or not all(_has_issued(issuer, issued) for issued, issuer in pairwise(found)):
        raise IdentityError("it has no certificate of the authority")
    return [*found, max(issuers, key=lambda each: each.not_valid_after_utc)]


def _has_issued(issuer: x509.Certificate, issued: x509.Certificate) -> bool:
    try:
        issued.verify_directly_issued_by(issuer)
    except (*UNREADABLE, InvalidSignature):
        return False
    return True


def _readable(certificate: x509.Certificate) -> x509.Certificate:
    # The library reads these when it is asked for them, and raises only then.
    certificate.public_key()
    _ = certificate.subject, certificate.issuer
    if certificate.serial_number <= 0:
        raise IdentityError(f"a certificate has the serial number {certificate.serial_number}: it must be positive")
    return certificate


def dns_names(certificate: x509.Certificate) -> tuple[str, ...]:
    """The DNS names that TLS compares.

    Raises:
        IdentityError: the certificate is damaged, or has a wildcard, which would stand for any peer.
    """
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        found = tuple(names.value.get_values_for_type(x509.DNSName))
    except x509.ExtensionNotFound:
        return ()
    except UNREADABLE as error:
        raise IdentityError(f"a certificate cannot be read: {error}") from error
    if any("*" in name for name in found):
        raise IdentityError("a certificate with a wildcard cannot be the identity of a peer")
    return found


def fingerprint(certificate: x509.Certificate) -> str:
    """SHA-256 of a certificate, as hex digits."""
    return certificate.fingerprint(hashes.SHA256()).hex()


def new_key() -> Key:
    """A new private key."""
    return ec.generate_private_key(_CURVE())


def key_pem(key: Key) -> bytes:
    """``key`` as it is stored, PKCS #8 without a password."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def load_key(data: bytes) -> Key:
    """The private key in PEM.

    Raises:
        IdentityError: there is none of the kind that Swarm makes.
    """
    try:
        key = serialization.load_pem_private_key(data, None)
    except UNREADABLE as error:
        raise IdentityError(f"there is no private key that can be read: {error}") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise IdentityError("the private key is not one of an elliptic curve")
    return key


def request(key: Key, name: str) -> bytes:
    """A request, in PEM, for a certificate of ``key`` under ``name`` (PKCS #10).

    Raises:
        IdentityError: the name is not allowed.
    """
    names = x509.SubjectAlternativeName([x509.DNSName(checked_name(name)), x509.DNSName(ANY_PEER)])
    builder = x509.CertificateSigningRequestBuilder().subject_name(_subject(name)).add_extension(names, critical=False)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def authority(key: Key, name: str, now: datetime, valid: timedelta) -> bytes:
    """The certificate, in PEM, of an authority that signs with ``key``."""
    public, subject = key.public_key(), _subject(name)
    usage = x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=True,
        crl_sign=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
    builder = (
        _builder(public, now, valid)
        .subject_name(subject)
        .issuer_name(subject)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    )
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def issue(request_pem: bytes, name: str, *, key: Key, issuer: bytes, now: datetime, valid: timedelta) -> bytes:
    """A certificate, in PEM, for the key of a request; the rest of the request counts for nothing.

    Args:
        request_pem: PKCS #10, signed by the key that it is for.
        name: of the peer.
        key: of the authority.
        issuer: the authority's certificate, in PEM.
        now: from when on, less an hour.
        valid: how long.

    Raises:
        IdentityError: the request cannot be read, its signature is wrong, or the name is not allowed.
    """
    parent = load(issuer)
    public = requested_key(request_pem)
    usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    names = [x509.DNSName(checked_name(name)), x509.DNSName(ANY_PEER)]
    builder = (
        _builder(public, now, min(valid, parent.not_valid_after_utc - now))
        .subject_name(_subject(name))
        .issuer_name(parent.subject)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(cast("ec.EllipticCurvePublicKey", parent.public_key())),
            critical=False,
        )
    )
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def requested_key(request_pem: bytes) -> ec.EllipticCurvePublicKey:
    """The public key of a request.

    Raises:
        IdentityError: the request cannot be read, is not signed by that key, or the key is of another kind.
    """
    try:
        found = x509.load_pem_x509_csr(request_pem)
        valid, public = found.is_signature_valid, found.public_key()
    except (*UNREADABLE, InvalidSignature) as error:
        raise IdentityError(f"there is no request for a certificate that can be read: {error}") from error
    if not valid:
        raise IdentityError("the request for a certificate is not signed by its own key")
    if not isinstance(public, ec.EllipticCurvePublicKey) or not isinstance(public.curve, _CURVE):
        raise IdentityError("the request for a certificate is for a key of another kind than P-256")
    return public


def canonical(content: Mapping[str, Any]) -> bytes:
    """The one form, as JSON, in which ``content`` is signed and proved."""
    return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode("ascii")


def sign(key: Key, data: bytes) -> bytes:
    """The signature of ``data``."""
    return key.sign(data, ec.ECDSA(hashes.SHA256()))


def signed_by(certificate_pem: bytes, data: bytes, signature: bytes) -> bool:
    """Whether the holder of a certificate has signed ``data``.

    Raises:
        IdentityError: the certificate cannot be read.
    """
    public = load(certificate_pem).public_key()
    if not isinstance(public, ec.EllipticCurvePublicKey):
        return False
    try:
        public.verify(signature, data, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        return False
    return True


def _subject(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _builder(public: ec.EllipticCurvePublicKey, now: datetime, valid: timedelta) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - SKEW)
        .not_valid_after(now + valid)
    )
