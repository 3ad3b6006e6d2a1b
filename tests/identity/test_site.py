from __future__ import annotations

import os
import shutil
import stat
from dataclasses import replace
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from swarm.errors import IdentityError, UntrustedPeerError
from swarm.identity import Certificate, Consortium, Identity, certificates, files
from swarm.identity.consortium import Member, Role
from swarm.identity.site import Site

from .conftest import DAY, MONTH, START


@pytest.fixture
def asked(founded, site):
    """The site of berlin, and the reply to its request."""
    berlin = site("berlin")
    berlin.directory.parent.mkdir()
    made = founded.invite("berlin", valid=DAY)
    return berlin, founded.answer(berlin.enrolment(made, "10.0.0.2:7700")).reply


def test_the_files_of_an_identity(asked, calendar):
    berlin, reply = asked
    berlin.accept(reply)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in berlin.directory.iterdir()}
    assert modes.pop("identity.pem") == 0o600
    assert set(modes) == {"authority.pem", "consortium.json", "enrolment.json"}
    assert stat.S_IMODE(berlin.directory.stat().st_mode) == 0o700
    assert [path.name for path in berlin.directory.parent.iterdir()] == ["swarm-identity"]


def test_a_key_that_waits_is_for_its_owner_only(asked):
    berlin, _ = asked
    assert stat.S_IMODE(berlin.waiting_directory.stat().st_mode) == 0o700
    assert stat.S_IMODE((berlin.waiting_directory / "key.pem").stat().st_mode) == 0o600
    (berlin.waiting_directory / "key.pem").chmod(0o644)
    with pytest.raises(IdentityError, match="mode is 0644"):
        berlin.accept(asked[1])


def test_a_key_is_not_put_into_a_directory_that_somebody_else_has_made(founded, site, monkeypatch):
    monkeypatch.setattr(shutil, "rmtree", lambda *_, **__: None)  # it is of another user
    berlin = site("berlin")
    files.make_directory(berlin.directory.parent)
    partial = berlin.directory.parent / f".swarm-identity.waiting.{os.getpid()}.partial"
    partial.mkdir()
    with pytest.raises(IdentityError, match=r"partial cannot be made: File exists"):
        berlin.enrolment(founded.invite("berlin", valid=DAY), "10.0.0.2:7700")
    assert not list(partial.iterdir())


def test_an_identity_is_never_overwritten(asked, founded):
    berlin, reply = asked
    berlin.accept(reply)
    with pytest.raises(IdentityError, match="is there already: an identity is never overwritten"):
        berlin.enrolment(founded.invite("rome", valid=DAY), "10.0.0.2:7700")
    with pytest.raises(IdentityError, match="is there already"):
        berlin.certificate_request("rome")
    with pytest.raises(IdentityError, match="is there already"):
        berlin.install(b"", b"")
    with pytest.raises(IdentityError, match="nothing was asked for here"):
        berlin.accept(reply)


def test_a_reply_of_another_authority_is_refused(asked, heart):
    berlin, reply = asked
    with pytest.raises(IdentityError, match="of another authority than an invitation is for"):
        berlin.accept(replace(reply, authority=heart.pem))
    assert not berlin.directory.exists()


def test_a_reply_with_a_second_authority_is_refused(asked, heart):
    berlin, reply = asked
    with pytest.raises(IdentityError, match="holds several certificates, and a consortium has one authority"):
        berlin.accept(replace(reply, authority=reply.authority + heart.pem))
    assert not berlin.directory.exists()


def test_a_reply_with_the_certificate_of_another_is_refused(asked, founded, join, calendar):
    berlin, reply = asked
    rome = Identity(join("rome").directory, calendar).certificate
    with pytest.raises(IdentityError, match="is for rome, not for berlin"):
        berlin.accept(replace(reply, certificate=rome.pem))
    request = certificates.request(certificates.new_key(), "berlin")
    key = certificates.load_key((founded.directory / "authority.key").read_bytes())
    other = certificates.issue(request, "berlin", key=key, issuer=founded.pem, now=START, valid=MONTH)
    with pytest.raises(IdentityError, match="for another key than this site's"):
        berlin.accept(replace(reply, certificate=other))
    assert not berlin.directory.exists()


