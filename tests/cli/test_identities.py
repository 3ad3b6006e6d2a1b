"""The commands that found a consortium, and let sites join, renew and leave it."""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
import subprocess
import sys
import threading
import tomllib
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from swarm.addresses import Address
from swarm.cli import invite, join
from swarm.cli.app import app
from swarm.errors import UntrustedPeerError
from swarm.identity import Identity, certificates
from swarm.identity.authority import Authority
from swarm.identity.invitation import Invitation
from swarm.identity.server import EnrolmentServer


@pytest.fixture
def at(tmp_path, user_environment, monkeypatch):
    """Runs a command in the directory of a site."""
    for name in os.environ.keys() - user_environment.keys():
        monkeypatch.delenv(name)

    def run(site, *arguments, expect=0, **options):
        place = tmp_path / site
        place.mkdir(exist_ok=True)
        monkeypatch.chdir(place)
        shown = CliRunner().invoke(app, arguments, **options)
        assert shown.exit_code == expect, shown.stderr
        assert shown.exception is None or isinstance(shown.exception, SystemExit)
        assert "PRIVATE" not in shown.output
        return shown

    return run


@pytest.fixture
def heart(at):
    """Paris has founded the consortium."""
    return at("paris", "init", "heart", "--name", "paris", "--listen", "10.0.0.1:7700")


@pytest.fixture
def berlin(at, heart, tmp_path):
    """Berlin has joined, by files."""
    invitation = at("paris", "invite", "berlin", "--no-wait").stdout
    at("berlin", "join", "-", "--request", "r", "--listen", "10.0.0.2:7700", input=invitation)
    at("paris", "sign", "../berlin/r")
    return at("berlin", "join", "--reply", "r.reply")


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def settings(path):
    return tomllib.loads((path / "swarm.toml").read_text())["swarm"]


def test_a_consortium_is_founded_with_one_command(heart, tmp_path):
    paris = tmp_path / "paris"
    assert mode(paris / "swarm-consortium") == mode(paris / "swarm-identity") == 0o700
    assert Identity(paris / "swarm-identity").name == "paris"
    assert settings(paris) == {"listen": "10.0.0.1:7700"}
    assert heart.stdout == ""
    assert "consortium heart is founded; paris is its first member, at 10.0.0.1:7700" in heart.stderr
    assert heart.stderr.count("SECRET") == 2


def test_a_second_consortium_in_its_place_is_refused(heart, at, tmp_path):
    before = (tmp_path / "paris/swarm-identity/identity.pem").read_bytes()
    shown = at("paris", "init", "--name", "paris", "--listen", "10.0.0.1:7700", expect=2)
    assert "swarm-consortium is there already: an authority is never overwritten" in shown.stderr
    (tmp_path / "paris/swarm-consortium").rename(tmp_path / "away")
    shown = at("paris", "init", "--name", "paris", "--listen", "10.0.0.1:7700", expect=2)
    assert "swarm-identity is there already" in shown.stderr
    assert (tmp_path / "paris/swarm-identity/identity.pem").read_bytes() == before
    assert not (tmp_path / "paris/swarm-consortium").exists()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--name", "paris", "--advertise", "paris.example:443"), "it is not known where others reach the peer"),
        (("--name", "paris"), "it is not known where others reach the peer of this site"),
        (("--name", "paris", "--listen", "0.0.0.0:7700"), "it is not known where others reach the peer"),
        (("--name", "paris", "--listen", "10.0.0.1:0"), "a fixed port"),
        (("--name", "Paris", "--listen", "10.0.0.1:7700"), "'Paris' cannot be the name of a member"),
        (("--name", "paris", "--listen", "nowhere"), "listen='nowhere' is not allowed"),
        (("--name", "p", "--listen", "a:1", "--allow", "x"), "--allow 'x' is not SETTING=VALUE"),
        (("--name", "p", "--listen", "a:1", "--allow", "merge_methd=mean"), "did you mean 'merge_method'?"),
        (("--name", "p", "--listen", "a:1", "--allow", "min_peers=none"), "allowed is an integer of at least 1"),
        (("--name", "p", "--listen", "a:1", "--allow", "share=head.*"), "share cannot be restricted"),
        (("--name", "p", "--listen", "a:1", "--allow", "insecure=true"), "insecure cannot be restricted"),
        (("--name", "p", "--listen", "a:1", *("--allow", "codec=exact") * 2), "gives codec twice"),
    ],
)
def test_what_cannot_be_founded(at, tmp_path, arguments, sentence):
    assert sentence in at("paris", "init", *arguments, expect=2).stderr
    assert list((tmp_path / "paris").iterdir()) == []


