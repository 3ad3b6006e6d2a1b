from __future__ import annotations

import json
import stat
from contextlib import contextmanager
from dataclasses import replace

import pytest

from swarm.errors import IdentityError, UntrustedPeerError
from swarm.identity import Certificate, Identity, Member, Role, authority, certificates, files, register_files
from swarm.identity.enrolment import Enrolment, Renewal, read_request

from .conftest import DAY, MONTH, START


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def asked(invitation, **changes):
    """A request as a site makes it; ``changes`` to what it proves."""
    request = certificates.request(certificates.new_key(), invitation.name)
    content = {"invitation": invitation.number, "name": invitation.name, "request": request, "address": "10.0.0.2:7700"}
    return Enrolment.made(invitation.key, **(content | changes)).encoded()


def renewed(site, **changes):
    """A renewal as a site asks for it; ``changes`` to what was proved."""
    return replace(read_request(site.renewal()), **changes).encoded()


def test_the_founder_is_the_first_member(founded, calendar):
    paris = Identity(founded.directory.parent / "swarm-identity", calendar)
    assert paris.name == "paris"
    assert paris.document == founded.document
    assert founded.document.members == (Member("paris", 100, Role.TRAINER, "127.0.0.1:7700"),)
    assert founded.document.allowed == {"merge_method": ("mean",)}
    assert paris.certificate.not_after == START + 365 * DAY


def test_its_secrets_are_for_its_owner_only(founded):
    directory = founded.directory
    assert mode(directory) == 0o700
    assert mode(directory / "authority.key") == mode(directory / "register.json") == 0o600
    (directory / "authority.key").chmod(0o644)
    with pytest.raises(IdentityError, match="mode is 0644"):
        authority.Authority(directory)


def test_a_second_authority_in_its_place_is_refused(founded):
    with pytest.raises(IdentityError, match="is there already: an authority is never overwritten"):
        authority.Authority.create(
            founded.directory,
            "x",
            founder="x",
            identity=founded.directory,
            listen="",
            address="a:1",
            allowed={},
            valid_days=1,
        )


def test_who_was_invited_becomes_a_member(founded, join, calendar):
    berlin = Identity(join("berlin", weight=20, role=Role.OBSERVER).directory, calendar)
    paris = Identity(founded.directory.parent / "swarm-identity", calendar)
    assert berlin.member("berlin") == Member("berlin", 20, Role.OBSERVER, "10.0.0.2:7700")
    assert berlin.document == paris.document == founded.document
    assert paris.trust(berlin.certificate.pem).name == "berlin"
    assert berlin.trust(paris.certificate.pem).name == "paris"


def test_the_register_does_not_have_the_secret(founded):
    made = founded.invite("berlin", valid=DAY)
    stored = (founded.directory / "register.json").read_text()
    assert made.number in stored
    assert made.secret.hex() not in stored


def test_an_invitation_holds_once(founded):
    made = founded.invite("berlin", valid=DAY)
    founded.answer(asked(made))
    with pytest.raises(IdentityError, match=r"for berlin was used on 2027-01-01.*somebody else has: `swarm revoke"):
        founded.answer(asked(made))


def test_the_same_request_gets_the_same_certificate(founded, calendar):
    made = founded.invite("berlin", valid=DAY)
    request = asked(made)
    first = founded.answer(request)
    calendar.today += 3 * DAY
    again = authority.Authority(founded.directory, calendar).answer(request)
    assert again.reply == first.reply
    assert (first.repeated, again.repeated) == (False, True)
    assert len([each for each in founded.register.issued if each.name == "berlin"]) == 1


def test_an_invitation_expires(founded, calendar):
    made = founded.invite("berlin", valid=DAY)
    calendar.today += DAY
    with pytest.raises(IdentityError, match="for berlin has expired on 2027-01-02"):
        founded.answer(asked(made))
    assert founded.register.outstanding(calendar()) == []


def test_a_stranger_is_told_one_sentence(founded, tmp_path):
    made = founded.invite("berlin", valid=DAY)
    guess = replace(made, secret=bytes(16))
    half = replace(read_request(asked(made)), proof=bytes(32)).encoded()
    for request in (asked(guess), half):
        with pytest.raises(IdentityError, match=f"^{authority.UNKNOWN}$"):
            founded.answer(request)
    assert founded.register.outstanding(START)


