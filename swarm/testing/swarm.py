"""A whole swarm in one process: real sessions in threads, an in-memory network, models of NumPy arrays.

::

    swarm = MemorySwarm(sync_interval=8, world_size=3)
    peers = [swarm.peer(f"peer-{rank}", {"w": np.full(10, float(rank))}) for rank in range(3)]

    def step(peer: SwarmPeer) -> None:
        peer.arrays["w"] += 0.1

    together(*(partial(peer.train, 20, step) for peer in peers))
    assert len({peer.digest() for peer in peers}) == 1
"""

from __future__ import annotations

import faulthandler
import logging
import queue
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from swarm.config import resolve
from swarm.discovery.base import Discovery
from swarm.peer.states import AT_A_SYNC_POINT
from swarm.plugins import PluginRegistry
from swarm.session import Session
from swarm.session.platform import Platform
from swarm.session.wiring import Network
from swarm.tensors.model import ModelPort
from swarm.tensors.selection import Candidate, Normalization, Selection
from swarm.tensors.state import ModelState, Schema, TensorKind, TensorSpec
from swarm.transport.memory import MemoryNetwork, MemoryTransport

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from swarm.records import RoundReport
    from swarm.tensors.model import Evaluator, LearningRate
    from swarm.tensors.state import Array
    from swarm.tensors.training import TrainingState

_EVERYTHING = Selection()
_STATISTICS = (TensorKind.MEAN, TensorKind.VARIANCE, TensorKind.COUNTER)
DEADLINE = 60.0
"""Seconds until sessions that do not come to an end count as hung."""
AFTER_AN_ERROR = 5.0
"""Seconds for the other sessions to end after one has failed."""


class ArrayModel(ModelPort):
    """Named NumPy arrays as a model; training changes them in place."""

    def __init__(
        self,
        arrays: Mapping[str, Array],
        kinds: Mapping[str, TensorKind] | None = None,
        selection: Selection = _EVERYTHING,
    ) -> None:
        """Tensors that ``kinds`` does not name are weights; those that ``selection`` leaves out stay as they are."""
        self.arrays = {name: np.array(array) for name, array in arrays.items()}
        self._kinds = dict(kinds or {})
        self._selection = selection

    def schema(self) -> Schema:
        specs = tuple(
            TensorSpec(
                name, array.shape, array.dtype.name, kind, kept=kind in _STATISTICS and self._selection.keeps(kind)
            )
            for name, array in self.arrays.items()
            for kind in [self._kinds.get(name, TensorKind.WEIGHT)]
        )
        self._selection.check([Candidate((spec.name,), spec.kind) for spec in specs])
        return Schema(tuple(spec for spec in specs if self._selection.takes(spec.name)))

    def read(self, into: ModelState) -> None:
        for spec, array in into.arrays():
            array[...] = self.arrays[spec.name]

    def borrow(self, schema: Schema) -> list[Array]:
        return [np.ascontiguousarray(self.arrays[spec.name]) for spec in schema.tensors]

    def write(self, state: ModelState) -> None:
        for spec, array in state.arrays():
            self.arrays[spec.name][...] = array


class SwarmPeer:
    """One peer: its session, its model, its log and its reports."""

    def __init__(self, name: str, model: ArrayModel, session: Session, lines: list[str]) -> None:
        self.name = name
        self.model = model
        self.session = session
        self.lines = lines
        """What the session logged, as ``LEVEL text``."""
        self.reports: list[RoundReport] = []
        """What ``advance`` returned at each sync point."""

    @property
    def live(self) -> frozenset[str]:
        """Names of the other peers that this one can reach."""
        return frozenset(peer["name"] for peer in self.session.status()["peers"] if peer["state"] == "live")

    @property
    def merging(self) -> bool:
        """Whether the peer has offered its weights to a round that is not over."""
        return self.session.status()["status"] in AT_A_SYNC_POINT

    @property
    def arrays(self) -> dict[str, Array]:
        """The model's tensors, to be changed in place."""
        return self.model.arrays

    def advance(self, batches: int = 1, *, at_boundary: bool = True, loss: float | None = None) -> RoundReport | None:
        """``Session.advance``, which also keeps the report."""
        report = self.session.advance(batches, at_boundary=at_boundary, loss=loss)
        if report is not None:
            self.reports.append(report)
        return report

    def train(self, batches: int, step: Callable[[SwarmPeer], None]) -> None:
        """A whole run: begin, ``step`` and count as many batches, end."""
        self.session.begin()
        self.go_on(batches, step)
        self.session.end()

    def go_on(self, batches: int, step: Callable[[SwarmPeer], None]) -> None:
        """Train for as many batches."""
        for _ in range(batches):
            step(self)
            self.advance()

    def digest(self) -> str:
        """Digest of the model as it stands."""
        state = ModelState.empty(self.model.schema())
        self.model.read(state)
        return state.digest()


