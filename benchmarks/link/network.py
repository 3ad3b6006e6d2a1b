"""Peers' network namespaces, each with one capped link to a bridge (Linux, root)."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
from collections.abc import Sequence
from types import TracebackType
from typing import Self

QUEUE = "50ms"
"""The longest that a packet waits for its link; what comes beyond is dropped, as a router does."""
LEAST_BURST = 16 * 1024
BURST_SECONDS = 0.002
"""What a link may send at once after a pause, in seconds of its rate."""
LINK = "uplink"
"""A peer's interface, in its namespace."""


class NetworkError(Exception):
    """Namespaces or links could not be made."""


class CappedNetwork:
    """A bridge in a namespace of its own, and one namespace a peer. Leaving it removes all of it."""

    def __init__(self, peers: int, mbit: float) -> None:
        """Nothing is made before it is entered."""
        self._run = secrets.token_hex(3)
        self._hub = f"swarm-{self._run}-hub"
        self._names = tuple(f"swarm-{self._run}-{rank}" for rank in range(peers))
        self._mbit = mbit
        self._made: list[str] = []

    def prefix(self, rank: int) -> Sequence[str]:
        """The words that start a command where this peer is."""
        return ("ip", "netns", "exec", self._names[rank])

    @staticmethod
    def address(rank: int) -> str:
        """Of this peer."""
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
                self._cap(namespace, interface)
                self._in(namespace, f"ip link set {interface} up")

    def _cap(self, namespace: str, interface: str) -> None:
        """What leaves by this interface keeps to the rate, packet by packet, so that counters see every header."""
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
        """Links go with the namespaces that they are in. One that cannot be removed keeps none of the others."""
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
    """Say what is missing.

    Raises:
        NetworkError: this process may not make namespaces, or the commands are not there.
    """
    missing = [command for command in ("ip", "tc") if shutil.which(command) is None]
    if missing:
        raise NetworkError(f"{' and '.join(missing)} not found: install iproute2")
    if os.geteuid() != 0:
        raise NetworkError("network namespaces and capped links need root: run it with sudo, or in a container")


def _run(command: str) -> None:
    """In a session of its own, so that Ctrl-C at the terminal stops no removal."""
    done = subprocess.run(  # noqa: S603
        command.split(), capture_output=True, text=True, check=False, start_new_session=True
    )
    if done.returncode:
        raise NetworkError(f"{command}: {done.stderr.strip()}")