@pytest.mark.parametrize("changes", [{"address": "10.9.9.9:1"}, {"name": "rome"}, {"request": b"x"}])
def test_a_request_that_was_changed_on_its_way_is_refused(founded, changes):
    made = founded.invite("berlin", valid=DAY)
    with pytest.raises(IdentityError, match=f"^{authority.UNKNOWN}$"):
        founded.answer(replace(read_request(asked(made)), **changes).encoded())


def test_an_invitation_is_for_its_name_only(founded):
    made = founded.invite("berlin", valid=DAY)
    with pytest.raises(IdentityError, match="the invitation is for berlin, not for rome"):
        founded.answer(asked(made, name="rome"))
    with pytest.raises(IdentityError, match="no request for a certificate"):
        founded.answer(asked(made, request=b"x"))
    assert founded.answer(asked(made)).name == "berlin"


def test_a_second_invitation_replaces_the_first(founded):
    first = founded.invite("berlin", valid=DAY)
    second = founded.invite("berlin", valid=DAY)
    with pytest.raises(IdentityError, match=authority.UNKNOWN):
        founded.answer(asked(first))
    assert founded.answer(asked(second)).name == "berlin"


def test_a_member_is_invited_again_only_on_purpose(founded, join, calendar):
    old = Identity(join("berlin").directory, calendar).certificate
    paris = Identity(founded.directory.parent / "swarm-identity", calendar)
    with pytest.raises(IdentityError, match=r"berlin is a member already.*--again"):
        founded.invite("berlin", valid=DAY)
    made = founded.invite("berlin", valid=DAY, again=True)
    paris.refresh()
    assert paris.trust(old.pem)  # until the invitation is used
    new = founded.answer(asked(made)).reply.certificate
    paris.refresh()
    assert paris.trust(new).name == "berlin"
    with pytest.raises(UntrustedPeerError, match="revoked"):
        paris.trust(old.pem)


def test_a_member_that_is_invited_again_has_the_weight_and_the_role_of_before(founded, join):
    join("berlin")
    founded.change("berlin", weight=7, role=Role.OBSERVER)
    founded.answer(asked(founded.invite("berlin", valid=DAY, again=True)))
    member = founded.document.member("berlin")
    assert (member.weight, member.role) == (7, Role.OBSERVER)
    founded.answer(asked(founded.invite("berlin", weight=9, valid=DAY, again=True)))
    member = founded.document.member("berlin")
    assert (member.weight, member.role) == (9, Role.OBSERVER)


def test_the_founder_is_neither_invited_nor_revoked(founded):
    with pytest.raises(IdentityError, match="founder.*`swarm renew` gives it another"):
        founded.invite("paris", valid=DAY, again=True)
    with pytest.raises(IdentityError, match=r"founder.*move .*/swarm-identity away: `swarm renew`"):
        founded.revoke("paris")


def test_a_founder_that_cannot_renew_is_told_what_works_for_it(founded, site, calendar):
    paris = site("paris")
    for _ in range(authority.MAX_VALID - 1):
        paris.accept(founded.answer(paris.renewal()).reply)
    asked = paris.renewal()
    with pytest.raises(IdentityError, match=r"16 valid certificates.* or move .*-identity away and type `swarm renew`"):
        founded.answer(asked)
    paris.directory.rename(paris.directory.with_name("old"))
    assert paris.found_again(founded).name == "paris"
    assert len(founded.document.revoked) == authority.MAX_VALID
    calendar.today += 366 * DAY
    with pytest.raises(IdentityError, match=r"paris has expired.* move .*-identity away and type `swarm renew`"):
        founded.answer(asked)


def test_a_revoked_member_is_out_with_all_its_certificates(founded, join, calendar):
    site = join("berlin")
    first = Identity(site.directory, calendar).certificate
    site.accept(founded.answer(site.renewal()).reply)
    second = Identity(site.directory, calendar).certificate
    assert founded.revoke("berlin") == 2
    paris = Identity(founded.directory.parent / "swarm-identity", calendar)
    for each in (first, second):
        with pytest.raises(UntrustedPeerError, match="berlin was revoked on 2027-01-01"):
            paris.trust(each.pem)
    assert founded.document.member("berlin") is None
    with pytest.raises(IdentityError, match="the certificate of berlin is revoked"):
        founded.answer(site.renewal())