class MemorySwarm:
    """Peers that find each other through a shared board and communicate in memory."""

    def __init__(self, **settings: Any) -> None:
        """``settings`` apply to every peer; those of :meth:`peer` override them."""
        self.network = MemoryNetwork()
        """Cuts links, drops messages and kills peers."""
        self.addresses: dict[str, str] = {}
        """Of the peers that have begun, by ``<session>/<name>``."""
        self._settings = settings

    def peer(
        self,
        name: str,
        arrays: Mapping[str, Array],
        *,
        kinds: Mapping[str, TensorKind] | None = None,
        evaluate: Evaluator | None = None,
        learning_rate: LearningRate | None = None,
        training: TrainingState | None = None,
        plugins: Mapping[str, object] | None = None,
        named: bool = True,
        platform: Platform | None = None,
        **settings: Any,
    ) -> SwarmPeer:
        """A peer that has not begun.

        Args:
            name: unique in its session.
            arrays: its initial weights, copied.
            kinds: of the tensors that are not weights.
            evaluate: validates the merged model.
            learning_rate: of the training.
            training: its state besides the weights.
            plugins: more plugins, by name.
            named: whether the name was given; otherwise it is treated as the host's name.
            platform: threads, disk and signals of the peer; those of this process by default.
            settings: of this peer, by name of setting.
        """
        given = {"listen": "127.0.0.1:0", **self._settings, **settings, "name": name}
        resolved = replace(resolve(given, environment={}, directory=Path("no swarm.toml here")).settings, named=named)
        board = Board(self.addresses, resolved.model_name)
        lines: list[str] = []
        selection = Selection(resolved.share, resolved.local, Normalization(resolved.normalization))
        model = ArrayModel(arrays, kinds, selection)
        session = Session(
            resolved,
            model,
            evaluate=evaluate,
            learning_rate=learning_rate,
            training=training,
            logger=_logger(name, lines),
            plugins=PluginRegistry(resolved.disabled_plugins, extra=plugins),
            network=lambda _settings, _plugins: Network(MemoryTransport(self.network), [board]),
            platform=platform,
        )
        return SwarmPeer(name, model, session, lines)

    def kill(self, peer: SwarmPeer, session: str = "swarm_model") -> None:
        """Take a peer off the network as SIGKILL would; its thread continues without a network."""
        self.network.kill(self.addresses[f"{session}/{peer.name}"])


class Board(Discovery):
    """Addresses of the peers of one process."""

    def __init__(self, addresses: dict[str, str], session: str) -> None:
        self._addresses = addresses
        self._session = session
        self._own = ""

    def announce(self, name: str, address: str, incarnation: str) -> None:
        self._addresses[f"{self._session}/{name}"] = self._own = address

    def discover(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(address for address in tuple(self._addresses.values()) if address != self._own))

    def withdraw(self) -> None:
        for key, address in tuple(self._addresses.items()):
            if address == self._own:
                self._addresses.pop(key, None)


def together(*programs: Callable[[], object], deadline: float = DEADLINE) -> list[Any]:
    """Run each program in a thread of its own and return their results.

    Raises:
        Exception: what a program raised, the first one to do so, once the others have ended or had ``AFTER_AN_ERROR``
            seconds: a program that is still running could disturb the next ones.
        TimeoutError: after ``deadline`` seconds some have not ended; where all threads stand is on the standard error.
    """
    ends: queue.SimpleQueue[tuple[int, object, BaseException | None]] = queue.SimpleQueue()

    def run(number: int, program: Callable[[], object]) -> None:
        try:
            ends.put((number, program(), None))
        except BaseException as error:  # noqa: BLE001 - raised again below
            ends.put((number, None, error))

    for number, program in enumerate(programs):
        threading.Thread(target=run, args=(number, program), name=f"peer-{number}", daemon=True).start()
    results: dict[int, object] = {}
    first: BaseException | None = None
    until = time.monotonic() + deadline
    while len(results) < len(programs):
        try:
            number, result, error = ends.get(timeout=max(until - time.monotonic(), 0.0))
        except queue.Empty:
            if first is not None:
                break
            hung = sorted(set(range(len(programs))) - results.keys())
            faulthandler.dump_traceback(2)  # to the standard error: sys.stderr may be no file
            raise TimeoutError(f"programs {hung} have not ended after {deadline:g} s") from None
        results[number] = result
        if error is not None and first is None:
            first, until = error, min(until, time.monotonic() + AFTER_AN_ERROR)
    if first is not None:
        raise first
    return [results[number] for number in range(len(programs))]


def _logger(name: str, lines: list[str]) -> logging.Logger:
    logger = logging.Logger(name, logging.DEBUG)  # noqa: LOG001 - each peer's own, outside the process's hierarchy
    logger.addHandler(_Lines(lines))
    return logger


class _Lines(logging.Handler):
    def __init__(self, lines: list[str]) -> None:
        super().__init__()
        self._lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        self._lines.append(f"{record.levelname} {record.getMessage()}")
