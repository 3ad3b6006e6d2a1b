from __future__ import annotations

import errno
import os
import socket
import ssl
import stat
import threading
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from swarm.errors import IdentityError, UntrustedPeerError
from swarm.identity import Certificate, Identity, Role, certificates, files
from swarm.identity.consortium import Revoked
from swarm.identity.throwaway import make_identities, own_identity

from .conftest import MONTH, START


def other(heart, name="paris", **options):
    return heart.certificate(name, certificates.new_key(), **options)


def test_it_has_the_name_of_its_certificate(berlin):
    assert berlin.name == "berlin"
    assert berlin.document.name == "heart"


def test_a_member_is_trusted(heart, berlin):
    assert berlin.trust(other(heart)).name == "paris"


def test_a_name_that_is_no_members_is_not_trusted(heart, berlin):
    with pytest.raises(UntrustedPeerError, match="rome is not a member of consortium heart"):
        berlin.trust(other(heart, "rome"))


def test_addresses_are_those_of_members_that_train(founded, join, calendar):
    join("rome")
    auditor = join("auditor", role=Role.OBSERVER)
    paris = Identity(founded.directory.parent / "swarm-identity", calendar)
    assert paris.addresses == ("paris@127.0.0.1:7700", "rome@10.0.0.2:7700")
    assert paris.others == ("rome@10.0.0.2:7700",)
    assert Identity(auditor.directory, calendar).others == paris.addresses
    assert paris.trainers == {"paris", "rome"}


def test_an_expired_certificate_is_not_trusted(heart, berlin, calendar):
    paris = other(heart)
    berlin.trust(paris)
    calendar.today += 4 * MONTH
    with pytest.raises(UntrustedPeerError, match=r"paris is valid .* renew it"):
        berlin.trust(paris)


def test_a_revoked_certificate_is_not_trusted_from_the_next_look_on(heart, berlin):
    paris, again = other(heart), other(heart)
    revoked = Revoked("paris", Certificate.read(paris).serial, START.isoformat())
    berlin.trust(paris)
    assert berlin.adopt(heart.publish("berlin", "paris", revoked=(revoked,)))
    with pytest.raises(UntrustedPeerError, match="paris was revoked on 2027-01-01"):
        berlin.trust(paris)
    assert berlin.trust(again).name == "paris"


def test_an_older_document_is_not_adopted(heart, berlin):
    newer = heart.publish("berlin")
    newest = heart.publish("berlin", "paris")
    assert berlin.adopt(newest)
    assert not berlin.adopt(newer)
    assert berlin.document.member("paris")


@pytest.mark.parametrize(("change", "told"), [("older", "was replaced by version 2"), ("none", "was removed")])
def test_a_document_that_is_replaced_by_an_older_one_is_put_back(heart, berlin, calendar, caplog, change, told):
    before, file = berlin.document_bytes, berlin.directory / files.CONSORTIUM
    berlin.adopt(heart.publish("berlin"))
    file.write_bytes(before) if change == "older" else file.unlink()
    berlin.refresh()
    assert berlin.document.version == Identity(berlin.directory, calendar).document.version == 3
    assert f"{told}; version 3, which is in use, is put back" in caplog.text


def test_a_document_that_another_process_has_written_is_not_replaced_by_an_older_one(heart, berlin, calendar):
    newer, newest = heart.publish("berlin"), heart.publish("berlin", "paris")
    (berlin.directory / files.CONSORTIUM).write_bytes(newest)
    assert not berlin.adopt(newer)
    assert Identity(berlin.directory, calendar).document.version == heart.document.version


@pytest.mark.parametrize("seconds", [-1, 59])
def test_a_peer_knows_that_its_certificate_has_ended_or_ends_at_once(heart, berlin, calendar, seconds):
    ends = berlin.certificate.not_after
    calendar.today = ends - timedelta(seconds=61)
    assert berlin.refusal == ""
    calendar.today = ends - timedelta(seconds=seconds)
    assert "the certificate of berlin" in berlin.refusal


def test_a_peer_knows_that_it_was_revoked(heart, berlin):
    assert berlin.refusal == ""
    berlin.adopt(heart.publish("paris"))
    assert berlin.refusal == "berlin is not a member of consortium heart"
    berlin.adopt(heart.publish("berlin", revoked=(Revoked("berlin", berlin.certificate.serial, START.isoformat()),)))
    assert "berlin was revoked on 2027-01-01" in berlin.refusal


def test_a_newer_document_in_the_files_can_be_read_before_it_is_used(heart, berlin):
    assert berlin.unread() is None
    before, newer = berlin.document_bytes, heart.publish("berlin")
    file = berlin.directory / files.CONSORTIUM
    file.write_bytes(newer)
    assert berlin.unread() == (heart.document.version, newer)
    assert berlin.document_bytes == before
    assert berlin.refresh()
    assert berlin.unread() is None
    for useless in (before, b"nothing"):
        file.write_bytes(useless)
        assert berlin.unread() is None


def test_a_new_document_leaves_the_credentials_as_they_are(heart, berlin):
    before = berlin.credentials
    berlin.adopt(heart.publish("berlin"))
    assert berlin.credentials is before