def test_the_policy_is_part_of_the_document(at, tmp_path):
    allow = ("--allow", "merge_method=Mean,coordmedian", "--allow", "min_peers=2", "--allow", "overlap=no")
    at("paris", "init", "--name", "paris", "--listen", "10.0.0.1:7700", *allow)
    document = json.loads(at("paris", "members", "--json").stdout)
    assert document["allowed"] == {"merge_method": ["mean", "coordmedian"], "min_peers": [2], "overlap": [False]}


def test_an_address_behind_another_is_what_others_are_told(at, tmp_path):
    place = ("--listen", "0.0.0.0:7700", "--advertise", "paris.example:443")
    at("paris", "init", "--name", "paris", *place)
    document = json.loads(at("paris", "members", "--json").stdout)
    assert document["members"][0]["address"] == "paris.example:443"
    assert settings(tmp_path / "paris") == {"listen": "0.0.0.0:7700", "advertise": "paris.example:443"}
    invitation = Invitation.parse(at("paris", "invite", "berlin", "--no-wait").stdout)
    assert invitation.addresses == ("paris.example:7701",)


def test_an_invitation_is_one_line_and_said_to_be_secret(heart, at):
    shown = at("paris", "invite", "berlin", "--no-wait", "--weight", "20", "--role", "observer")
    (line,) = shown.stdout.splitlines()
    assert Invitation.parse(line).addresses == ("10.0.0.1:7701",)
    assert "SECRET: the next line makes whoever has it the member berlin, once" in shown.stderr
    assert line not in shown.stderr


@pytest.mark.parametrize(
    ("options", "address"),
    [
        (("--listen", "10.0.0.7:80"), "10.0.0.7:80"),
        (("--listen", "0.0.0.0:80"), "10.0.0.1:80"),
        (("--advertise", "paris.example"), "paris.example:7701"),
        (("--listen", "0.0.0.0:80", "--advertise", "paris.example:443"), "paris.example:443"),
    ],
)
def test_an_invitation_leads_to_where_the_enrolment_is(heart, at, options, address):
    line = at("paris", "invite", "berlin", "--no-wait", *options).stdout
    assert Invitation.parse(line).addresses == (address,)


def test_an_enrolment_at_no_address_is_refused(heart, at):
    shown = at("paris", "invite", "berlin", "--listen", "nowhere", expect=2)
    assert "listen='nowhere' is not allowed" in shown.stderr
    assert shown.stdout == ""
    assert "does nothing without the NAME" in at("paris", "invite", "--no-wait", expect=2).stderr


@pytest.mark.parametrize("expires", ["", "1", "0h", "31d", "1w", "-1h", "721h"])
def test_an_invitation_does_not_last_for_ever(heart, at, expires):
    assert "allowed is such as 30m, 24h or 7d" in at("paris", "invite", "b", "--expires", expires, expect=2).stderr


def test_only_the_founder_invites(berlin, at):
    for command in (("invite", "rome"), ("sign", "r"), ("revoke", "paris")):
        assert "works where the consortium was founded" in at("berlin", *command, expect=2).stderr


