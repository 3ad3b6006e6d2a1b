"""Moves an exchange's frames: one outgoing stream a member, incoming frames from the transport's threads."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from swarm.errors import ContributionError, ExchangeError
from swarm.exchange.exchange import Arrival, Exchange, OutFrame
from swarm.exchange.layout import HEADER, Head, open_head
from swarm.executor import Executor
from swarm.messages import Proposal, StreamHeader
from swarm.records import PeerId
from swarm.tensors.state import ModelState
from swarm.transport.base import Sink

if TYPE_CHECKING:
    from swarm.transport.base import Transport, Upload

Done = Callable[[ModelState], None]
Failed = Callable[[PeerId, str], None]


def fault(error: Exception) -> str:
    """What to tell the group of an error in this peer's own part of an exchange."""
    return f"merging failed: {type(error).__name__}: {error}"


class ExchangeStreams:
    """Runs one attempt's exchange over a transport.

    ``done`` is called once with the assembled model, ``failed`` once with whom to blame and why, each on a thread of
    the transport and without a lock held.
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
        self._uploads: dict[PeerId, Upload] = {}
        self._idle: set[PeerId] = set()
        """Members whose streams wait until there is more to send."""
        self._held_up: set[PeerId] = set()
        """Members who are ahead, and from whom nothing is taken until the others have come nearer."""
        self._heard = dict.fromkeys(proposal.group, executor.now())

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
            chunk = self._exchange.end(arrival)
            self._wake()
        if chunk:
            merged = self._exchange.merge(chunk)
            with self._condition:
                self._hear(arrival.sender)
                self._exchange.publish(chunk, merged)
                self._wake()

    def heard(self, sender: PeerId) -> None:
        """Something of ``sender`` has come, if not yet a whole frame: over a slow link that may take its time."""
        self._heard[sender] = self._clock.now()

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
            self._failed(self._me, fault(error))
            return
        self._done(model)

    def _hear(self, sender: PeerId) -> None:
        if self._stopped:
            raise ExchangeError("this attempt is over")
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
        """Give up on a peer that owes something and has been silent for ``timeout`` seconds.

        A peer whose merged chunks are missing may itself be waiting for a third one's contribution, so it gets twice
        that time: the one that really is silent is blamed first.
        """
        with self._condition:
            contributions, results = self._exchange.owing()
            for peer in self._held_up:
                self._heard[peer] = now
            late = [peer for peer in contributions if now > self._heard[peer] + timeout]
            late += [peer for peer in results if now > self._heard[peer] + 2 * timeout]
            silence = {peer: now - self._heard[peer] for peer in late}
        if silence:
            peer = max(sorted(silence), key=lambda name: silence[name])
            self._fail(peer, f"{peer} sent nothing for {silence[peer]:.0f} s")

    def _frames(self, to: PeerId) -> Iterator[OutFrame]:
        while not self._stopped:
            out = self._exchange.next_frame(to)
            if out is not None:
                self._sent[to] += len(out[0]) + len(out[1])
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
            if reason is not None:
                self._fail(peer, f"sending to {peer} failed: {reason}")

        return ended

    def _fail(self, peer: PeerId, reason: str) -> None:
        with self._condition:
            if self._settled or self._stopped:
                return
            self._settled = True
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

    def progress(self) -> None:
        self._streams.heard(self._sender)

    def end(self) -> None:
        arrival, self._arrival = self._arrival, None
        if arrival is None:
            return
        with self._streams.taking(self._sender):
            self._streams.end(arrival)
        self._streams.settle()