def test_a_changed_member_has_the_same_address_and_certificate(founded, join, calendar):
    berlin = Identity(join("berlin").directory, calendar)
    before = founded.document
    changed = founded.change("berlin", weight=0)
    assert changed == replace(before.member("berlin"), weight=0) == founded.document.member("berlin")
    assert founded.document.version == before.version + 1
    assert founded.document.revoked == ()
    assert berlin.adopt(founded.register.document)
    assert berlin.member("berlin").weight == 0
    assert founded.change("berlin", weight=0, role=Role.TRAINER) == changed
    assert founded.document.version == before.version + 1


def test_revoking_withdraws_an_invitation(founded):
    made = founded.invite("berlin", valid=DAY)
    assert founded.revoke("berlin") == 0
    with pytest.raises(IdentityError, match=authority.UNKNOWN):
        founded.answer(asked(made))


def test_a_revoked_name_can_be_invited_anew(founded, join, site, calendar):
    old = join("berlin")
    founded.revoke("berlin")
    old.directory.rename(old.directory.with_name("old"))
    new = Identity(join("berlin").directory, calendar)
    paris = Identity(founded.directory.parent / "swarm-identity", calendar)
    assert paris.trust(new.certificate.pem).name == "berlin"
    with pytest.raises(UntrustedPeerError, match="revoked"):
        paris.trust(Certificate.read((old.directory.with_name("old") / files.IDENTITY).read_bytes()).pem)


def test_who_is_no_member_cannot_be_revoked(founded):
    with pytest.raises(IdentityError, match="'rome' is not a member of consortium heart; members are paris"):
        founded.revoke("rome")


def test_a_revocation_is_dropped_when_its_certificate_has_expired(founded, join, calendar):
    join("berlin")
    join("rome")
    founded.revoke("berlin")
    calendar.today += 366 * DAY
    assert founded.revoke("rome") == 0
    assert founded.document.revoked == ()


def test_a_revocation_holds_where_a_clock_is_behind(founded, join, calendar):
    join("berlin")
    founded.revoke("berlin")
    calendar.today += 365 * DAY + certificates.SKEW / 2
    founded.invite("oslo", valid=DAY)
    join("rome")
    assert [each.name for each in founded.document.revoked] == ["berlin"]


def test_an_authority_that_was_restored_from_a_backup_still_revokes(founded, join, calendar):
    berlin = join("berlin")
    backup = (founded.directory / register_files.REGISTER).read_bytes()
    for name in ("rome", "oslo"):
        join(name)
    newest = founded.document.version
    files.write(founded.directory / register_files.REGISTER, backup, files.PRIVATE)
    founded.revoke("berlin")
    assert founded.document.version == newest + 1
    assert Identity(berlin.directory, calendar).adopt(founded.register.document)


def test_a_member_renews_with_its_current_key(founded, join, calendar):
    berlin = join("berlin")
    before = Identity(berlin.directory, calendar)
    key = before.credentials.key
    calendar.today += 11 * MONTH
    berlin.accept(founded.answer(berlin.renewal("10.0.0.9:7700")).reply)
    assert before.refresh()
    assert before.certificate.not_after == calendar.today + 365 * DAY
    assert before.credentials.key != key
    assert before.member("berlin").address == "10.0.0.9:7700"
    assert mode(berlin.directory / files.IDENTITY) == 0o600
    assert not berlin.waiting_directory.exists()


def test_a_renewal_that_is_asked_for_twice_gets_one_certificate(founded, join):
    berlin = join("berlin")
    request = berlin.renewal()
    first = founded.answer(request)
    again = founded.answer(request)
    assert again.reply == first.reply
    assert again.repeated
    assert (
        founded.answer(berlin.renewal()).reply == first.reply
    )  # the site asks for the same key until it has an answer


def test_a_member_has_few_valid_certificates_so_that_it_can_be_revoked(founded, join, calendar):
    berlin = join("berlin")
    for _ in range(authority.MAX_VALID - 1):
        calendar.today += DAY
        berlin.accept(founded.answer(berlin.renewal()).reply)
    with pytest.raises(IdentityError, match="berlin has 16 valid certificates, which is the most: .* 2028-01-01"):
        founded.answer(berlin.renewal())
    calendar.today += 350 * DAY + certificates.SKEW
    berlin.accept(founded.answer(berlin.renewal()).reply)
    assert founded.revoke("berlin") == authority.MAX_VALID