def test_a_site_joins_by_files(berlin, at, tmp_path):
    assert "berlin is a member of consortium heart: trainer, weight at most 100" in berlin.stderr
    assert "the other members: paris at 10.0.0.1:7700" in berlin.stderr
    assert settings(tmp_path / "berlin") == {"listen": "10.0.0.2:7700"}
    here = at("berlin", "members").stdout
    assert re.search(r"berlin +trainer +100 +10\.0\.0\.2:7700 +20", here)
    assert re.search(r"paris +trainer +100 +10\.0\.0\.1:7700 +-", here)
    assert re.search(r"paris +trainer +100 +10\.0\.0\.1:7700 +20", at("paris", "members").stdout)


def test_request_and_reply_hold_no_secret(heart, at, tmp_path):
    invitation = at("paris", "invite", "berlin", "--no-wait").stdout
    at("berlin", "join", "-", "--request", "r", "--listen", "10.0.0.2:7700", input=invitation)
    at("paris", "sign", "../berlin/r")
    secret = Invitation.parse(invitation).secret.hex()
    for name in ("r", "r.reply"):
        text = (tmp_path / "berlin" / name).read_text()
        assert "PRIVATE" not in text
        assert secret not in text


@pytest.mark.parametrize(("file", "command"), [("r", "sign"), ("r.reply", "join")])
def test_a_file_that_was_changed_is_refused(heart, at, tmp_path, file, command):
    invitation = at("paris", "invite", "berlin", "--no-wait").stdout
    at("berlin", "join", "-", "--request", "r", "--listen", "10.0.0.2:7700", input=invitation)
    if command == "join":
        at("paris", "sign", "../berlin/r")
    path = tmp_path / "berlin" / file
    path.write_text(path.read_text().replace("10.0.0", "10.9.9"))
    arguments = ("paris", "sign", "../berlin/r") if command == "sign" else ("berlin", "join", "--reply", "r.reply")
    assert re.search("not valid here|was not signed by its authority", at(*arguments, expect=2).stderr)
    assert not (tmp_path / "berlin/swarm-identity").exists()


def test_an_invitation_in_a_file_is_read_and_in_an_argument_warned_of(heart, at, tmp_path):
    invitation = at("paris", "invite", "berlin", "--no-wait").stdout
    (tmp_path / "berlin").mkdir()
    (tmp_path / "berlin/invitation").write_text(invitation)
    place = ("--request", "r", "--listen", "10.0.0.2:7700")
    assert "other users" not in at("berlin", "join", "invitation", *place).stderr
    warned = at("berlin", "join", invitation.strip(), *place).stderr
    assert "other users of this machine can see an invitation among the arguments" in warned
    assert invitation.strip() not in warned


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((), "swarm join needs one of"),
        (("swarm1-x", "--reply", "r"), "swarm join needs one of"),
        (("swarm1-x",), "the invitation is damaged"),
        (("hello",), "this is no invitation"),
        (("--reply", "none"), "none cannot be read"),
        (("--make-request", "r"), "needs the --name of this site"),
        (("--certificate", "c"), "--certificate needs --authority"),
    ],
)
def test_what_cannot_be_joined(at, tmp_path, arguments, sentence):
    assert sentence in at("berlin", "join", *arguments, expect=2).stderr
    assert list((tmp_path / "berlin").iterdir()) == []


def test_an_identity_that_is_there_stays(berlin, heart, at, tmp_path):
    before = (tmp_path / "berlin/swarm-identity/identity.pem").read_bytes()
    invitation = at("paris", "invite", "rome", "--no-wait").stdout
    assert "is there already" in at("berlin", "join", "-", input=invitation, expect=2).stderr
    assert (tmp_path / "berlin/swarm-identity/identity.pem").read_bytes() == before


def test_a_swarm_toml_that_is_there_is_not_changed(heart, at, tmp_path):
    invitation = at("paris", "invite", "berlin", "--no-wait").stdout
    (tmp_path / "berlin").mkdir()
    text = '# ours\n[swarm]\nlisten = "10.0.0.7:7700"\n'
    (tmp_path / "berlin/swarm.toml").write_text(text)
    shown = at("berlin", "join", "-", "--request", "r", input=invitation).stderr
    assert "swarm.toml" not in shown
    assert '"address":"10.0.0.7:7700"' in (tmp_path / "berlin/r").read_text()
    shown = at("berlin", "join", "-", "--request", "r", "--listen", "10.0.0.8:7700", input=invitation).stderr
    assert 'swarm.toml is there already: put these lines into its table [swarm]\n  listen = "10.0.0.8:7700"' in shown
    assert (tmp_path / "berlin/swarm.toml").read_text() == text


