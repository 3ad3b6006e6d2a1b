"""What running peers say of themselves."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from swarm.errors import SwarmError

FetchStatus = Callable[[str, float], Mapping[str, Any]]
"""Asks the peer at an address, within a timeout in seconds; raises ``UnreachablePeerError``."""

ANSWER_SECONDS = 3.0
"""How long a peer may take to answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerView:
    """How one peer stands, as far as it said so."""

    name: str
    address: str = ""
    session: str = ""
    status: str = ""
    round: int = 0
    """Rounds committed."""
    interval: int = 0
    """Batches between merges."""
    loss: float | None = None
    bytes_sent: int = 0
    bytes_received: int = 0
    peers: tuple[PeerView, ...] = field(default=())
    """The other peers it knows of: their name, address and status."""


def parse(answer: Mapping[str, Any]) -> PeerView:
    """The view in a peer's answer; what it does not say keeps its default."""
    loss = answer.get("loss")
    return PeerView(
        name=str(answer.get("name", "?")),
        address=str(answer.get("address", "")),
        session=str(answer.get("session", "")),
        status=str(answer.get("status", "")),
        round=int(answer.get("round") or 0),
        interval=int(answer.get("interval") or 0),
        loss=None if loss is None else float(loss),
        bytes_sent=int(answer.get("bytes_sent") or 0),
        bytes_received=int(answer.get("bytes_received") or 0),
        peers=tuple(
            PeerView(
                name=str(peer.get("name", "?")),
                address=str(peer.get("address", "")),
                status=str(peer.get("state", "")),
            )
            for peer in answer.get("peers", ())
        ),
    )


def published(rendezvous: Path) -> dict[str, str]:
    """Address by name of the local peers that published theirs in a rendezvous directory."""
    addresses = {}
    for path in sorted(rendezvous.glob("*.json")):
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
            addresses[str(record["name"])] = str(record["address"])
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return addresses


def fetch_over_grpc(address: str, timeout: float) -> Mapping[str, Any]:
    """Ask over gRPC, which is loaded only now."""
    from swarm.transport.grpc import fetch_status

    return fetch_status(address, timeout)


class StatusBoard:
    """Keeps the last known view of each local peer, asking in a thread of its own."""

    def __init__(self, rendezvous: Path, fetch: FetchStatus = fetch_over_grpc, every: float = 1.0) -> None:
        self._rendezvous = rendezvous
        self._fetch = fetch
        self._every = every
        self._views: dict[str, PeerView] = {}
        self._ended: set[str] = set()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="swarm-status", daemon=True)

    def start(self) -> None:
        """Begin to ask."""
        self._thread.start()

    def stop(self) -> None:
        """Ask no more."""
        self._stopped.set()

    def view(self, name: str) -> PeerView | None:
        """What the peer last said, ``None`` before its first answer."""
        return self._views.get(name)

    def ended(self, name: str) -> None:
        """Keep what this peer said last and ask it no more."""
        self._ended.add(name)

    def refresh(self) -> None:
        """Ask every published peer that has not ended once."""
        for name, address in published(self._rendezvous).items():
            if self._stopped.is_set():
                return
            if name in self._ended:
                continue
            try:
                self._views[name] = parse(self._fetch(address, ANSWER_SECONDS))
            except SwarmError:
                continue

    def _run(self) -> None:
        while not self._stopped.wait(self._every):
            self.refresh()
