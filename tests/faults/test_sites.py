"""Sites in networks of their own: enrolled by commands, and others that are not let in while they train."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest

from swarm.identity.authority import Authority
from tests.processes.conftest import PeerProcess

SWARM = (sys.executable, "-m", "swarm.cli")
MEMBERS = ("ada", "bob", "cyd")


class Sites:
    """The working directories of sites, each with a namespace."""

    def __init__(self, directory, networks, training) -> None:
        self.directory, self._networks, self._training = directory, networks, training
        self.started: list[PeerProcess] = []

    def run(self, site: str, *command: str, code: int = 0) -> str:
        """What a command of ``swarm`` prints at a site."""
        ended = subprocess.run(self._command(site, *command), capture_output=True, text=True, timeout=60, check=False)
        assert ended.returncode == code, ended.stdout + ended.stderr
        return ended.stdout + ended.stderr

    def start(self, site: str, *command: str) -> PeerProcess:
        """Start one that goes on."""
        self.started.append(PeerProcess(site, self._command(site, *command), {"PATH": "/usr/bin:/bin:/usr/sbin:/sbin"}))
        return self.started[-1]

    def address(self, site: str) -> str:
        """Where the peer of a site listens."""
        return self._networks.settings(site)["listen"].replace(":0", ":7700")

    def invite(self, site: str) -> tuple[PeerProcess, str]:
        """The command that waits at the founder, and the line to copy."""
        waiting = self.start("ada", "invite", site)
        waiting.said("^swarm1-")
        waiting.said("the enrolment is open")
        return waiting, re.findall(r"^swarm1-\S+$", waiting.text, re.MULTILINE)[0]

    def train(self, site: str, **settings: object) -> PeerProcess:
        """Start the peer of a site, by what is in its directory."""
        (self.directory / site).mkdir(parents=True, exist_ok=True)
        prefix = (*self._networks.settings(site)["prefix"], "env", "-C", str(self.directory / site))
        return self._training.peer(site, **{"rendezvous": None, "prefix": prefix, "start_timeout": 8, **settings})

    def end(self) -> None:
        for process in self.started:
            process.end()

    def _command(self, site: str, *command: str) -> list[str]:
        (self.directory / site).mkdir(parents=True, exist_ok=True)
        prefix = self._networks.settings(site)["prefix"]
        return [*prefix, "env", "-C", str(self.directory / site), *SWARM, *command]


@pytest.fixture
def sites(tmp_path, networks, training):
    made = Sites(tmp_path / "sites", networks, training)
    yield made
    made.end()


def enrol(sites) -> str:
    """Three sites, by the commands of the README; a line that was used."""
    sites.run("ada", "init", "heart", "--name", "ada", "--listen", sites.address("ada"))
    for site in MEMBERS[1:]:
        waiting, line = sites.invite(site)
        sites.run(site, "join", line)
        waiting.said(f"{site} has joined from 10.84.0.")
        assert waiting.wait() == 0
    return line


@pytest.mark.parametrize("networks", [((*MEMBERS, "dan"),)], indirect=True)
def test_sites_train_from_nothing_and_strangers_do_not_disturb_them(sites, training) -> None:
    used = enrol(sites)
    peers = {site: sites.train(site, world_size=len(MEMBERS)) for site in MEMBERS}
    for peer in peers.values():
        peer.said(r"^ROUND \d+ merged ada bob cyd")
    _refused_without_an_invitation(sites)
    _refused_with_a_used_invitation(sites, used)
    _refused_with_an_expired_invitation(sites)
    _refused_with_a_revoked_certificate(sites, peers["bob"])
    _refused_with_another_consortium(sites, peers["ada"])
    _refused_under_another_name(sites)
    _all_rounds_had(peers.values(), "ada bob cyd")
    training.finish()
    training.one_model(*peers.values())


@pytest.mark.parametrize("networks", [(MEMBERS,)], indirect=True)
def test_renewals_and_a_revocation_cost_the_others_no_round(sites, training) -> None:
    enrol(sites)
    peers = {site: sites.train(site, world_size=len(MEMBERS)) for site in MEMBERS}
    for peer in peers.values():
        peer.said(r"^ROUND \d+ merged ada bob cyd")
    serving = sites.start("ada", "invite")
    serving.said("the enrolment is open")
    for site in ("ada", "bob"):
        sites.run(site, "renew")
        at = peers[site].said(f"the certificate of {site} is renewed")
        for peer in peers.values():
            _merges_again(peer, "ada bob cyd", after=at)
    _all_rounds_had(peers.values(), "ada bob cyd")
    sites.run("ada", "revoke", "cyd")
    for site in ("ada", "bob"):
        at = peers[site].said("a certificate of cyd was revoked")
        _merges_again(peers[site], "ada bob", after=at)
    peers["cyd"].said("does not admit this peer: the certificate of cyd was revoked")
    training.finish("ada")
    training.finish("bob")
    training.one_model(peers["ada"], peers["bob"])
    for site in ("ada", "bob"):
        rounds = [int(number) for number in re.findall(r"^ROUND (\d+) merged", peers[site].text, re.MULTILINE)]
        assert rounds == list(range(rounds[0], rounds[-1] + 1))


def _refused_without_an_invitation(sites) -> None:
    place = {"listen": sites.address("dan"), "peers": sites.address("ada")}
    sites.train("dan", **place).said("this peer has no identity to encrypt them with: get one")
    stranger = sites.train("dan", insecure=True, **place)
    stranger.said(r"StartTimeoutError.*no answer from 10\.84\.0\.1:7700 \(the peer at .* speaks TLS only")


def _refused_with_a_used_invitation(sites, used) -> None:
    serving = sites.start("ada", "invite")
    serving.said("the enrolment is open")
    assert "the invitation for cyd was used on" in sites.run("dan", "join", used, code=2)
    serving.said(r"10\.84\.0\.4 got nothing: the invitation for cyd was used")
    serving.end()


def _refused_with_an_expired_invitation(sites) -> None:
    def expired(hours_ago: float) -> str:
        hour = timedelta(hours=1)
        made = datetime.now(UTC) - (1 + hours_ago) * hour
        return Authority(sites.directory / "ada" / "swarm-consortium", lambda: made).invite("dan", valid=hour).text()

    assert "the invitation for dan has expired on" in sites.run("dan", "join", expired(2), code=2)
    # Clocks may differ by less than an hour, so that it is the founder who knows.
    line = expired(0.5)
    serving = sites.start("ada", "invite")
    serving.said("the enrolment is open.*invited: nobody")
    said = sites.run("dan", "join", line, code=2)
    assert "the authority refuses: the invitation for dan has expired on" in said
    serving.said(r"10\.84\.0\.4 got nothing: the invitation for dan has expired on")
    serving.end()


def _refused_with_a_revoked_certificate(sites, bob) -> None:
    waiting, line = sites.invite("dan")
    sites.run("dan", "join", line)
    assert waiting.wait() == 0
    sites.run("ada", "revoke", "dan")
    revoked = "the certificate of dan was revoked on "
    stranger = sites.train("dan")
    stranger.said(rf"10\.84\.0\.2:7700 does not admit this peer: {revoked}")
    stranger.said(r"StartTimeoutError.*no answer from")
    bob.said(rf"a call from 10\.84\.0\.4 is refused: {revoked}")
    shutil.rmtree(sites.directory / "dan")


def _refused_with_another_consortium(sites, ada) -> None:
    sites.run("dan", "init", "lungs", "--name", "dan", "--listen", sites.address("dan"))
    stranger = sites.train("dan", peers=sites.address("ada"))
    stranger.said(r"StartTimeoutError.*no answer from .* is not of this peer's consortium")
    ada.said(r"10\.84\.0\.4 ")


def _refused_under_another_name(sites) -> None:
    (own,) = (sites.directory / "dan").glob("swarm-identity")
    shutil.rmtree(own)
    shutil.copytree(sites.directory / "cyd" / "swarm-identity", own)
    sites.train("dan").said("name='dan' .* contradicts the certificate .* which is for 'cyd'")


def _merges_again(peer, group, *, after) -> None:
    peer.said(f"^ROUND \\d+ merged {group}$", after=peer.said(f"^ROUND \\d+ merged {group}$", after=after) + 1e-6)


def _all_rounds_had(peers, group) -> None:
    for peer in peers:
        merged = re.findall(r"^ROUND (\d+) merged (.*)$", peer.text, re.MULTILINE)
        numbers = [int(number) for number, names in merged if names == group]
        assert numbers == list(range(numbers[0], int(merged[-1][0]) + 1))