@pytest.mark.parametrize("name", ["Berlin", "berlin_1", "berlin-", "a..b", "a b", "bérlin", "", "b" * 64])
def test_a_name_that_tls_could_not_check_is_not_invited(heart, at, name):
    shown = at("paris", "invite", name, "--no-wait", expect=2).stderr
    assert f"{name!r} cannot be the name of a member: allowed is 1 to 63 lower-case letters, digits" in shown


def test_a_member_is_given_another_weight_and_role(berlin, at, tmp_path):
    paris = Identity(tmp_path / "paris/swarm-identity")
    shown = at("paris", "members", "berlin", "--weight", "20").stderr
    assert "berlin is trainer, weight at most 20" in shown
    assert "the peer of paris hands version 4 of the document to the others" in shown
    assert paris.refresh()
    assert (paris.member("berlin").weight, paris.member("berlin").role) == (20, "trainer")
    assert "berlin is observer, weight at most 20" in at("paris", "members", "berlin", "--role", "observer").stderr
    assert re.search(r"berlin +observer +20 +10\.0\.0\.2:7700", at("paris", "members").stdout)
    at("paris", "members", "--export", "document")
    at("berlin", "members", "--import", "../paris/document")
    assert Identity(tmp_path / "berlin/swarm-identity").member("berlin").role == "observer"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("berlin",), "give its NAME and --weight, --role or both, and nothing else"),
        (("--weight", "20"), "give its NAME"),
        (("berlin", "--role", "observer", "--json"), "and nothing else"),
        (("rome", "--weight", "20"), "'rome' is not a member of consortium heart; members are berlin, paris"),
        (("paris", "--role", "observer"), "paris is the founder, whose peer hands the document on"),
        (("berlin", "--weight", "101"), "Invalid value for '--weight'"),
    ],
)
def test_what_cannot_be_changed(berlin, at, arguments, sentence):
    shown = at("paris", "members", *arguments, expect=2).stderr
    assert sentence in re.sub(r"[│\s]+", " ", shown)
    assert "version 3" in at("paris", "members").stdout


def test_a_member_is_changed_where_the_consortium_was_founded(berlin, at):
    shown = at("berlin", "members", "paris", "--weight", "1", expect=2).stderr
    assert "there is no swarm-consortium here" in shown


def test_a_revoked_member_is_shown_as_such_at_every_site(berlin, at, tmp_path):
    shown = at("paris", "revoke", "berlin").stderr
    assert "berlin is revoked, with 1 certificate" in shown
    assert "the peer of paris hands version 4 of the document to the others" in shown
    assert Identity(tmp_path / "paris/swarm-identity").document.member("berlin") is None
    at("paris", "members", "--export", "document")
    assert "version 4 of the document is used" in at("berlin", "members", "--import", "../paris/document").stderr
    assert "as before" in at("berlin", "members", "--import", "../paris/document").stderr
    table = at("berlin", "members").stdout
    assert re.search(r"berlin +revoked +- +- +revoked 20", table)
    record = json.loads(at("berlin", "members", "--json").stdout)
    assert [each["name"] for each in record["members"]] == ["paris"]
    assert [each["name"] for each in record["revoked"]] == ["berlin"]


def test_revoking_without_the_founders_identity_says_what_to_do(berlin, at, tmp_path):
    (tmp_path / "paris/swarm-identity").rename(tmp_path / "elsewhere")
    assert "no peer hands the change on" in at("paris", "revoke", "berlin").stderr