def test_a_document_of_another_authority_is_not_adopted(heart, berlin):
    heart.key = certificates.new_key()
    with pytest.raises(IdentityError, match="not signed"):
        berlin.adopt(heart.publish("berlin"))


def test_an_adopted_document_is_kept(heart, berlin, calendar):
    berlin.adopt(heart.publish("berlin"))
    assert Identity(berlin.directory, calendar).document.version == heart.document.version


def test_a_renewed_certificate_is_used_without_a_restart(heart, berlin, calendar, caplog):
    before = berlin.credentials
    assert not berlin.refresh()
    calendar.today += MONTH
    with caplog.at_level("INFO"):
        heart.give("berlin", berlin.document_bytes)
        assert berlin.refresh()
    assert berlin.credentials != before
    assert berlin.certificate.not_after == START + 4 * MONTH
    assert "berlin is renewed" in caplog.text


def test_damaged_files_do_not_replace_what_is_in_use(berlin, caplog):
    before = berlin.certificate
    (berlin.directory / files.IDENTITY).write_bytes(b"nothing")
    assert not berlin.refresh()
    assert not berlin.refresh()
    assert berlin.certificate == before
    assert caplog.text.count("is not used") == 1


def test_expiry_is_announced_two_weeks_ahead_once_a_day(heart, calendar, caplog):
    identity = Identity(heart.give("berlin", heart.publish("berlin"), timedelta(days=15)), calendar)
    identity.refresh()
    assert "expires" not in caplog.text
    assert not identity.expires_soon
    calendar.today += timedelta(days=1, seconds=1)
    identity.refresh()
    identity.refresh()
    assert caplog.text.count("the certificate of berlin expires on 2027-01-16") == 1
    assert identity.expires_soon
    calendar.today += timedelta(days=1)
    identity.refresh()
    assert caplog.text.count("expires on") == 2


def test_an_expired_identity_is_refused_at_start(heart, calendar):
    directory = heart.give("berlin", heart.publish("berlin"))
    calendar.today += 4 * MONTH
    with pytest.raises(IdentityError, match=r"has expired on 2027-04-01 .*`swarm invite berlin --again`"):
        Identity(directory, calendar)


def test_a_key_that_others_can_read_is_refused(berlin, calendar):
    (berlin.directory / files.IDENTITY).chmod(0o640)
    with pytest.raises(IdentityError, match=r"mode is 0640.*chmod 600"):
        Identity(berlin.directory, calendar)


def test_an_identity_of_a_consortium_without_its_document_is_refused(berlin, calendar):
    (berlin.directory / files.ENROLMENT).write_bytes(b"{}")
    (berlin.directory / files.CONSORTIUM).unlink()
    with pytest.raises(IdentityError, match="without it every certificate of the authority would be trusted"):
        Identity(berlin.directory, calendar)


def test_a_certificate_of_another_authority_is_refused(heart, berlin, calendar):
    key = certificates.new_key()
    files.write(berlin.directory / files.AUTHORITY, certificates.authority(key, "heart", START, MONTH))
    with pytest.raises(IdentityError, match="was not issued by the authority"):
        Identity(berlin.directory, calendar)


def test_a_missing_file_is_named(berlin, calendar):
    (berlin.directory / files.AUTHORITY).unlink()
    with pytest.raises(IdentityError, match=r"authority\.pem cannot be read: No such file"):
        Identity(berlin.directory, calendar)


