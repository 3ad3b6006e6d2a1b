"""Runs several local peers until all have ended, and shows their output. A failed peer does not stop the others."""

from __future__ import annotations

import contextlib
import selectors
import signal
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import FrameType

from swarm.cli.answers import PeerView
from swarm.cli.display import Display, PeerRow
from swarm.cli.ends import PeerEnd, at_once
from swarm.cli.output import PeerOutput
from swarm.cli.process import PeerProcess, PeerSpec, Stream, Watchdog
from swarm.cli.statuses import StatusBoard
from swarm.discovery.directory import declare_ended
from swarm.storage.session_records import DIRECTORY, SessionRecord, read_records

_TICK = 0.1
_HOLD = 1.0
"""Seconds after which a failure is said while others go on: peers that all fail alike need not each have a line."""
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Launcher:
    """Starts the peers, and runs until the last of them has ended."""

    def __init__(
        self,
        specs: Sequence[PeerSpec],
        board: StatusBoard,
        display: Display,
        kill_after: float = 10.0,
        min_peers: int = 1,
    ) -> None:
        """Nothing is started yet.

        Args:
            specs: of the peers.
            board: asks the running peers for their status.
            display: shows what they write, and their status.
            kill_after: seconds that a peer has to end when it is asked to.
            min_peers: that their session needs, as far as the launcher knows.
        """
        self._specs = specs
        self._min_peers = min_peers
        self._outputs = {spec.name: PeerOutput(spec.name, spec.rank) for spec in specs}
        self._board = board
        self._display = display
        self._kill_after = kill_after
        self._peers: list[PeerProcess] = []
        self._ends: list[PeerEnd] = []
        self._unsaid: deque[tuple[float, PeerEnd]] = deque()
        """Failures that are still to be said, each with the time to say it."""
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
            self._rendezvous = rendezvous
            guard = Watchdog(self._kill_after, rendezvous)
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
            with self._output():
                self._display.update(self.rows())
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
                    view=self._view(spec) if end else self._board.view(spec.name),
                    silent_for=int(self._board.silent_for(spec.name)),
                )
            )
        return rows

    def traces(self) -> Iterator[tuple[str, int, Sequence[str]]]:
        """Name, rank and traceback of a failed peer, one for each way in which peers have failed."""
        told = set()
        ranks = {spec.name: spec.rank for spec in self._specs}
        for end in self._ends:
            traceback = self._outputs[end.name].traceback
            if end.failed and traceback and end.why not in told:
                told.add(end.why)
                yield end.name, ranks[end.name], traceback

    def _view(self, spec: PeerSpec) -> PeerView | None:
        """What an ended peer has said last, with the round and epoch in which its session has ended."""
        view = self._board.view(spec.name)
        ended = [each for each in self._records_of(spec.rank) if each.ended and each.round is not None]
        if not ended:
            return view
        record = next((each for each in ended if view and each.session == view.session), ended[0])
        return replace(
            view or PeerView(name=spec.name, session=record.session),
            round=record.round or 0,
            epoch=record.epoch,
            total_epochs=record.total_epochs,
            bytes_sent=record.bytes_sent,
            bytes_received=record.bytes_received,
        )

    def _records_of(self, rank: int) -> list[SessionRecord]:
        return [each for each in self.records if each.rank == rank]

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
                self._display.line(self._outputs[peer.spec.name].read(line, is_error=stream.is_error))

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
                for stream in peer.streams:
                    if not stream.closed:
                        self._show(peer, stream, stream.available())
                self._note_end(peer)
        self._say_failures()

    def _note_end(self, peer: PeerProcess) -> None:
        assert peer.exit_code is not None  # noqa: S101 - it ended
        name, rank = peer.spec.name, peer.spec.rank
        self.records = read_records(self._rendezvous)
        mine = self._records_of(rank)
        view, output = self._board.view(name), self._outputs[name]
        epochs = [*(each.epoch for each in mine), *([view.epoch] if view else [])]
        end = PeerEnd(
            name=name,
            code=peer.exit_code,
            stopped=self.interrupted_by is not None,
            cause=str(output.cause or "") if peer.exit_code > 0 else "",
            epoch=max(epochs) + 1 if epochs else None,
            joined=any(each.joined for each in mine),
        )
        self._ends.append(end)
        self._board.ended(name)
        declare_ended(self._rendezvous, name)
        if end.failed:
            self._unsaid.append((time.monotonic() + _HOLD, end))
        elif peer.was_killed:
            with self._output():
                self._display.note(f"{name} did not end when asked, and was killed")

    def _say_failures(self) -> None:
        """Name peers that have failed while others go on. Those that all fail alike are named together at the end."""
        left = len(self._peers) - len(self._ends)
        while self._unsaid and left and time.monotonic() >= self._unsaid[0][0]:
            _, end = self._unsaid.popleft()
            with self._output():
                self._display.note(at_once(end, left, len(self._peers), self._min_peers))

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