def test_the_founder_renews_by_itself(heart, at, tmp_path):
    identity = Identity(tmp_path / "paris/swarm-identity")
    before = identity.certificate
    assert "the certificate of paris is renewed" in at("paris", "renew", "--listen", "10.0.0.9:7700").stderr
    assert identity.refresh()
    assert identity.certificate != before
    assert identity.member("paris").address == "10.0.0.9:7700"


def test_the_founder_replaces_an_identity_that_has_expired_or_is_lost(heart, at, tmp_path):
    directory = tmp_path / "paris/swarm-identity"
    of, key, long_ago = Authority(tmp_path / "paris/swarm-consortium"), certificates.new_key(), timedelta(days=400)
    request = certificates.request(key, "paris")
    signing = certificates.load_key((of.directory / "authority.key").read_bytes())
    made = datetime.now(UTC) - long_ago
    expired = certificates.issue(request, "paris", key=signing, issuer=of.pem, now=made, valid=long_ago / 2)
    (directory / "identity.pem").write_bytes(certificates.key_pem(key) + expired)
    assert "type `swarm renew` where its swarm-consortium is" in at("paris", "renew", "--request", "r", expect=2).stderr
    assert "swarm-identity: a new identity of paris, SECRET" in at("paris", "renew").stderr
    first = Identity(directory).certificate

    shutil.rmtree(directory)
    lost = at("paris", "init", "heart", "--name", "paris", "--listen", "10.0.0.1:7700", expect=2).stderr
    assert "if the identity of the founder is lost, `swarm renew` makes another" in lost
    shown = at("paris", "renew", "--listen", "10.0.0.9:7700").stderr
    assert "earlier certificates of paris count no more" in shown
    assert "the peer of paris hands version 4 of the document to the others" in shown
    second = Identity(directory)
    assert second.certificate != first
    assert second.member("paris").address == "10.0.0.9:7700"
    with pytest.raises(UntrustedPeerError, match="revoked"):
        second.trust(first.pem)


def test_a_member_renews_by_files(berlin, at, tmp_path):
    identity = Identity(tmp_path / "berlin/swarm-identity")
    before = identity.certificate
    at("berlin", "renew", "--request", "again")
    shown = at("paris", "sign", "../berlin/again")
    assert "there: swarm renew --reply again.reply" in shown.stderr
    at("berlin", "renew", "--reply", "again.reply")
    assert identity.refresh()
    assert identity.certificate != before
    assert mode(tmp_path / "berlin/swarm-identity/identity.pem") == 0o600


def test_members_without_a_consortium(at):
    assert "neither swarm-consortium nor swarm-identity" in at("rome", "members", expect=2).stderr


def openssl(place, *arguments):
    subprocess.run(["openssl", *arguments], cwd=place, check=True, capture_output=True, timeout=30)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs the command openssl")
def test_another_infrastructure_signs_with_openssl(at, tmp_path):
    pki = tmp_path / "pki"
    pki.mkdir()
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    openssl(
        pki, "req", "-x509", *curve, "-keyout", "ca.key", "-out", "ca.pem", "-days", "3650", "-subj", "/CN=hospital"
    )
    at("berlin", "join", "--make-request", "berlin.csr", "--name", "berlin")
    request, out = str(tmp_path / "berlin/berlin.csr"), str(tmp_path / "berlin/berlin.pem")
    signing = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "365", "-copy_extensions", "copy")
    openssl(pki, "x509", "-req", "-in", request, "-out", out, *signing)
    shown = at("berlin", "join", "--certificate", "berlin.pem", "--authority", "../pki/ca.pem").stderr
    assert "the identity of berlin, SECRET" in shown
    own = Identity(tmp_path / "berlin/swarm-identity")
    assert (own.name, own.document) == ("berlin", None)
    assert certificates.ANY_PEER in certificates.dns_names(certificates.load(own.certificate.pem))
    assert "another public-key infrastructure" in at("berlin", "members", expect=2).stderr
    assert "renew it there" in at("berlin", "renew", expect=2).stderr