def test_an_expired_certificate_does_not_renew_itself(founded, join, calendar):
    berlin = join("berlin")
    request = berlin.renewal()
    calendar.today += 366 * DAY
    with pytest.raises(IdentityError, match=r"berlin has expired on 2028-01-01.*`swarm invite berlin --again`"):
        founded.answer(request)
    with pytest.raises(IdentityError, match=r"has expired on 2028-01-01.*`swarm invite berlin --again`"):
        berlin.renewal()


def test_a_renewal_of_another_consortium_is_refused(founded, heart, site, calendar):
    rome = site("rome")
    files.make_directory(rome.directory.parent)
    heart.give("paris", heart.publish("paris")).rename(rome.directory)
    with pytest.raises(IdentityError, match=authority.NO_MEMBER):
        founded.answer(rome.renewal())


@pytest.mark.parametrize("changes", [{"proof": b"x"}, {"address": "10.9.9.9:1"}, {"certificate": b"x"}])
def test_a_renewal_that_was_changed_on_its_way_is_refused(founded, join, changes):
    berlin = join("berlin")
    with pytest.raises(IdentityError, match=authority.NO_MEMBER):
        founded.answer(renewed(berlin, **changes))


def test_nobody_renews_the_certificate_of_another(founded, join, calendar):
    berlin, rome = join("berlin"), join("rome")
    stolen = Identity(rome.directory, calendar).certificate.pem
    own = certificates.load_key((berlin.directory / files.IDENTITY).read_bytes())
    request = certificates.request(certificates.new_key(), "rome")
    with pytest.raises(IdentityError, match=authority.NO_MEMBER):
        founded.answer(Renewal.made(own, certificate=stolen, request=request, address="").encoded())


@contextmanager
def crash_before(name, monkeypatch):
    """A crash inside, before the file of this name is written."""
    write = files.write

    def crash(path, *rest):
        if path.name == name:
            raise KeyboardInterrupt
        write(path, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(files, "write", crash)
        with pytest.raises(KeyboardInterrupt):
            yield


def test_a_crash_leaves_the_state_before_or_after(founded, monkeypatch, calendar):
    made = founded.invite("berlin", valid=DAY)
    request = asked(made)
    with crash_before(register_files.REGISTER, monkeypatch):
        founded.answer(request)
    after = authority.Authority(founded.directory, calendar)
    assert after.document.member("berlin") is None
    assert after.register.outstanding(calendar())
    assert not after.answer(request).repeated


def test_a_crash_after_the_use_of_an_invitation_costs_nothing(founded, monkeypatch, calendar):
    made = founded.invite("berlin", valid=DAY)
    request = asked(made)
    with crash_before(files.CONSORTIUM, monkeypatch):
        founded.answer(request)
    after = authority.Authority(founded.directory, calendar)
    assert after.answer(request).repeated
    paris = Identity(founded.directory.parent / "swarm-identity", calendar)
    assert paris.document.member("berlin")


def test_the_register_forgets_what_ended_long_ago(founded, join, calendar):
    join("berlin")
    assert len(list((founded.directory / register_files.ISSUED).iterdir())) == 2
    calendar.today += 400 * DAY
    founded.invite("rome", valid=DAY)
    assert [each.name for each in founded.register.invited] == ["rome"]
    assert founded.register.issued == ()
    assert list((founded.directory / register_files.ISSUED).iterdir()) == []


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b'{"format": 2}', b"\xff"])
def test_a_damaged_register_is_refused(founded, data):
    files.write(founded.directory / register_files.REGISTER, data, 0o600)
    with pytest.raises(IdentityError, match="register cannot be read"):
        authority.Authority(founded.directory)


def test_a_register_with_a_document_of_another_is_refused(founded, heart):
    path = founded.directory / register_files.REGISTER
    content = json.loads(path.read_text()) | {"document": heart.publish("rome").decode()}
    files.write(path, json.dumps(content).encode(), 0o600)
    with pytest.raises(IdentityError, match="not signed by its authority"):
        authority.Authority(founded.directory)


def test_a_founders_identity_that_is_elsewhere_is_no_error(founded):
    directory = founded.directory.parent / "swarm-identity"
    directory.rename(directory.with_name("moved"))
    founded.answer(asked(founded.invite("berlin", valid=DAY)))
    assert not founded.hand_to_founder()
