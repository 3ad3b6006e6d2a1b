"""Credentials: the key with which a process signs, and the proof that it is its peer's."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from swarm.certification.keys import ProcessKey
from swarm.certification.statements import credential_statement
from swarm.errors import IdentityError, UntrustedPeerError
from swarm.identity import Certificate, Identity, certificates, files, vouching
from swarm.identity.consortium import Revoked
from swarm.records import Credential

from .conftest import DAY, MONTH, START, Authority

KEY = ProcessKey().key


def statement(peer: str = "paris", key: str = KEY, session: str = "s") -> bytes:
    return credential_statement(session, peer, key)


def doubt(identity: Identity, given: Credential, *, current: bool = True, session: str = "s") -> str:
    return vouching.doubt(identity, given, statement(given.peer, given.key, session), current=current)


@pytest.fixture
def paris(heart: Authority, calendar: Callable[[], object]) -> Identity:
    """The identity of another member of the consortium of ``berlin``."""
    return Identity(heart.give("paris", heart.publish("berlin", "paris")), calendar)


@pytest.fixture
def given(paris: Identity) -> Credential:
    """The credential of a process of ``paris``."""
    return vouching.credential(paris, "paris", KEY, statement())


@pytest.mark.parametrize("current", [True, False])
def test_a_credential_is_that_of_its_peer(berlin: Identity, given: Credential, current: bool) -> None:
    assert (given.peer, given.key) == ("paris", KEY)
    assert doubt(berlin, given, current=current) == ""


def test_without_an_identity_the_key_stands_alone() -> None:
    given = vouching.credential(None, "paris", KEY, statement())
    assert given == Credential("paris", KEY)
    assert vouching.doubt(None, given, statement(), current=True) == ""


def test_with_an_identity_a_key_alone_is_none(berlin: Identity) -> None:
    assert "no certificate" in doubt(berlin, Credential("paris", KEY))


NOT_SIGNED = "it is not signed with the key of the certificate"


@pytest.mark.parametrize("current", [True, False])
def test_a_credential_is_for_one_key_and_one_session(berlin: Identity, given: Credential, current: bool) -> None:
    assert doubt(berlin, replace(given, key=ProcessKey().key), current=current) == NOT_SIGNED
    assert doubt(berlin, given, session="another", current=current) == NOT_SIGNED


@pytest.mark.parametrize("current", [True, False])
def test_the_certificate_is_that_of_the_peer(berlin: Identity, heart: Authority, given: Credential, current) -> None:
    """A member cannot vouch for a key in the name of another one."""
    assert doubt(berlin, replace(given, peer="rome"), current=current) == "the certificate is that of paris"
    rome = Identity(heart.give("rome", heart.publish("berlin", "paris", "rome")), heart.calendar)
    other = vouching.credential(rome, "paris", KEY, statement())
    assert doubt(berlin, other, current=current) == "the certificate is that of rome"
    own = replace(other, certificate=given.certificate)
    assert doubt(berlin, own, current=current) == NOT_SIGNED


def test_a_certificate_of_another_authority_is_none(berlin: Identity, tmp_path, calendar) -> None:
    lung = Authority(tmp_path / "lung", calendar)
    paris = Identity(lung.give("paris", lung.publish("berlin", "paris")), calendar)
    stranger = vouching.credential(paris, "paris", KEY, statement())
    assert doubt(berlin, stranger, current=False) == "it has no certificate of the authority"


def test_a_member_is_no_authority(berlin: Identity, paris: Identity) -> None:
    """Its own certificate is of the consortium; one that it has signed for another name is not."""
    key = certificates.new_key()
    forged = certificates.issue(
        certificates.request(key, "berlin"),
        "berlin",
        key=certificates.load_key(paris.credentials.key),
        issuer=paris.certificate.pem,
        now=START,
        valid=MONTH,
    )
    text = statement("berlin")
    lie = Credential(
        "berlin",
        KEY,
        base64.b64encode(forged + paris.credentials.chain).decode(),
        base64.b64encode(certificates.sign(key, text)).decode(),
    )
    for current in (True, False):
        assert doubt(berlin, lie, current=current) == "its certificate was issued by one that may issue none"


def test_a_revoked_certificate_is_none_now_and_stands_in_an_old_record(
    berlin: Identity, heart: Authority, paris: Identity, given: Credential
) -> None:
    revoked = Revoked("paris", paris.certificate.serial, START.isoformat())
    assert berlin.adopt(heart.publish("berlin", "paris", revoked=(revoked,)))
    assert "revoked" in doubt(berlin, given)
    assert doubt(berlin, given, current=False) == ""


def test_a_member_that_was_removed_is_none_now_and_stands_in_an_old_record(
    berlin: Identity, heart: Authority, given: Credential
) -> None:
    assert berlin.adopt(heart.publish("berlin"))
    assert "paris is not a member" in doubt(berlin, given)
    assert doubt(berlin, given, current=False) == ""


def test_an_expired_certificate_is_none_now_and_stands_in_an_old_record(
    berlin: Identity, given: Credential, calendar
) -> None:
    calendar.today += 4 * MONTH
    assert "paris is valid" in doubt(berlin, given)
    assert doubt(berlin, given, current=False) == ""


def test_a_renewed_certificate_vouches_for_the_next_key(berlin: Identity, heart: Authority, given: Credential) -> None:
    other = ProcessKey().key
    renewed = Identity(heart.give("paris", heart.document.signed(heart.key)), heart.calendar)
    assert doubt(berlin, vouching.credential(renewed, "paris", other, statement(key=other))) == ""
    assert doubt(berlin, given) == "", "and the former one is still valid"


@pytest.mark.parametrize(
    "changes",
    [
        {"certificate": ""},
        {"certificate": "no base64 at all"},
        {"certificate": "bm8gY2VydGlmaWNhdGU="},
        {"proof": ""},
        {"proof": "no base64 at all"},
        {"proof": "bm8gc2lnbmF0dXJl"},
    ],
)
def test_what_is_no_certificate_or_no_proof_is_none(berlin: Identity, given: Credential, changes: dict) -> None:
    for current in (True, False):
        assert doubt(berlin, replace(given, **changes), current=current) != ""


def test_a_damaged_certificate_is_none_wherever_it_is_damaged(berlin: Identity, given: Credential) -> None:
    whole = base64.b64decode(given.certificate)
    der = x509.load_pem_x509_certificate(whole).public_bytes(serialization.Encoding.DER)
    for at in range(len(der)):
        damaged = bytearray(der)
        damaged[at] ^= 0x55
        text = b"-----BEGIN CERTIFICATE-----\n" + base64.b64encode(damaged) + b"\n-----END CERTIFICATE-----\n"
        odd = replace(given, certificate=base64.b64encode(text).decode())
        assert doubt(berlin, odd, current=False) != "", f"byte {at}"


# Another public-key infrastructure -----------------------------------------------------------------------------------


class Hospital:
    """An authority of its own, which has one authority below it that issues certificates."""

    def __init__(self, heart: Authority, *, levels: int | None = None) -> None:
        self.root, self.key = heart, certificates.new_key()
        self.below = self.authority(heart.key, certificates.load(heart.pem).subject, self.key, "ward", levels)

    @staticmethod
    def authority(
        signer: certificates.Key, issuer: x509.Name, key: certificates.Key, name: str, levels: int | None
    ) -> bytes:
        """The certificate of an authority below another one, which allows ``levels`` more below it."""
        built = (
            x509.CertificateBuilder()
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(START - certificates.SKEW)
            .not_valid_after(START + 12 * MONTH)
            .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)]))
            .issuer_name(issuer)
            .add_extension(x509.BasicConstraints(ca=True, path_length=levels), critical=True)
        )
        return built.sign(signer, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    def certificate(self, name: str, key: certificates.Key) -> bytes:
        """A certificate, and that of the authority between it and the root."""
        request = certificates.request(key, name)
        issued = certificates.issue(request, name, key=self.key, issuer=self.below, now=START, valid=3 * MONTH)
        return issued + self.below

    def identity(self, site, name: str, revoked: bytes = b"") -> Identity:
        place = site(name)
        place.directory.parent.mkdir(exist_ok=True)
        key = certificates.new_key()
        return place.install(
            self.certificate(name, key), self.root.pem, key=certificates.key_pem(key), revoked=revoked or None
        )


def revocation(heart: Authority, *serials: int) -> bytes:
    rows = [x509.RevokedCertificateBuilder(serial, START).build() for serial in serials]
    issuer = certificates.load(heart.pem).subject
    made = x509.CertificateRevocationListBuilder(issuer, START, START + MONTH, (), rows)
    return made.sign(heart.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def test_a_certificate_of_an_authority_between_is_one_of_the_root(heart: Authority, site) -> None:
    hospital = Hospital(heart)
    berlin, paris = hospital.identity(site, "berlin"), hospital.identity(site, "paris")
    given = vouching.credential(paris, "paris", KEY, statement())
    for current in (True, False):
        assert doubt(berlin, given, current=current) == ""
    first, _ = base64.b64decode(given.certificate).split(b"-----END CERTIFICATE-----\n")[:2]
    alone = replace(given, certificate=base64.b64encode(first + b"-----END CERTIFICATE-----\n").decode())
    assert doubt(berlin, alone, current=False) == "it has no certificate of the authority"


def test_an_authority_that_may_have_none_below_it_has_none(heart: Authority, site) -> None:
    hospital = Hospital(heart, levels=0)
    berlin = hospital.identity(site, "berlin")
    lowest, key = certificates.new_key(), certificates.new_key()
    ward = certificates.load(hospital.below).subject
    below = hospital.authority(hospital.key, ward, lowest, "bed", None)
    request = certificates.request(key, "paris")
    issued = certificates.issue(request, "paris", key=lowest, issuer=below, now=START, valid=MONTH)
    chain = base64.b64encode(issued + below + hospital.below).decode()
    given = Credential("paris", KEY, chain, base64.b64encode(certificates.sign(key, statement())).decode())
    assert doubt(berlin, given, current=False) == "its certificate was issued by one that may issue none"


def test_what_another_infrastructure_has_revoked_is_none_now_and_stands_in_an_old_record(
    heart: Authority, site
) -> None:
    hospital = Hospital(heart)
    paris = hospital.identity(site, "paris")
    serial = Certificate.read(paris.credentials.chain).serial
    berlin = hospital.identity(site, "berlin", revoked=revocation(heart, serial))
    given = vouching.credential(paris, "paris", KEY, statement())
    assert "paris is revoked" in doubt(berlin, given)
    assert doubt(berlin, given, current=False) == ""


def signed_list(issuer: bytes, key: certificates.Key, *serials: int, until: datetime = START + MONTH) -> bytes:
    rows = [x509.RevokedCertificateBuilder(serial, START).build() for serial in serials]
    name = certificates.load(issuer).subject
    made = x509.CertificateRevocationListBuilder(name, START - MONTH, until, (), rows)
    return made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def test_each_authority_of_the_chain_may_have_signed_a_list(heart: Authority, site) -> None:
    hospital, stranger = Hospital(heart), certificates.new_key()
    paris, rome, oslo = (hospital.identity(site, name) for name in ("paris", "rome", "oslo"))
    lists = signed_list(hospital.below, hospital.key, paris.certificate.serial)
    lists += revocation(heart, rome.certificate.serial)
    berlin = hospital.identity(site, "berlin", revoked=b"of our authority:\n" + lists)
    for each in (paris, rome):
        with pytest.raises(UntrustedPeerError, match=f"{each.name} is revoked"):
            berlin.trust(each.certificate.pem)
    assert berlin.trust(oslo.certificate.pem).name == "oslo"
    for foreign in (signed_list(hospital.below, stranger, 1), signed_list(heart.pem, hospital.key, 1)):
        with pytest.raises(IdentityError, match=r"revoked.pem was not signed by the authority: none in .* is CN="):
            hospital.identity(site, "bern", revoked=lists + foreign)
    for nothing in (b"nothing", b"-----BEGIN X509 CRL-----\n-----END X509 CRL-----"):
        with pytest.raises(IdentityError, match=r"revoked.pem is no list of revoked certificates that can be read"):
            hospital.identity(site, "bern", revoked=nothing)


def test_a_list_that_is_due_for_replacement_is_a_warning_once_a_day(heart: Authority, site, calendar, caplog) -> None:
    hospital = Hospital(heart)
    lists = revocation(heart, 1) + signed_list(hospital.below, hospital.key, until=START + DAY)
    berlin = hospital.identity(site, "berlin", revoked=lists)
    assert (caplog.messages, berlin.concerns) == ([], ())
    calendar.today += DAY
    for _ in range(2):
        berlin.refresh()
    (line,) = caplog.messages
    assert "revoked.pem was to be replaced by 2027-01-02 00:00 UTC, and whoever was revoked since is still" in line
    assert "get the newest from your authority, and replace the file" in line
    calendar.today += DAY
    berlin.refresh()
    assert len(caplog.messages) == 2
    files.write(berlin.directory / files.REVOKED, signed_list(hospital.below, hospital.key, until=START + MONTH))
    assert berlin.refresh()
    calendar.today += DAY
    berlin.refresh()
    assert len(caplog.messages) == 2


def test_an_authority_is_changed_step_by_step(heart: Authority, site, calendar, caplog) -> None:
    """Of peers that run: both authorities are trusted, each site gets a new certificate, the old authority goes."""
    new = Authority(heart.directory.with_name("new"), calendar)
    new.pem = certificates.authority(new.key, "lung", START, 12 * MONTH)
    key, names = certificates.new_key(), ("berlin", "paris")
    for name in names:
        site(name).directory.parent.mkdir()
    made = {name: certificates.new_key() for name in names}
    berlin, paris = (
        site(name).install(heart.certificate(name, made[name]), heart.pem, key=certificates.key_pem(made[name]))
        for name in names
    )
    for each in (berlin, paris):
        files.write(each.directory / files.AUTHORITY, heart.pem + new.pem)
        assert each.refresh()
    files.write(paris.directory / files.IDENTITY, certificates.key_pem(key) + new.certificate("paris", key), 0o600)
    assert paris.refresh()
    for one, other in ((berlin, paris), (paris, berlin)):
        assert one.trust(other.certificate.pem).name == other.name
        given = vouching.credential(other, other.name, KEY, statement(other.name))
        assert doubt(one, given) == ""
    both = signed_list(heart.pem, heart.key, paris.certificate.serial) + signed_list(new.pem, new.key, 5)
    files.write(berlin.directory / files.REVOKED, both)
    assert berlin.refresh()
    assert berlin.trust(paris.certificate.pem).name == "paris", "the old authority has used that number too"
    files.write(paris.directory / files.AUTHORITY, new.pem)
    assert paris.refresh()
    given = vouching.credential(berlin, "berlin", KEY, statement("berlin"))
    assert doubt(paris, given, current=False) == "it has no certificate of the authority"
    calendar.today += 12 * MONTH - 13 * DAY
    caplog.clear()
    heart.pem, before = certificates.authority(heart.key, "heart", START, 4 * MONTH), calendar.today
    files.write(paris.directory / files.AUTHORITY, heart.pem + new.pem)
    paris.refresh()
    assert "authority heart has ended on 2027-05-01 00:00 UTC: take it out of " in caplog.text
    assert "authority lung ends on 2027-12-27 00:00 UTC" in caplog.text
    assert calendar.today == before


def test_what_another_infrastructure_lets_expire_is_none_now(heart: Authority, site, calendar) -> None:
    hospital = Hospital(heart)
    berlin, paris = hospital.identity(site, "berlin"), hospital.identity(site, "paris")
    given = vouching.credential(paris, "paris", KEY, statement())
    calendar.today += 4 * MONTH
    assert doubt(berlin, given) != ""
    assert doubt(berlin, given, current=False) == ""


def test_a_credential_has_the_whole_chain_but_the_root(heart: Authority, site) -> None:
    hospital = Hospital(heart)
    paris = hospital.identity(site, "paris")
    given = vouching.credential(paris, "paris", KEY, statement())
    shown = x509.load_pem_x509_certificates(base64.b64decode(given.certificate))
    assert [each.public_bytes(serialization.Encoding.PEM) for each in shown[1:]] == [hospital.below]
    assert files.read(paris.directory / files.AUTHORITY) == heart.pem
