"""Network namespaces for peers, each with one link of limited rate to a bridge (Linux, root)."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.nats.server import nats_server

QUEUE = "50ms"
"""The longest time that a packet waits for its link. Packets that would wait longer are dropped, as by a router."""
LEAST_BURST = 16 * 1024
OFFLOADED = 200.0
"""Mbit/s, above which the system may send many packets as one."""
BURST_SECONDS = 0.002
"""How much a link may send at once after a pause, in seconds at its rate."""
PROXY = Path(__file__).parents[2] / "tests" / "transport" / "connect_proxy.py"
PROXY_PORT = 3128
LINK = "uplink"
"""A peer's interface, in its namespace."""


class NetworkError(RuntimeError):
    """Namespaces or links could not be made or removed."""


HUB = "10.83.255.254"
"""The IP address of the bridge, whose own link to the peers is not limited."""


@dataclass(frozen=True, slots=True)
class Namespaces:
    """The names of the network namespaces of a run."""

    peers: Sequence[str]
    """By rank."""
    hub: str
    """With the bridge."""


@contextmanager
def limited_network(peers: int, mbit: float) -> Iterator[Namespaces]:
    """Make a bridge and the peers' links to it, each limited to ``mbit`` Mbit/s each way; remove all at the end.

    Raises:
        NetworkError: a namespace or a link could not be made, or not be removed; all others are removed.
    """
    run = secrets.token_hex(3)
    hub, names = f"swarm-{run}-hub", [f"swarm-{run}-{rank}" for rank in range(peers)]
    with ExitStack() as made:
        for namespace in (hub, *names):
            _run(f"ip netns add {namespace}")
            made.callback(_run, f"ip netns delete {namespace}")  # removes its links too
            _in(namespace, "ip link set lo up")
        _in(hub, "ip link add hub type bridge")
        _in(hub, f"ip address add {HUB}/16 dev hub")
        _in(hub, "ip link set hub up")
        for rank, name in enumerate(names):
            _run(f"ip -n {hub} link add to-{rank} type veth peer name {LINK} netns {name}")
            _in(hub, f"ip link set to-{rank} master hub")
            _in(name, f"ip address add {address(rank)}/16 dev {LINK}")
            for namespace, interface in ((hub, f"to-{rank}"), (name, LINK)):
                _limit(namespace, interface, mbit)
                _in(namespace, f"ip link set {interface} up")
        yield Namespaces(names, hub)


def shut(namespace: str) -> None:
    """Let nobody connect to this peer: what asks for that is dropped without an answer.

    Raises:
        NetworkError: the kernel has no packet filter, or the command is not there.
    """
    require_root("nft")
    for rule in (
        "add table inet firewall",
        "add chain inet firewall incoming { type filter hook input priority 0 ; }",
        f"add rule inet firewall incoming iifname {LINK} tcp flags & (syn|ack) == syn drop",
    ):
        _in(namespace, f"nft {rule}")


@contextmanager
def proxy_in(namespaces: Namespaces) -> Iterator[str]:
    """Run an HTTP proxy in the hub while the context lasts; its URL.

    Raises:
        NetworkError: it does not start.
    """
    command = [*prefix(namespaces.hub), sys.executable, str(PROXY), HUB, str(PROXY_PORT)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as proxy:
        try:
            if proxy.stdout is None or not proxy.stdout.readline().startswith("LISTENING"):
                raise NetworkError("the proxy does not start")
            threading.Thread(target=proxy.stdout.read, daemon=True).start()  # it says where it connects to
            yield f"http://{HUB}:{PROXY_PORT}"
        finally:
            proxy.kill()


@contextmanager
def nats_in(namespaces: Namespaces) -> Iterator[str]:
    """Run a NATS server in the hub while the context lasts; its URL.

    Raises:
        RuntimeError: there is none, or it does not start.
    """
    with (
        tempfile.TemporaryDirectory(prefix="swarm-benchmark-") as directory,
        nats_server(Path(directory) / "hub", HUB, prefix(namespaces.hub)) as url,
    ):
        yield url


def prefix(namespace: str) -> Sequence[str]:
    """The words with which a command starts in a namespace."""
    return ("ip", "netns", "exec", namespace)


def address(rank: int) -> str:
    """The IP address of a peer."""
    return f"10.83.{rank // 250}.{rank % 250 + 1}"


def _limit(namespace: str, interface: str, mbit: float) -> None:
    """Limit the rate of what this interface sends.

    Slow links do so packet by packet, so that the counters include every header. On a faster one that would cost the
    processors more than the link takes; there packets are sent many at a time, as network cards do.
    """
    burst = max(int(mbit * 1e6 / 8 * BURST_SECONDS), LEAST_BURST)
    if mbit <= OFFLOADED:
        _in(namespace, f"ip link set {interface} gso_max_segs 1")
    _in(namespace, f"tc qdisc add dev {interface} root tbf rate {mbit}mbit burst {burst} latency {QUEUE}")


def _in(namespace: str, command: str) -> None:
    _run(f"ip netns exec {namespace} {command}")


def require_root(*commands: str) -> None:
    """Check that namespaces and links can be made, and that ``commands`` are there.

    Raises:
        NetworkError: this process may not make namespaces, or the commands are not there.
    """
    packages = {"ip": "iproute2", "tc": "iproute2", "nft": "nftables"}
    missing = [command for command in ("ip", "tc", *commands) if shutil.which(command) is None]
    if missing:
        needed = dict.fromkeys(packages[command] for command in missing)
        raise NetworkError(f"{' and '.join(missing)} not found: install {' and '.join(needed)}")
    if os.geteuid() != 0:
        raise NetworkError("network namespaces and links of limited rate need root: use sudo, or a container")


def _run(command: str) -> None:
    """Run it in a session of its own, so that Ctrl-C at the terminal does not stop a removal."""
    done = subprocess.run(command.split(), capture_output=True, text=True, check=False, start_new_session=True)
    if done.returncode:
        raise NetworkError(f"{command}: {done.stderr.strip()}")
