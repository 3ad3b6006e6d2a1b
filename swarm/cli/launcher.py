"""Runs several local peers until all have ended, and shows their output. A failed peer does not stop the others."""

from __future__ import annotations

import contextlib
import selectors
import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from swarm.cli.display import Display, PeerRow
from swarm.cli.process import PeerProcess, PeerSpec, Stream, Watchdog
from swarm.cli.statuses import StatusBoard
from swarm.storage.session_records import DIRECTORY, SessionRecord, read_records

_TICK = 0.1
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerEnd:
    """How a peer ended."""

    name: str
    code: int
    """As reported by the operating system: negative for a signal."""
    stopped: bool = False
    """Whether it ended because the launcher was interrupted."""

    @property
    def failed(self) -> bool:
        """Whether it ended badly, and by itself."""
        return self.code != 0 and not self.stopped

    @property
    def exit_code(self) -> int:
        """The exit code in a shell: 128 plus the number of the signal."""
        return 128 - self.code if self.code < 0 else self.code

    def __str__(self) -> str:
        """How it ended, as the end of a sentence."""
        if self.code < 0:
            return f"{self.name} was ended by {signal_name(-self.code)}"
        return f"{self.name} ended with exit code {self.code}"


def signal_name(number: int) -> str:
    """The name of a signal, or its number if it has none."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


class Launcher:
    """Starts the peers, and runs until the last of them has ended."""

    def __init__(
        self, specs: Sequence[PeerSpec], board: StatusBoard, display: Display, kill_after: float = 10.0
    ) -> None:
        self._specs = specs
        self._board = board
        self._display = display
        self._kill_after = kill_after
        self._peers: list[PeerProcess] = []
        self._ends: list[PeerEnd] = []
        self.interrupted_by: int | None = None
        """The signal that ended the peers early, if one did."""
        self.records: Sequence[SessionRecord] = ()
        """How the sessions of the peers ended, once all peers have."""
        self._signals_caught = 0
        self._selector = selectors.DefaultSelector()

    def run(self, rendezvous: Path) -> int:
        """Run all peers, and return the exit code for a shell.

        It is 0 where every peer ended with 0, 128 and the number of the signal where the launcher was interrupted, and
        otherwise the code of the first peer that failed.
        """
        with contextlib.ExitStack() as stack:
            stack.callback(self._selector.close)
            (rendezvous / DIRECTORY).mkdir(exist_ok=True)
            guard = Watchdog(rendezvous, self._kill_after)
            stack.callback(guard.close)
            stack.enter_context(self._signals())
            stack.callback(self._abandon)
            for spec in self._specs:
                self._start(spec, guard)
            self._board.start()
            stack.callback(self._board.stop)
            while not all(peer.gone for peer in self._peers):
                self._pump(_TICK)
                self._check()
                with self._output():
                    self._display.update(self.rows())
            self.records = read_records(rendezvous)
        return self._exit_code()

    @property
    def ends(self) -> Sequence[PeerEnd]:
        """How peers ended, in the order of their ends."""
        return tuple(self._ends)

    def rows(self) -> list[PeerRow]:
        """The displayed row of each peer."""
        ends = {end.name: end for end in self._ends}
        rows = []
        for spec in self._specs:
            end = ends.get(spec.name)
            rows.append(
                PeerRow(
                    name=spec.name,
                    rank=spec.rank,
                    ended=end is not None,
                    problem="stopped" if end and end.stopped else str(end.exit_code) if end and end.failed else "",
                    view=self._board.view(spec.name),
                    silent_for=int(self._board.silent_for(spec.name)),
                )
            )
        return rows

    def _start(self, spec: PeerSpec, guard: Watchdog) -> None:
        peer = PeerProcess(spec, guard)
        self._peers.append(peer)
        for stream in peer.streams:
            self._selector.register(stream, selectors.EVENT_READ, (peer, stream))

    def _pump(self, timeout: float) -> None:
        for key, _ in self._selector.select(timeout):
            peer, stream = key.data
            self._show(peer, stream, stream.read())

    def _show(self, peer: PeerProcess, stream: Stream, lines: Sequence[str]) -> None:
        if stream.closed:
            self._selector.unregister(stream)
        with self._output():
            for line in lines:
                self._display.line(peer.spec.name, peer.spec.rank, line, is_error=stream.is_error)

    def _check(self) -> None:
        for peer in self._peers:
            if peer.gone:
                continue
            if self.interrupted_by is not None:
                peer.stop(self._kill_after)
            if self._signals_caught > 1:
                peer.kill()
            just_ended = peer.check(self._kill_after)
            if peer.gone:
                for stream in peer.streams:
                    if not stream.closed:
                        self._show(peer, stream, stream.drain())
            if just_ended:
                self._note_end(peer)

    def _note_end(self, peer: PeerProcess) -> None:
        assert peer.exit_code is not None  # noqa: S101 - it ended
        name = peer.spec.name
        end = PeerEnd(name=name, code=peer.exit_code, stopped=self.interrupted_by is not None)
        self._ends.append(end)
        self._board.ended(name)
        left = len(self._peers) - len(self._ends)
        with self._output():
            if end.failed and left:
                self._display.note(f"{end}; {left} of {len(self._peers)} peers go on")
            elif peer.was_killed:
                self._display.note(f"{name} did not end when asked, and was killed")

    @contextlib.contextmanager
    def _output(self) -> Iterator[None]:
        """If the output cannot be written, as after Ctrl-C in a pipe, peers are still ended by SIGTERM first."""
        try:
            yield
        except OSError:
            if self.interrupted_by is None:
                self.interrupted_by = signal.SIGPIPE

    def _abandon(self) -> None:
        for peer in self._peers:
            peer.abandon()

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        before = {number: signal.signal(number, self._on_signal) for number in _SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        """The first signal asks all peers to end, the next one ends them."""
        self._signals_caught += 1
        if self.interrupted_by is None:
            self.interrupted_by = number

    def _exit_code(self) -> int:
        if self.interrupted_by is not None:
            return 128 + self.interrupted_by
        return next((end.exit_code for end in self._ends if end.failed), 0)