def test_a_revocation_list_of_another_infrastructure(heart, berlin, calendar):
    (berlin.directory / files.CONSORTIUM).unlink()
    paris, rome = other(heart), other(heart, "rome")
    revoked = x509.RevokedCertificateBuilder(Certificate.read(paris).serial, START).build()
    issuer = certificates.load(heart.pem).subject
    revocations = x509.CertificateRevocationListBuilder(issuer, START, START + MONTH, (), [revoked])
    pem = revocations.sign(heart.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    files.write(berlin.directory / files.REVOKED, pem)
    identity = Identity(berlin.directory, calendar)
    assert identity.trainers is None
    assert identity.trust(rome).name == "rome"
    with pytest.raises(UntrustedPeerError, match="paris is revoked"):
        identity.trust(paris)
    assert not identity.adopt(b"whatever")


@pytest.mark.parametrize("document", [True, False])
def test_an_authority_that_ends_is_announced_and_no_start_is_made_after_it(heart, calendar, caplog, document):
    heart.pem = certificates.authority(heart.key, "heart", START, timedelta(days=15))
    directory = heart.give("berlin", heart.publish("berlin"))
    key = certificates.load_key((directory / files.IDENTITY).read_bytes())
    request, before = certificates.request(key, "berlin"), certificates.load(heart.pem).subject
    issued = x509.CertificateBuilder().subject_name(x509.load_pem_x509_csr(request).subject).issuer_name(before)
    issued = issued.public_key(key.public_key()).serial_number(7).not_valid_before(START).not_valid_after(START + MONTH)
    issued = issued.add_extension(x509.SubjectAlternativeName([x509.DNSName("berlin")]), critical=False)
    longer = issued.sign(heart.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    files.write(directory / files.IDENTITY, certificates.key_pem(key) + longer, files.PRIVATE)
    if not document:
        (directory / files.CONSORTIUM).unlink()
    identity = Identity(directory, calendar)
    assert (caplog.messages, identity.expires_soon, identity.concerns) == ([], False, ())
    calendar.today += timedelta(days=1, seconds=1)
    for _ in range(2):
        identity.refresh()
    (line,) = caplog.messages
    assert "authority heart ends on 2027-01-16 00:00 UTC, and so do all certificates that come from it: " in line
    assert ("found another consortium" if document else "add the certificate of its successor to") in line
    assert identity.expires_soon
    calendar.today = START + timedelta(days=15, seconds=-30)
    assert "ends 2027-01-16" in identity.refusal
    calendar.today += timedelta(minutes=1)
    with pytest.raises(IdentityError, match=r"comes from authority heart, which has ended on 2027-01-16"):
        Identity(directory, calendar)


def test_a_consortium_has_one_authority(heart, berlin, calendar):
    """A reply with a second one would otherwise be installed, and its certificates trusted."""
    another = certificates.authority(certificates.new_key(), "heart", START, MONTH)
    files.write(berlin.directory / files.AUTHORITY, heart.pem + another)
    with pytest.raises(IdentityError, match=r"authority.pem holds several certificates, and a consortium has one"):
        Identity(berlin.directory, calendar)


def test_throw_away_identities_trust_one_another_and_nobody_else(tmp_path, heart):
    places = {name: tmp_path / name / "identity" for name in ("peer-0", "peer-1")}
    make_identities(places, START)
    first, second = (Identity(place, lambda: START) for place in places.values())
    assert first.trust(second.certificate.pem).name == "peer-1"
    assert first.credentials.authority != heart.pem
    with pytest.raises(UntrustedPeerError, match="berlin is not a member"):
        first.trust(heart.certificate("berlin", certificates.new_key()))


def test_the_peers_of_a_user_on_one_machine_trust_one_another(tmp_path):
    first = own_identity(tmp_path / "own", "My_Host", exact=False)
    second = own_identity(tmp_path / "own", "My_Host", exact=False)
    assert (first.name, second.name) == ("my-host", "my-host-2")
    assert Identity(first).trust(Identity(second).certificate.pem).name == "my-host-2"
    assert stat.S_IMODE((tmp_path / "own" / "authority.key").stat().st_mode) == 0o600


def test_a_name_that_was_asked_for_is_given_once(tmp_path):
    own_identity(tmp_path / "own", "berlin", exact=True)
    with pytest.raises(IdentityError, match=r"is peer 'berlin': choose another name"):
        own_identity(tmp_path / "own", "berlin", exact=True)
    with pytest.raises(IdentityError, match="'Site A' cannot be"):
        own_identity(tmp_path / "own", "Site A", exact=True)


@pytest.mark.parametrize("file", ["berlin.lock", "authority.lock", "authority.key"])
def test_a_file_of_this_machine_that_cannot_be_used_is_named_with_what_to_do(tmp_path, file):
    (tmp_path / "own" / file).mkdir(parents=True)
    with pytest.raises(IdentityError, match=rf"{file} cannot be .*: Is a directory"):
        own_identity(tmp_path / "own", "berlin", exact=False)


def test_a_file_system_without_locks_is_told(tmp_path, monkeypatch):
    def lock(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("swarm.identity.throwaway.fcntl.flock", lock)
    with pytest.raises(IdentityError, match=r"own cannot be used: No locks available: .* `chown -R`"):
        own_identity(tmp_path / "own", "berlin", exact=False)


def test_a_file_in_what_is_no_directory_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(IdentityError, match="identity cannot be written: Not a directory"):
        files.write(tmp_path / "file" / "identity", b"")


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_connections_speak_tls_1_3_only(tmp_path, version):
    places = {name: tmp_path / name for name in ("peer-0", "peer-1")}
    make_identities(places)
    server, client = (Identity(place) for place in places.values())
    context = client.client_context
    if version == ssl.TLSVersion.TLSv1_2:
        context.minimum_version = context.maximum_version = version
    ours, theirs = socket.socketpair()
    spoken: list[str | None] = []

    def answer() -> None:
        try:
            with server.server_context.wrap_socket(ours, server_side=True) as connection:
                spoken.append(connection.version())
        except ssl.SSLError:
            spoken.append(None)

    thread = threading.Thread(target=answer)
    thread.start()
    if version == ssl.TLSVersion.TLSv1_2:
        with pytest.raises(OSError, match=r"(?i)protocol|eof|reset"):
            context.wrap_socket(theirs)
        theirs.close()
    else:
        with context.wrap_socket(theirs) as connection:
            connection.recv(1)
            assert server.trust(client.certificate.pem) == client.certificate
    thread.join()
    assert spoken == [None if version == ssl.TLSVersion.TLSv1_2 else "TLSv1.3"]