def test_a_reply_with_a_certificate_of_another_authority_is_refused(asked, heart):
    berlin, reply = asked
    key = certificates.load_key((berlin.waiting_directory / "key.pem").read_bytes())
    with pytest.raises(IdentityError, match="was not issued by the authority"):
        berlin.accept(replace(reply, certificate=heart.certificate("berlin", key)))
    assert not berlin.directory.exists()


def test_a_reply_with_another_document_is_refused(asked, founded, heart):
    berlin, reply = asked
    with pytest.raises(IdentityError, match="not signed by its authority"):
        berlin.accept(replace(reply, document=heart.publish("berlin")))
    founded.revoke("berlin")
    with pytest.raises(IdentityError, match="berlin is not a member of consortium heart: it was revoked meanwhile"):
        berlin.accept(replace(reply, document=founded.register.document))
    assert not berlin.directory.exists()


def test_an_expired_invitation_is_not_sent(founded, site, calendar):
    berlin = site("berlin")
    made = founded.invite("berlin", valid=DAY)
    calendar.today += DAY + timedelta(hours=1)
    with pytest.raises(IdentityError, match="for berlin has expired on 2027-01-02 00:00 UTC: ask for another"):
        berlin.enrolment(made, "10.0.0.2:7700")


def test_another_invitation_means_another_key(founded, site):
    berlin = site("berlin")
    berlin.directory.parent.mkdir()
    first, second = (founded.invite("berlin", valid=DAY) for _ in range(2))
    key = berlin.waiting_directory / "key.pem"
    berlin.enrolment(first, "10.0.0.2:7700")
    before = key.read_bytes()
    berlin.enrolment(first, "10.0.0.2:7701")
    assert key.read_bytes() == before
    berlin.enrolment(second, "10.0.0.2:7700")
    assert key.read_bytes() != before


def test_a_failed_renewal_changes_nothing(join, founded, heart, calendar):
    berlin = join("berlin")
    before = {path.name: path.read_bytes() for path in berlin.directory.iterdir()}
    reply = founded.answer(berlin.renewal()).reply
    with pytest.raises(IdentityError):
        berlin.accept(replace(reply, document=heart.publish("berlin")))
    assert {path.name: path.read_bytes() for path in berlin.directory.iterdir()} == before
    assert berlin.accept(reply).name == "berlin"


def test_a_renewal_keeps_a_newer_document(join, founded, calendar):
    berlin = join("berlin")
    reply = founded.answer(berlin.renewal()).reply
    join("rome")
    Identity(berlin.directory, calendar).adopt(founded.register.document)
    assert berlin.accept(reply).document == founded.document


def test_an_expired_identity_of_the_founder_is_replaced_by_its_authority(founded, site, join, calendar):
    paris, berlin = site("paris"), join("berlin")
    founded.change("paris", weight=7)
    others = Identity(berlin.directory, calendar)
    with pytest.raises(IdentityError, match="holds an identity that counts"):
        paris.found_again(founded)
    calendar.today += 366 * DAY
    with pytest.raises(IdentityError, match="At the founder of a consortium, type `swarm renew` where"):
        paris.renewal()
    own = paris.found_again(founded)
    assert own.certificate.not_after == calendar.today + 365 * DAY
    assert own.document == founded.document
    assert founded.document.member("paris") == Member("paris", 7, Role.TRAINER, "127.0.0.1:7700")
    others.adopt(founded.register.document)
    assert others.trust(own.certificate.pem).name == "paris"


def test_a_lost_identity_of_the_founder_is_replaced_and_revoked(founded, site, tmp_path, calendar):
    paris = site("paris")
    lost = Identity(paris.directory, calendar).certificate
    paris.renewal()  # of which the answer never came
    elsewhere = Site(tmp_path / "paris" / "new", calendar)
    with pytest.raises(IdentityError, match=r"the identity of paris is in .*: give --identity"):
        elsewhere.found_again(founded)
    old = paris.directory.rename(tmp_path / "old")
    with pytest.raises(IdentityError, match=r"there is no .* At the founder of a consortium, type `swarm renew` where"):
        paris.renewal()
    own = elsewhere.found_again(founded, "10.0.0.9:7700")
    assert founded.document.member("paris").address == "10.0.0.9:7700"
    assert founded.hand_to_founder()  # to where its identity is now
    with pytest.raises(UntrustedPeerError, match="paris was revoked"):
        own.trust(lost.pem)
    old.rename(paris.directory)  # found again, and revoked meanwhile
    elsewhere.directory.rename(tmp_path / "gone")
    assert paris.found_again(founded).certificate.serial not in (lost.serial, own.certificate.serial)


