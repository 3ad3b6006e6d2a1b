from __future__ import annotations

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from swarm.errors import IdentityError
from swarm.identity import Certificate, certificates

from .conftest import MONTH, START


@pytest.mark.parametrize("name", ["berlin", "b", "charite.berlin", "peer-0", "x" * 63])
def test_a_name_that_tls_can_check(name):
    assert certificates.checked_name(name) == name


@pytest.mark.parametrize(
    "name",
    ["", "Berlin", "-b", "b-", "b..c", ".b", "a b", "a_b", "x" * 64, "bérlin", "*", "b\n", certificates.ANY_PEER],
)
def test_other_names_are_refused(name):
    with pytest.raises(IdentityError, match="cannot be the name of a member"):
        certificates.checked_name(name)


def test_a_certificate_states_name_validity_and_serial(heart):
    read = Certificate.read(heart.certificate("berlin", certificates.new_key()))
    assert read.name == "berlin"
    assert read.not_after == START + 3 * MONTH
    assert read.not_before < START
    assert len(read.fingerprint) == 64


def test_a_certificate_ends_before_that_of_its_authority(heart):
    read = Certificate.read(heart.certificate("berlin", certificates.new_key(), valid=100 * MONTH))
    assert read.not_after == START + 12 * MONTH


def test_the_name_in_a_request_counts_for_nothing(heart):
    request = certificates.request(certificates.new_key(), "paris")
    issued = certificates.issue(request, "berlin", key=heart.key, issuer=heart.pem, now=START, valid=MONTH)
    assert Certificate.read(issued).name == "berlin"
    assert "paris" not in certificates.dns_names(certificates.load(issued))


def test_a_request_that_was_changed_is_refused():
    pem = certificates.request(certificates.new_key(), "berlin")
    der = bytearray(x509.load_pem_x509_csr(pem).public_bytes(serialization.Encoding.DER))
    der[-1] ^= 1
    with pytest.raises(IdentityError, match=r"not signed by its own key|can be read"):
        certificates.requested_key(_pem(bytes(der), "CERTIFICATE REQUEST"))


def test_a_request_for_a_key_of_another_kind_is_refused():
    key = rsa.generate_private_key(65537, 2048)
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    pem = builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    with pytest.raises(IdentityError, match="another kind"):
        certificates.requested_key(pem)


def test_a_wildcard_is_no_identity(heart):
    key = certificates.new_key()
    names = x509.SubjectAlternativeName([x509.DNSName("berlin"), x509.DNSName("*.berlin")])
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "berlin")])
    pem = (
        x509.CertificateBuilder(subject, subject, key.public_key(), 5, START, START + MONTH)
        .add_extension(names, critical=False)
        .sign(heart.key, hashes.SHA256())
        .public_bytes(serialization.Encoding.PEM)
    )
    with pytest.raises(IdentityError, match="wildcard"):
        Certificate.read(pem)


@pytest.mark.parametrize("data", [b"", b"x" * 100, b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
def test_what_is_no_certificate_is_refused(data):
    with pytest.raises(IdentityError, match="no certificate"):
        Certificate.read(data)


def test_a_signature_holds_for_the_same_bytes_only(heart):
    signature = certificates.sign(heart.key, b"text")
    assert certificates.signed_by(heart.pem, b"text", signature)
    assert not certificates.signed_by(heart.pem, b"Text", signature)
    assert not certificates.signed_by(heart.pem, b"text", b"")


def test_nothing_is_signed_by_a_certificate_with_a_key_of_another_kind(heart):
    key, subject = rsa.generate_private_key(65537, 2048), x509.Name([])
    certificate = x509.CertificateBuilder(subject, subject, key.public_key(), 5, START, START + MONTH)
    pem = certificate.sign(heart.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    assert not certificates.signed_by(pem, b"text", key.sign(b"text", padding.PKCS1v15(), hashes.SHA256()))


def _pem(der: bytes, kind: str) -> bytes:
    import base64

    return b"-----BEGIN %s-----\n%s-----END %s-----\n" % (kind.encode(), base64.encodebytes(der), kind.encode())
