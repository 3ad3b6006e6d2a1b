"""Moves an exchange's frames: one outgoing stream a member, incoming frames from the transport's threads."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from threading import Condition
from typing import TYPE_CHECKING

from swarm.clock import Clock
from swarm.errors import ExchangeError
from swarm.messages import Proposal, StreamHeader
from swarm.records import PeerId
from swarm.rounds.exchange import Exchange, OutFrame
from swarm.state import ModelState

if TYPE_CHECKING:
    from swarm.transport.base import Sink, Transport, Upload

POLL = 0.5
"""Seconds after which a waiting stream looks whether it was stopped."""

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
        self, me: PeerId, proposal: Proposal, exchange: Exchange, clock: Clock, done: Done, failed: Failed
    ) -> None:
        self._me = me
        self.proposal = proposal
        self.bytes_sent = 0
        self.bytes_received = 0
        self._exchange = exchange
        self._clock = clock
        self._done = done
        self._failed = failed
        self._condition = Condition()
        self._stopped = False
        self._settled = False
        self._uploads: dict[PeerId, Upload] = {}
        self._heard = dict.fromkeys(proposal.group, clock.now())

    def start(self) -> None:
        """Report an exchange that needs nobody else."""
        self._settle()

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

    def sink(self, sender: PeerId) -> Sink:
        """Where the frames of ``sender`` go."""

        def take(data: memoryview) -> None:
            try:
                with self._condition:
                    if self._stopped:
                        raise ExchangeError("this attempt is over")
                    self._exchange.receive(sender, data)
                    self._heard[sender] = self._clock.now()
                    self.bytes_received += len(data)
                    self._condition.notify_all()
            except ExchangeError as error:
                self._fail(sender, str(error))
                raise
            except Exception as error:
                # A merge rule may be a plugin's: what it raises is this peer's fault, not the sender's.
                reason = fault(error)
                self._fail(self._me, reason)
                raise ExchangeError(reason) from error
            self._settle()

        return take

    def check(self, now: float, timeout: float) -> None:
        """Give up on a peer that owes something and has been silent for ``timeout`` seconds.

        A peer whose merged pieces are missing may itself be waiting for a third one's contribution, so it gets twice
        that time: the one that really is silent is blamed first.
        """
        with self._condition:
            contributions, results = self._exchange.owing()
            late = [peer for peer in contributions if now > self._heard[peer] + timeout]
            late += [peer for peer in results if now > self._heard[peer] + 2 * timeout]
            silence = {peer: now - self._heard[peer] for peer in late}
        if silence:
            peer = max(sorted(silence), key=lambda name: silence[name])
            self._fail(peer, f"{peer} sent nothing for {silence[peer]:.0f} s")

    def _frames(self, to: PeerId) -> Iterator[OutFrame]:
        while True:
            with self._condition:
                out = None if self._stopped else self._exchange.next_frame(to)
                if out is None:
                    if self._stopped or self._exchange.sent(to):
                        return
                    self._condition.wait(POLL)
                    continue
                self.bytes_sent += len(out[0]) + len(out[1])
            yield out

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

    def _settle(self) -> None:
        with self._condition:
            if self._settled or self._stopped or not self._exchange.done:
                return
            self._settled = True
        self._done(self._exchange.result())