def test_what_is_not_the_founders_is_not_replaced_by_its_authority(founded, join, calendar, site):
    berlin = join("berlin")
    calendar.today += 366 * DAY
    with pytest.raises(IdentityError, match="holds an identity that counts"):
        berlin.found_again(founded)
    paris = site("paris")
    (paris.directory / "identity.pem").unlink()
    with pytest.raises(IdentityError, match=r"identity.pem cannot be read.* move .* away: `swarm renew` then makes"):
        paris.found_again(founded)


def test_a_founding_that_was_cut_off_is_completed(founded, site, monkeypatch):
    paris = site("paris")
    shutil.rmtree(paris.directory)
    alone = Consortium("heart", 1, START.isoformat())
    monkeypatch.setattr(type(founded), "document", alone)
    with pytest.raises(IdentityError, match="not known where others reach the peer of paris: give --listen"):
        paris.found_again(founded)
    assert paris.found_again(founded, "10.0.0.9:7700").member("paris").address == "10.0.0.9:7700"


@pytest.fixture
def hospital(site):
    """The site of a hospital with a public-key infrastructure of its own."""
    berlin = site("berlin")
    berlin.directory.parent.mkdir()
    return berlin


def signed(heart, request, name="berlin"):
    return certificates.issue(request, name, key=heart.key, issuer=heart.pem, now=START, valid=MONTH)


def test_an_authority_of_another_infrastructure_signs_a_request(hospital, heart, calendar):
    request = hospital.certificate_request("berlin")
    assert hospital.certificate_request("berlin") != b""
    own = hospital.install(signed(heart, request), heart.pem)
    assert (own.name, own.document) == ("berlin", None)
    assert not hospital.waiting_directory.exists()
    paris = heart.certificate("paris", certificates.new_key())
    assert own.trust(paris).name == "paris"
    with pytest.raises(IdentityError, match=r"another public-key infrastructure: renew it there"):
        hospital.renewal()


def test_a_key_and_a_certificate_that_are_there_are_installed(hospital, heart):
    key = certificates.new_key()
    certificate = heart.certificate("charite.berlin", key)
    own = hospital.install(certificate, heart.pem, key=certificates.key_pem(key))
    assert own.name == "charite.berlin"


def test_a_list_of_revoked_certificates_is_installed_too(hospital, heart):
    request = hospital.certificate_request("berlin")
    paris = heart.certificate("paris", certificates.new_key())
    row = x509.RevokedCertificateBuilder(Certificate.read(paris).serial, START).build()
    issuer = certificates.load(heart.pem).subject
    crl = x509.CertificateRevocationListBuilder(issuer, START, START + MONTH, (), [row]).sign(
        heart.key, hashes.SHA256()
    )
    own = hospital.install(signed(heart, request), heart.pem, revoked=crl.public_bytes(serialization.Encoding.PEM))
    with pytest.raises(UntrustedPeerError, match="paris is revoked"):
        own.trust(paris)


def test_what_does_not_belong_together_is_not_installed(hospital, heart, founded):
    request = hospital.certificate_request("berlin")
    certificate = signed(heart, request)
    with pytest.raises(IdentityError, match="for another key"):
        hospital.install(certificate, heart.pem, key=certificates.key_pem(certificates.new_key()))
    with pytest.raises(IdentityError, match="was not issued by the authority"):
        hospital.install(certificate, founded.pem)
    with pytest.raises(IdentityError, match="no certificate"):
        hospital.install(b"x", heart.pem)
    assert not hospital.directory.exists()
    assert hospital.install(certificate, heart.pem).name == "berlin"


def test_a_key_waits_for_one_thing_at_a_time(hospital, founded):
    hospital.certificate_request("berlin")
    made = founded.invite("berlin", valid=DAY)
    with pytest.raises(IdentityError, match=r"waits for another public-key infrastructure: complete that first"):
        hospital.enrolment(made, "10.0.0.2:7700")
    assert files.read(hospital.waiting_directory / "key.pem")