def test_a_site_joins_and_renews_over_the_network(heart, tmp_path, user_environment):
    """The commands as processes, one for each side."""

    def command(site, *arguments):
        place = tmp_path / site
        place.mkdir(exist_ok=True)
        return {"args": [sys.executable, "-m", "swarm.cli", *arguments], "cwd": place, "env": user_environment}

    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(**command("paris", "invite", "berlin", "--listen", "127.0.0.1:0"), **pipes) as inviting:
        line = inviting.stdout.readline()
        joining = subprocess.run(
            **command("berlin", "join", "-"), input=line, capture_output=True, text=True, timeout=60, check=False
        )
        assert joining.returncode == 0, joining.stderr
        rest, told = inviting.communicate(timeout=60)
    assert inviting.returncode == 0
    assert rest == ""
    assert "berlin has joined from 127.0.0.1" in told
    place = settings(tmp_path / "berlin")["listen"]
    assert place.startswith("127.0.0.1:")
    assert int(place.rpartition(":")[2]) in join.PORTS_BESIDE
    assert f"others reach it at {place}" in joining.stderr
    assert "this is the founder's machine, whose own peer may listen on port 7700" in joining.stderr

    with subprocess.Popen(**command("paris", "invite", "--listen", "127.0.0.1:0"), **pipes) as answering:
        address = re.search(r"open at (\S+);", answering.stderr.readline())[1]
        again = subprocess.run(
            **command("berlin", "join", "-", "--identity", "other"),
            input=line,
            capture_output=True,
            text=True,
            check=False,
        )
        renewing = subprocess.run(
            **command("berlin", "renew", "--at", address), capture_output=True, text=True, timeout=60, check=False
        )
        answering.send_signal(2)
        _, told = answering.communicate(timeout=60)
    assert again.returncode == 2  # the first enrolment is closed
    assert "nobody answers at" in again.stderr
    assert renewing.returncode == 0, renewing.stderr
    assert "berlin has renewed its certificate from 127.0.0.1" in told
    assert "the enrolment is closed" in told


@pytest.mark.parametrize(
    ("enrolment", "own_host", "same"),
    [
        ("127.0.0.1:7701", "127.0.0.1", True),
        ("localhost:7701", "127.0.0.1", True),
        ("[::1]:7701", "::1", True),
        ("10.0.0.1:7701", "10.0.0.2", False),
        ("nowhere.invalid:7701", "10.0.0.2", False),
    ],
)
def test_peers_on_the_founders_machine_get_ports_of_their_own(enrolment, own_host, same):
    expires = datetime.now(UTC) + timedelta(days=1)
    ports = [
        join._port(Invitation.new(name, expires, bytes(32), ["203.0.113.9:7701", enrolment]), own_host)
        for name in ("berlin", "rome", "berlin")
    ]
    assert ports[0] == ports[2]
    assert len({*ports, 7700, 7701}) == (4 if same else 2)


def test_an_invitation_that_expires_unused_is_an_error(heart, at, monkeypatch):
    monkeypatch.setattr(invite, "_is_over", lambda of, made: True)
    shown = at("paris", "invite", "berlin", "--listen", "127.0.0.1:0", expect=2)
    assert "the invitation for berlin was not used: it has expired" in shown.stderr
    assert Path("swarm-consortium/register.json").exists()


def test_a_second_enrolment_leaves_the_address_to_the_first(heart, at, tmp_path):
    here = tmp_path / "paris/swarm-consortium"
    told = []
    first = EnrolmentServer(
        Authority(here), Address("127.0.0.1", 0), joined=lambda answer, _: told.append(answer), refused=lambda *_: None
    )
    address = first.address
    register = here / "register.json"
    register.write_text(register.read_text().replace("10.0.0.1:7701", address))
    thread = threading.Thread(target=first.serve)
    thread.start()
    try:
        shown = at("paris", "invite", "berlin")
        at("berlin", "join", "-", input=shown.stdout)
    finally:
        first.close()
        thread.join(30)
    assert f"another `swarm invite` answers at {address}; this command ends" in shown.stderr
    assert [each.name for each in told] == ["berlin"]
