"""Network namespaces for peers, each with one link of limited rate to a bridge (Linux, root)."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
from collections.abc import Sequence
from types import TracebackType
from typing import Self

QUEUE = "50ms"
"""The longest time that a packet waits for its link. Packets that would wait longer are dropped, as by a router."""
LEAST_BURST = 16 * 1024
BURST_SECONDS = 0.002
"""How much a link may send at once after a pause, in seconds at its rate."""
LINK = "uplink"
"""A peer's interface, in its namespace."""


class NetworkError(RuntimeError):
    """Namespaces or links could not be made or removed."""


class LimitedNetwork:
    """A bridge in its own namespace, and one namespace for each peer. Leaving it as a context manager removes all."""

    def __init__(self, peers: int, mbit: float) -> None:
        """Make nothing yet: entering the context manager does."""
        self._run = secrets.token_hex(3)
        self._hub = f"swarm-{self._run}-hub"
        self._names = tuple(f"swarm-{self._run}-{rank}" for rank in range(peers))
        self._mbit = mbit
        self._made: list[str] = []

    def prefix(self, rank: int) -> Sequence[str]:
        """The words with which a command starts in the namespace of this peer."""
        return ("ip", "netns", "exec", self._names[rank])

    @staticmethod
    def address(rank: int) -> str:
        """The IP address of this peer."""
        return f"10.83.{rank // 250}.{rank % 250 + 1}"

    def __enter__(self) -> Self:
        try:
            self._make()
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._remove()

    def _make(self) -> None:
        self._namespace(self._hub)
        self._in(self._hub, "ip link add hub type bridge")
        self._in(self._hub, "ip link set hub up")
        for rank, name in enumerate(self._names):
            self._namespace(name)
            _run(f"ip -n {self._hub} link add to-{rank} type veth peer name {LINK} netns {name}")
            self._in(self._hub, f"ip link set to-{rank} master hub")
            self._in(name, f"ip address add {self.address(rank)}/16 dev {LINK}")
            for namespace, interface in ((self._hub, f"to-{rank}"), (name, LINK)):
                self._limit(namespace, interface)
                self._in(namespace, f"ip link set {interface} up")

    def _limit(self, namespace: str, interface: str) -> None:
        """Limit the rate of what this interface sends, packet by packet, so that the counters include every header."""
        burst = max(int(self._mbit * 1e6 / 8 * BURST_SECONDS), LEAST_BURST)
        self._in(namespace, f"ip link set {interface} gso_max_segs 1")
        self._in(
            namespace, f"tc qdisc add dev {interface} root tbf rate {self._mbit}mbit burst {burst} latency {QUEUE}"
        )

    def _namespace(self, name: str) -> None:
        _run(f"ip netns add {name}")
        self._made.append(name)
        self._in(name, "ip link set lo up")

    def _remove(self) -> None:
        """Remove all namespaces, and so the links in them, even if one of them cannot be removed."""
        failed = []
        while self._made:
            try:
                _run(f"ip netns delete {self._made.pop()}")
            except NetworkError as error:
                failed.append(str(error))
        if failed:
            raise NetworkError("; ".join(failed))

    @staticmethod
    def _in(namespace: str, command: str) -> None:
        _run(f"ip netns exec {namespace} {command}")


def require_root() -> None:
    """Check that namespaces and links can be made.

    Raises:
        NetworkError: this process may not make namespaces, or the commands are not there.
    """
    missing = [command for command in ("ip", "tc") if shutil.which(command) is None]
    if missing:
        raise NetworkError(f"{' and '.join(missing)} not found: install iproute2")
    if os.geteuid() != 0:
        raise NetworkError("network namespaces and links of limited rate need root: use sudo, or a container")


def _run(command: str) -> None:
    """Run it in a session of its own, so that Ctrl-C at the terminal does not stop a removal."""
    done = subprocess.run(command.split(), capture_output=True, text=True, check=False, start_new_session=True)
    if done.returncode:
        raise NetworkError(f"{command}: {done.stderr.strip()}")
