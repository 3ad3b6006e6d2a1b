"""Moves an exchange's frames: one outgoing stream a member, incoming frames from the transport's threads."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from swarm.errors import ContributionError, ExchangeError
from swarm.exchange.arrival import Arrival
from swarm.exchange.exchange import Exchange, OutFrame
from swarm.exchange.layout import HEADER, Head, open_head
from swarm.exchange.owed import Owed
from swarm.executor import Executor
from swarm.messages import Proposal, StreamHeader
from swarm.peer.deadlines import Deadlines
from swarm.records import PeerId
from swarm.tensors.state import ModelState
from swarm.text import size
from swarm.transport.base import Sink

if TYPE_CHECKING:
    from swarm.transport.base import Transport, Upload

OVER = "this attempt is over"
"""What a sender is told whose frames come too late."""
Done = Callable[[ModelState], None]
Failed = Callable[[PeerId, str], None]


def fault(error: Exception) -> str:
    """What to tell the group of an error in this peer's own part of an exchange."""
    return f"merging failed: {type(error).__name__}: {error}"


class ExchangeStreams:
    """Runs one attempt's exchange over a transport.

    ``done`` is called once with the assembled model, ``failed`` once with whom to blame and why, without a lock held;
    on a thread of the transport, or on that of ``check``. ``failed`` comes instead of ``done``, or after it where
    another member does not take what it is sent.
    """

    def __init__(
        self, me: PeerId, proposal: Proposal, exchange: Exchange, executor: Executor, done: Done, failed: Failed
    ) -> None:
        self._me = me
        self.proposal = proposal
        self.bytes_received = 0
        self._sent = dict.fromkeys(proposal.group, 0)
        self._exchange = exchange
        self._clock = executor
        self._done = done
        self._failed = failed
        self._condition = executor.condition()
        self._stopped = False
        self._settled = False
        self._gave_up = False
        self._uploads: dict[PeerId, Upload] = {}
        self._idle: set[PeerId] = set()
        """Members whose streams wait until there is more to send."""
        self._held_up: set[PeerId] = set()
        """Members who are ahead, and from whom nothing is taken until the others have come nearer."""
        others = [peer for peer in proposal.group if peer != me]
        # Together with this peer they are more than half of the group.
        enough = min(len(proposal.group) // 2, len(others) - 1)
        self._incoming = Deadlines(others, enough, exchange.nbytes, executor.now())
        self._outgoing = Deadlines(others, enough, exchange.nbytes, executor.now())
        self._ended_uploads: set[PeerId] = set()

    @property
    def bytes_sent(self) -> int:
        """To all members so far."""
        return sum(self._sent.values())

    def send(self, transport: Transport, to: PeerId, address: str, header: StreamHeader) -> None:
        """Open the stream to a member, unless it is open."""
        if to not in self._uploads:
            self._uploads[to] = transport.upload(address, header, self._frames(to), self._ended(to))

    def stop(self) -> None:
        """End all streams; idempotent."""
        with self._condition:
            self._stopped = True
            self._condition.notify_all()
        for upload in self._uploads.values():
            upload.cancel()
        # An upload knows these streams too: a circle around whole models, which only Python's collector would end.
        self._uploads.clear()

    def open_sink(self, sender: PeerId) -> Sink:
        """Where the frames of ``sender`` go."""
        return _Incoming(self, sender)

    def begin(self, sender: PeerId, head: Head, nbytes: int) -> Arrival:
        """A frame of ``sender`` comes, with ``nbytes`` of payload.

        Lets a peer that is far ahead wait for the others, so that what it sends does not pile up here.

        Raises:
            ExchangeError: the attempt is over, or nobody waits for such a frame.
        """
        with self._condition:
            if not self._exchange.room(sender):
                self._held_up.add(sender)
                self._wait_until(lambda: self._exchange.room(sender))
                self._held_up.discard(sender)
            self._hear(sender)
            self.bytes_received += HEADER.size + nbytes
            return self._exchange.begin(sender, head, nbytes)

    def end(self, arrival: Arrival) -> None:
        """The memory of ``arrival`` is filled. Only bookkeeping needs the exchange alone: the rest runs beside it.

        Raises:
            ExchangeError: the attempt is over, or the frame cannot be true.
        """
        self._exchange.check(arrival)
        with self._condition:
            self._hear(arrival.sender)
            self._incoming.moved(arrival.sender, HEADER.size + len(arrival.payload), self._clock.now())
            chunk = self._exchange.end(arrival)
            self._wake()
        if chunk:
            merged = self._exchange.merge(chunk)
            with self._condition:
                self._hear(arrival.sender)
                self._exchange.publish(chunk, merged)
                self._wake()

    def heard(self, sender: PeerId, part: int = 0) -> None:
        """Something of ``sender`` has come; ``part`` bytes of a frame, where that is on its way."""
        self._incoming.heard(sender, self._clock.now(), part)

    @contextmanager
    def taking(self, sender: PeerId) -> Iterator[None]:
        """While a frame of ``sender`` is taken: an error is told to the group, with whom to blame, and ends the stream.

        Raises:
            ExchangeError: there was an error that is not the fault of another contributor.
        """
        try:
            yield
        except ContributionError as error:
            self._fail(error.peer, str(error))
            if error.peer == sender:
                raise
            # Whose frame came last is not to blame, and its stream goes on until the attempt is ended.
        except ExchangeError as error:
            self._fail(sender, str(error))
            raise
        except Exception as error:
            # A merge rule may be a plugin's: what it raises is this peer's fault, not the sender's.
            reason = fault(error)
            self._fail(self._me, reason)
            raise ExchangeError(reason) from error

    def settle(self) -> None:
        """Report the exchange if it is done."""
        with self._condition:
            if self._settled or self._stopped or not self._exchange.done:
                return
            self._settled = True
        try:
            model = self._exchange.result()
        except Exception as error:  # noqa: BLE001  (whatever it is, the group must not wait for this peer)
            self._fail(self._me, fault(error), after_done=True)
            return
        self._done(model)

    def _hear(self, sender: PeerId) -> None:
        if self._stopped:
            raise ExchangeError(OVER)
        self.heard(sender)

    def _wait_until(self, ready: Callable[[], bool]) -> None:
        """Wait, with the lock held, until ``ready`` or the end of the attempt; ``check`` ends one that takes long."""
        self._condition.wait_for(lambda: self._stopped or ready())

    def _wake(self) -> None:
        """Most frames give nothing to send, and many members would mean many threads woken for each of them."""
        exchange = self._exchange
        if any(map(exchange.room, self._held_up)) or not all(map(exchange.waiting, self._idle)):
            self._condition.notify_all()

    def check(self, now: float, timeout: float) -> None:
        """Give up on a peer that is late, see :class:`Deadlines`, with what it owes or with taking what it is sent."""
        with self._condition:
            owed = self._exchange.owed()
            late = self._incoming.late(now, timeout, owed, self._held_up) if owed else None
            untaken = self._untaken() if owed is None and self._settled else None
            stuck = self._outgoing.late(now, timeout, untaken) if untaken else None
        if late:
            self._fail(*late)
        elif stuck:
            peer, _ = stuck
            reason = f"{peer} does not take what it is sent, of which {size(self._sent[peer])} went out"
            self._fail(peer, reason, after_done=True)
            self._uploads[peer].cancel()

    @property
    def waits_for(self) -> str:
        """Whom this exchange waits for, and how much is missing; empty if for nobody."""
        with self._condition:
            owed = self._exchange.owed()
            return str(owed) if owed else ""

    @property
    def owes(self) -> frozenset[PeerId]:
        """The members whose weights are missing here."""
        with self._condition:
            owed = self._exchange.owed()
            return frozenset(owed.left) if owed else frozenset()

    def _untaken(self) -> Owed:
        """The peers that are sent something and have not taken all of it."""
        left = dict.fromkeys(self._uploads.keys() - self._ended_uploads, 0)
        return Owed("what it is sent", self._exchange.last_turn, left)

    def _frames(self, to: PeerId) -> Iterator[OutFrame]:
        while not self._stopped:
            out = self._exchange.next_frame(to)
            if out is not None:
                self._sent[to] += (count := len(out[0]) + len(out[1]))
                self._outgoing.moved(to, count, self._clock.now())
                yield out
                continue
            with self._condition:
                self._idle.add(to)
                self._wait_until(lambda: not self._exchange.waiting(to))
                self._idle.discard(to)
            if self._exchange.sent(to):
                return

    def _ended(self, peer: PeerId) -> Callable[[str | None], None]:
        def ended(reason: str | None) -> None:
            self._ended_uploads.add(peer)
            # Who has left an attempt that is aborted is not at fault: this peer will hear of it too. If it was not
            # aborted, the leader finds that the other one does not become ready.
            if reason is not None and not reason.endswith(OVER):
                self._fail(peer, f"sending to {peer} failed: {reason}")

        return ended

    def _fail(self, peer: PeerId, reason: str, *, after_done: bool = False) -> None:
        with self._condition:
            if self._stopped or self._gave_up or (self._settled and not after_done):
                return
            self._settled = self._gave_up = True
        self._failed(peer, reason)


class _Incoming(Sink):
    """The frames of one member, on one thread."""

    def __init__(self, streams: ExchangeStreams, sender: PeerId) -> None:
        self._streams = streams
        self._sender = sender
        self._arrival: Arrival | None = None

    def begin(self, head: memoryview, size: int) -> memoryview:
        with self._streams.taking(self._sender):
            self._arrival = self._streams.begin(self._sender, open_head(head), size)
            return self._arrival.payload

    def progress(self, filled: int = 0) -> None:
        self._streams.heard(self._sender, filled)

    def end(self) -> None:
        arrival, self._arrival = self._arrival, None
        if arrival is None:
            return
        with self._streams.taking(self._sender):
            self._streams.end(arrival)
        self._streams.settle()
