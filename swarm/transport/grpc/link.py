"""The outgoing side: one connection for messages and one for weights to each address."""

from __future__ import annotations

import threading
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

import grpc

from swarm.transport.base import Upload
from swarm.transport.grpc.security import HEADER_KEY
from swarm.transport.grpc.send_queue import MAX_QUEUED_BYTES, MAX_QUEUED_MESSAGES, SendQueue
from swarm.transport.grpc.service import CONSORTIUM, DELIVER, UPLOAD
from swarm.transport.grpc.status import to_error

if TYPE_CHECKING:
    from collections.abc import Callable

    from swarm.addresses import Address
    from swarm.identity import Identity
    from swarm.transport.frames import FrameReader
    from swarm.transport.grpc.answers import Answers
    from swarm.transport.grpc.relayed import Probing
    from swarm.transport.grpc.reverse import ReverseChannel

    Report = Callable[[Callable[[], None]], None]
    Channel: TypeAlias = grpc.Channel | ReverseChannel


class Link:
    """Delivers messages to one address until it ends, which it reports once; then it cannot be used again.

    Args:
        address: the peer's.
        failure_timeout: of the transport.
        identity: of this peer; None: nothing is encrypted.
        open_channel: opens a connection to it, for weights or not.
        answers: sees to it that the peer is there and can call here; None where it can.
        report: runs a job outside every lock; all calls of ``on_end`` and of uploads' ``done`` go through it.
        on_end: takes the link and why it ended.
    """

    def __init__(
        self,
        address: Address,
        failure_timeout: float,
        identity: Identity | None,
        open_channel: Callable[[bool], Channel],
        answers: Answers | Probing | None,
        report: Report,
        on_end: Callable[[Link, str], None],
    ) -> None:
        self.address = str(address)
        self._report = report
        self._on_end = on_end
        self._send_queue = SendQueue()
        self.name = address.name
        """Of the peer at its end, where that is known."""
        self.credentials = identity.credentials if identity else None
        """With which it was opened."""
        self._timeout = failure_timeout
        self.connected = answers is None
        """Whether the peer was reached."""
        self._control = open_channel(False)
        self._bulk = open_channel(True)
        self._answers = answers
        self._asking = threading.Lock()
        """Held while the other side is asked for its document."""
        self._lock = threading.Lock()
        self._told = False
        self._uploads = 0
        """In flight."""
        self._finishes = False
        """Whether it ends only after its uploads."""
        self._reason: str | None = None
        """Why it ends after its uploads; None as long as messages are sent."""
        self._over = threading.Event()
        if answers is None:
            self._deliver()
        else:
            answers.begin(self._control, self._deliver, self._call_ended)

    def _deliver(self) -> None:
        """Begin to send messages."""
        self.connected = True
        with suppress(ValueError):  # the link was closed meanwhile
            call: Any = self._control.stream_unary(DELIVER, None, None).future(self._send_queue)
            call.add_done_callback(self._call_ended)

    def send(self, data: bytes) -> None:
        """Queue one encoded envelope."""
        if not self._send_queue.put(data):
            limit = f"{MAX_QUEUED_MESSAGES} messages or {MAX_QUEUED_BYTES} bytes"
            self.end(f"{self.address} takes messages too slowly: more than {limit} are waiting")

    def upload(self, header: bytes, frames: FrameReader, done: Callable[[str | None], None]) -> GrpcUpload:
        """Begin a stream of weights."""
        call = self._bulk.stream_unary(UPLOAD, None, None).future(frames, metadata=((HEADER_KEY, header),))
        with self._lock:
            self._uploads += 1
        call.add_done_callback(self._upload_ended)
        return GrpcUpload(call, self.address, frames, done, self._report)

    def ask_consortium(self, version: int, take: Callable[[bytes], None]) -> None:
        """Ask for the consortium's document, if there it is newer than ``version``; returns at once.

        Nothing is asked while an answer is still to come, or once the link is closed.
        """
        if self._asking.locked():
            return

        def answered(answer: Any) -> None:
            self._asking.release()
            if answer.code() is grpc.StatusCode.OK and answer.result():
                self._report(partial(take, answer.result()))

        request = version.to_bytes(8, "little")
        self._asking.acquire()
        with suppress(ValueError):  # the link was closed meanwhile
            call: Any = self._control.unary_unary(CONSORTIUM, None, None).future(request, timeout=self._timeout)
            call.add_done_callback(answered)

    def tell_consortium(self, version: int, document: bytes, done: Callable[[], None]) -> None:
        """Give the other side the consortium's document of this version; returns at once.

        ``done`` is called on any thread, once the document is in use there or the call has ended otherwise.
        """
        request = version.to_bytes(8, "little") + document
        try:
            call: Any = self._control.unary_unary(CONSORTIUM, None, None).future(request, timeout=self._timeout)
        except ValueError:  # the link was closed meanwhile
            done()
            return
        call.add_done_callback(lambda _call: done())

    def unsent(self) -> tuple[bytes, ...]:
        """Take out what was to be sent, after the end of a link to a peer that was not reached."""
        return self._send_queue.drop()

    def retire(self, *, finish_uploads: bool = False) -> None:
        """Send the messages that are queued, and no weights unless the uploads in flight are finished; then end."""
        with self._lock:
            self._finishes = finish_uploads
        self._send_queue.end()
        if not finish_uploads:
            self._bulk.close()

    @property
    def busy(self) -> bool:
        """Whether it goes on sending weights."""
        return self._finishes and self._uploads > 0

    def wait(self, timeout: float) -> None:
        """Wait until it has ended."""
        self._over.wait(timeout)

    def close(self) -> None:
        """Drop what is queued and close both connections."""
        self._send_queue.drop()
        if self._answers is not None:
            self._answers.close()
        self._control.close()
        self._bulk.close()

    def _call_ended(self, call: Any) -> None:
        self._over.set()
        with self._lock:
            self._reason = str(to_error(call, self.address))
        self._end_unless_busy()

    def _upload_ended(self, _call: Any) -> None:
        with self._lock:
            self._uploads -= 1
        self._end_unless_busy()

    def _end_unless_busy(self) -> None:
        with self._lock:
            reason = None if self._finishes and self._uploads else self._reason
        if reason is not None:
            self.end(reason)

    def end(self, reason: str) -> None:
        """End it, and report why; idempotent."""
        with self._lock:
            if self._told:
                return
            self._told = True
        if self.connected:  # else another way may be found for it
            self._send_queue.drop()
        self._report(partial(self._on_end, self, reason))


class GrpcUpload(Upload):
    """A stream of weights in flight."""

    def __init__(
        self, call: Any, address: str, frames: FrameReader, done: Callable[[str | None], None], report: Report
    ) -> None:
        self._call = call
        self.address = address
        self._frames = frames
        self._done: Callable[[str | None], None] | None = done
        """None once it was called, or will not be: it knows whole models, and gRPC's call and this know each other."""
        self._report = report
        call.add_done_callback(self._ended)

    def cancel(self) -> None:
        self._done = None
        self._frames.halt()
        self._call.cancel()
        self._frames.stop()

    def _ended(self, call: Any) -> None:
        self._frames.halt()
        reason = self._frames.failure if call.code() is grpc.StatusCode.OK else str(to_error(call, self.address))
        self._report(partial(self._tell, reason))

    def _tell(self, reason: str | None) -> None:
        done, self._done = self._done, None
        if done is not None:
            done(reason)
