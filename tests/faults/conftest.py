"""Real peers that train until they are told to stop, and networks of their own that can be cut in two."""

from __future__ import annotations

import importlib.util
import os
import re
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.processes.conftest import PeerProcess, Start


def _fixtures_of(room: str) -> ModuleType:
    """Of a neighbour; pytest itself only looks upwards."""
    path = Path(__file__).parents[1] / room / "conftest.py"
    spec = importlib.util.spec_from_file_location(f"fixtures_of_{room}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


_processes = _fixtures_of("processes")
start, port = _processes.start, _processes.port

PEER = Path(__file__).with_name("peer.py")
USUAL = {"failure_timeout": 2, "straggler_timeout": 0.5}


class Training:
    """Starts peers, tells them when to stop, and looks at what they ended with."""

    def __init__(self, start: Start, stop: Path) -> None:
        self._start = start
        self._stop = stop
        stop.mkdir()

    def peer(self, name: str, *arguments: object, **settings: object) -> PeerProcess:
        """Start one; ``settings`` as for the fixture ``start``."""
        return self._start(name, "--stop", self._stop, *arguments, **{"program": PEER, **USUAL, **settings})

    def peers(self, names: Sequence[str], *arguments: object, **settings: object) -> dict[str, PeerProcess]:
        """Start several that expect one another."""
        return {name: self.peer(name, *arguments, **{"world_size": len(names), **settings}) for name in names}

    def finish(self, name: str = "everyone") -> None:
        """Let a peer, or all, come to the end of its training."""
        (self._stop / name).touch()

    def again(self) -> None:
        """Let those who are started from now on train."""
        for mark in self._stop.iterdir():
            mark.unlink()

    @staticmethod
    def one_model(*peers: PeerProcess) -> Mapping[str, float]:
        """All end well, with the same model; how many steps of each peer are in it."""
        assert len({peer.digest for peer in peers}) == 1
        assert [peer.wait() for peer in peers] == [0] * len(peers), "\n".join(peer.text for peer in peers)
        told = re.findall(r"(\w+)=([\d.]+)", re.findall(r"^MERGED (.*)$", peers[0].text, re.MULTILINE)[0])
        return {name: float(steps) for name, steps in told}

    @staticmethod
    def steps(peer: PeerProcess) -> int:
        """Batches that it trained."""
        peer.said("^ENDING")
        return int(re.findall(r"^ENDING (\d+)$", peer.text, re.MULTILINE)[0])


@pytest.fixture
def training(start: Start, tmp_path: Path) -> Training:
    return Training(start, tmp_path / "stop")


class Networks:
    """A namespace for each peer, on one of two bridges that one link connects."""

    def __init__(self, *sides: Sequence[str]) -> None:
        self._run = f"swarm-{secrets.token_hex(3)}"
        self._sides = sides
        self._made: list[str] = []

    def settings(self, name: str) -> dict[str, object]:
        """What the fixture ``start`` needs to start this peer there."""
        prefix = ("ip", "netns", "exec", f"{self._run}-{name}")
        return {"prefix": prefix, "listen": f"{self.address(name)}:0", "insecure": True}

    def cut(self) -> None:
        """Cut the two sides off from each other: what is sent is lost, and nobody is told."""
        self._run_in("middle", "ip link set link0 down")

    def restore(self) -> None:
        """Let them reach each other again."""
        self._run_in("middle", "ip link set link0 up")

    def shut(self, name: str) -> None:
        """Let nobody connect to this peer any more: what asks for that is lost, and nobody is told."""
        require_root("a packet filter", "nft")
        for rule in (
            "add table inet firewall",
            "add chain inet firewall incoming { type filter hook input priority 0 ; }",
            'add rule inet firewall incoming iifname "uplink" tcp flags & (syn|ack) == syn drop',
        ):
            self._run_in(name, f"nft {rule}")

    def isolate(self, name: str, others: Sequence[str]) -> None:
        """Let nothing pass between this peer and the others, in either direction."""
        require_root("a packet filter", "nft")
        rules = ["add table inet isolation"]
        for hook, side in (("input", "saddr"), ("output", "daddr")):
            rules.append(f"add chain inet isolation {hook} {{ type filter hook {hook} priority 0 ; }}")
            rules += [f"add rule inet isolation {hook} ip {side} {self.address(other)} drop" for other in others]
        for rule in rules:
            self._run_in(name, f"nft {rule}")

    def address(self, name: str) -> str:
        """Of this peer."""
        return f"10.84.0.{[peer for side in self._sides for peer in side].index(name) + 1}"

    def make(self) -> None:
        """Make all of it."""
        self._namespace("middle")
        self._run_in("middle", "ip link add link0 type veth peer name link1")
        number = 0
        for side, names in enumerate(self._sides):
            self._run_in("middle", f"ip link add bridge{side} type bridge")
            self._run_in("middle", f"ip link set link{side} master bridge{side}")
            self._run_in("middle", f"ip link set link{side} up")
            self._run_in("middle", f"ip link set bridge{side} up")
            for name in names:
                number += 1
                self._namespace(name)
                self._run_in("middle", f"ip link add to-{name} type veth peer name uplink netns {self._run}-{name}")
                self._run_in("middle", f"ip link set to-{name} master bridge{side} up")
                self._run_in(name, f"ip address add 10.84.0.{number}/24 dev uplink")
                self._run_in(name, "ip link set uplink up")

    def remove(self) -> None:
        """Links go with the namespaces that they are in."""
        while self._made:
            subprocess.run(["ip", "netns", "delete", self._made.pop()], check=False, timeout=10)

    def _namespace(self, name: str) -> None:
        subprocess.run(["ip", "netns", "add", f"{self._run}-{name}"], check=True, timeout=10)
        self._made.append(f"{self._run}-{name}")
        self._run_in(name, "ip link set lo up")

    def _run_in(self, name: str, command: str) -> None:
        subprocess.run(["ip", "netns", "exec", f"{self._run}-{name}", *command.split()], check=True, timeout=10)


@pytest.fixture
def networks(request: pytest.FixtureRequest, start: Start) -> Iterator[Networks]:
    """Takes the two sides as its parameter. Its peers end before it does."""
    require_root("network namespaces", "ip")
    made = Networks(*request.param)
    try:
        made.make()
        yield made
    finally:
        made.remove()


@pytest.fixture
def tiny_disk(tmp_path: Path, start: Start) -> Iterator[Path]:
    """A file system of 64 KiB."""
    require_root("a file system of its own", "mount", "umount")
    place = tmp_path / "disk"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(place)], check=True, timeout=10)
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True, timeout=10)


def require_root(purpose: str, *commands: str) -> None:
    """Skip where the machine does not allow the test."""
    missing = [command for command in commands if shutil.which(command) is None]
    if missing or os.geteuid() != 0:
        pytest.skip(f"{purpose} need{'' if purpose[0] == 'a' else 's'} root and {', '.join(commands)}")
