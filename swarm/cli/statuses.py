"""The status of running local peers."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

from swarm.cli.answers import PeerView, parse, sessions
from swarm.clock import Clock, MonotonicClock
from swarm.discovery.directory import announcements
from swarm.errors import SwarmError
from swarm.proxy import Proxies

FetchStatus = Callable[[str, float], Mapping[str, Any]]
"""Queries the peer at an address, with a timeout in seconds; raises ``UnreachablePeerError``."""

ANSWER_SECONDS = 3.0
"""Timeout of a query."""
LEFT = "left the swarm"
"""The status of a peer that has withdrawn its address while its script continues."""
_PATIENCE = 1.0
"""Timeout of a repeated query, in seconds."""


def published(rendezvous: Path) -> dict[str, str]:
    """Address by name of the local peers that published theirs in a rendezvous directory."""
    return {found.name: found.address for found in announcements(rendezvous)}


def fetch_over_grpc(
    address: str, timeout: float, identity: Path | None = None, proxies: Proxies | None = None
) -> Mapping[str, Any]:
    """Query over gRPC, which is imported here, on first use; with the ``identity`` in a directory, over TLS."""
    from swarm.identity import identity_at
    from swarm.transport.grpc import fetch_status

    return fetch_status(address, timeout, identity_at(identity) if identity else None, proxies)


class StatusBoard:
    """Keeps the last known view of each local peer. Queries run on separate threads."""

    def __init__(
        self,
        rendezvous: Path,
        fetch: FetchStatus = fetch_over_grpc,
        *,
        every: float = 0.5,
        clock: Clock | None = None,
    ) -> None:
        """Queries begin with ``start``.

        Args:
            rendezvous: directory in which the peers publish their addresses.
            fetch: asks one.
            every: seconds of rest before all are asked again.
            clock: tells how long a peer has been silent.
        """
        self._rendezvous = rendezvous
        self._fetch = fetch
        self._every = every
        self._clock = clock or MonotonicClock()
        self._views: dict[str, PeerView] = {}
        self._heard: dict[str, float] = {}
        self._ended: set[str] = set()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="swarm-status", daemon=True)

    def start(self) -> None:
        """Start the queries."""
        self._thread.start()

    def stop(self) -> None:
        """Stop the queries."""
        self._stopped.set()

    def view(self, name: str) -> PeerView | None:
        """The last answer of the peer about its first session, ``None`` before; an ended peer has no time left."""
        view = self._views.get(name)
        return replace(view, seconds_left=None) if view and name in self._ended else view

    def silent_for(self, name: str) -> float:
        """Seconds since the peer last answered; 0 before its first answer, and once it has left the swarm."""
        now = self._clock.now()
        return now - self._heard.get(name, now)

    def ended(self, name: str) -> None:
        """Keep the last answer of this peer and stop querying it."""
        self._ended.add(name)

    def refresh(self) -> None:
        """Query every published peer that has not ended once, all at the same time."""
        addresses = published(self._rendezvous)
        for name in self._heard.keys() - addresses.keys():
            self._views[name] = replace(self._views[name], status=LEFT, seconds_left=None)
            del self._heard[name]
        with ThreadPoolExecutor(max_workers=8) as pool:
            for name, address in addresses.items():
                if name not in self._ended and not self._stopped.is_set():
                    pool.submit(self._ask, name, address)

    def _ask(self, name: str, address: str) -> None:
        with contextlib.suppress(SwarmError):
            self._views[name] = parse(sessions(self._fetch(address, _PATIENCE))[0])
            self._heard[name] = self._clock.now()

    def _run(self) -> None:
        while not self._stopped.wait(self._every):
            self.refresh()
