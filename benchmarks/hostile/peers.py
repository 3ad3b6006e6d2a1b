"""The peers of one case: real sessions on threads of one process, over gRPC with mutual TLS on this machine."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.hostile.liar import LIAR, SESSION, Liar, LyingTransport, Values
from swarm.config import resolve
from swarm.plugins import PluginRegistry
from swarm.session import Session
from swarm.session.platform import Platform
from swarm.session.wiring import Network, transport_of
from swarm.testing.swarm import ArrayModel, Board, SwarmPeer
from swarm.transport.base import Transport

if TYPE_CHECKING:
    from swarm.config import Settings
    from swarm.records import Commit, RoundReport
    from swarm.tensors.state import Array, Schema

VALUES = 10_000
"""Of the model, in float32."""
STEP = 0.01
"""Standard deviation of what one batch adds to a value."""
BATCH_SECONDS = 0.01
FAILURE_TIMEOUT = 2.0
"""Seconds; not less than a peer is left out at first, as that time counts for the leader of a round."""
STRAGGLER_TIMEOUT = 0.3
"""Seconds."""
SETTINGS: Mapping[str, Any] = {
    "model_name": SESSION,
    "listen": "127.0.0.1:0",
    "sync_interval": 1,
    "node_weightage": 1,
    "failure_timeout": FAILURE_TIMEOUT,
    "straggler_timeout": STRAGGLER_TIMEOUT,
}
"""Of every peer. Time-outs are short, so that a case takes seconds."""


def honest_names(size: int) -> tuple[str, ...]:
    """Of the honest peers in a swarm of ``size``, the bad member included."""
    return tuple(f"site-{number}" for number in range(1, size))


@dataclass(frozen=True, slots=True)
class Sync:
    """One sync point of an honest peer."""

    peer: str
    began: float
    """Seconds of the monotonic clock, when it offered."""
    ended: float
    report: RoundReport
    commit: Commit
    """The last record that it has applied afterwards."""
    offered: Values
    """Its last capture."""
    merged: Values
    """Its weights afterwards."""
    digest: str
    """Of these."""


class Captured(ArrayModel):
    """A model that keeps what was captured of it."""

    captured: Values = np.zeros(0, np.float32)

    def borrow(self, schema: Schema) -> list[Array]:
        borrowed = super().borrow(schema)
        self.captured = borrowed[0].astype(np.float32)
        return borrowed


class Peer:
    """A peer that trains until it is told to stop: it adds noise to its weights and merges after each batch."""

    def __init__(
        self,
        name: str,
        size: int,
        identity: Path,
        board: dict[str, str],
        liar: Liar | None,
    ) -> None:
        """``liar`` is what makes it the bad member."""
        given = {**SETTINGS, "name": name, "world_size": size, "identity": str(identity)}
        resolved = resolve(given, environment={}, directory=Path("no swarm.toml here")).settings
        self.name = name
        self.syncs: list[Sync] = []
        self.errors: list[str] = []
        """What its training thread or one of its workers has raised."""
        self.over = False
        """Whether its session has ended, though it was not told to stop."""
        self.finish = threading.Event()
        """Set when its training is over."""
        self.final = ""
        """The digest of its weights after the end of its session; empty before."""
        self._liar = liar
        self._random = np.random.default_rng(sum(name.encode()))
        self._model = Captured({"w": np.zeros(VALUES, np.float32)})
        lines: list[str] = []
        logger = logging.Logger(name, logging.INFO)  # noqa: LOG001 - each peer's own
        logger.addHandler(_Lines(lines))

        def network(settings: Settings, plugins: PluginRegistry) -> Network:
            transport: Transport = transport_of(settings, plugins)
            if liar:
                transport = LyingTransport(transport, liar, board)
            return Network(transport, [Board(board, SESSION)])

        session = Session(
            resolved,
            self._model,
            logger=logger,
            plugins=PluginRegistry(resolved.disabled_plugins),
            network=network,
            platform=Platform(signer=lambda: liar.signer) if liar else None,
        )
        if liar:
            liar.session = session
        self._peer = SwarmPeer(name, self._model, session, lines)

    @property
    def lines(self) -> list[str]:
        """Its log, as ``LEVEL text``."""
        return self._peer.lines

    def train(self, stop: threading.Event) -> None:
        """Begin, and train until ``stop``; on a thread of its own."""
        try:
            self._peer.session.begin()
            while not stop.is_set():
                self._batch()
                if self.finish.is_set():
                    self._peer.session.end()
                    self.final = self._peer.digest()
                    return
                if self._peer.session.over:
                    self.over = not stop.is_set()
                    return
        except Exception as error:  # noqa: BLE001 - a crash of a peer is what is looked for
            if not stop.is_set():
                self.errors.append(f"{type(error).__name__}: {error}")

    def _batch(self) -> None:
        time.sleep(BATCH_SECONDS)
        weights: Values = self._peer.arrays["w"]  # type: ignore[assignment]
        weights += STEP * self._random.standard_normal(VALUES, np.float32)
        liar, session = self._liar, self._peer.session
        if liar and liar.lying.is_set() and session.reference is not None:
            liar.habit.trains(weights, session.reference.segments["float32"].astype(np.float32))
            if liar.habit.finishes:
                session.end()
                return
        began = time.monotonic()
        report = self._peer.advance()
        commit = session.commit
        if report is not None and commit is not None:
            ended, digest = time.monotonic(), self._peer.digest()
            self.syncs.append(
                Sync(self.name, began, ended, report, commit, self._model.captured, weights.copy(), digest)
            )


class _Lines(logging.Handler):
    def __init__(self, lines: list[str]) -> None:
        super().__init__()
        self._lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        text = f"{record.levelname} {record.getMessage()}"
        self._lines.append(f"{text}\n{self.format(record)}" if record.exc_info else text)


def make_peers(size: int, identities: Path, liar: Liar) -> Sequence[Peer]:
    """The peers of a swarm of ``size``, the bad member last; ``identities`` has a directory for each name."""
    board: dict[str, str] = {}
    names = (*honest_names(size), LIAR)
    return [Peer(name, size, identities / name, board, liar if name == LIAR else None) for name in names]
