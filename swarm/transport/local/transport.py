"""A peer of those that meet in one directory."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import socket
import threading
from collections.abc import Coroutine
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from swarm.addresses import Address
from swarm.errors import AddressError, ExchangeError, UnreachablePeerError
from swarm.messages import Envelope, FetchRequest, StreamHeader
from swarm.transport.base import HEAD_BYTES, MAX_MESSAGE_BYTES, Transport, Upload
from swarm.transport.frames import SIZE, FrameReader, join
from swarm.transport.grpc.wire import decode, encode
from swarm.transport.local.connection import (
    FETCH,
    MESSAGES,
    UPLOAD,
    next_size,
    receive,
    receive_first,
    receive_into,
    send,
    send_end,
)
from swarm.transport.local.link import Link
from swarm.transport.local.stream import OutgoingStream, Stream, Streams
from swarm.transport.thread_pool import ThreadPool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from swarm.transport.base import Frame, Handler

HOST = "local"
"""Of the addresses, as in ``local:7``."""
BACKLOG = 1024
"""Connections that wait to be accepted: those of all peers, which begin together."""

_log = logging.getLogger("swarm.transport")


class LocalTransport(Transport, Streams):
    """Carries messages and streams between the processes that know a directory."""

    def __init__(self, directory: Path) -> None:
        """Nothing is opened before ``start``.

        Args:
            directory: exists; its path has at most 90 bytes, as those of sockets are short.
        """
        self._directory = directory
        self._address = ""
        self._handler: Handler | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._pool = ThreadPool("local-stream")
        self._lock = threading.Lock()
        self._streams: set[Stream] = set()
        self._closed = False
        # Used by the loop's thread only:
        self._links: dict[str, Link] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, handler: Handler) -> str:
        self._handler = handler
        listener, number = self._listen()
        self._address = f"{HOST}:{number}"
        self._loop = asyncio.new_event_loop()
        self._loop.call_soon(self._begin, self._accept(listener))
        self._thread = threading.Thread(target=self._loop.run_forever, name=self._address, daemon=True)
        self._thread.start()
        return self._address

    def send(self, address: str, envelope: Envelope) -> None:
        try:
            data = encode(envelope)
            if len(data) > MAX_MESSAGE_BYTES:
                raise ExchangeError(f"a message of {len(data)} bytes exceeds the limit of {MAX_MESSAGE_BYTES}")
        except ExchangeError as error:
            self._soon(partial(self._lose, address, str(error)))
            return
        self._soon(partial(self._write, address, SIZE.pack(len(data)) + data))

    def upload(
        self, address: str, header: StreamHeader, frames: Iterator[Frame], done: Callable[[str | None], None]
    ) -> Upload:
        upload = OutgoingStream(self, address, encode(header), FrameReader(frames), done)
        if self._enter(upload):
            self._pool.run(upload.run)
        return upload

    def fetch(self, address: str, request: FetchRequest, timeout: float) -> Iterator[memoryview]:
        try:
            connection = self._connect(address, FETCH, encode(request), timeout)
        except OSError as error:
            raise UnreachablePeerError(f"{address} cannot be connected to: {error}") from None
        stream = Stream(address, connection)
        try:
            if not self._enter(stream):
                raise UnreachablePeerError(f"{self._address} was closed")
            while (size := next_size(connection)) is not None:
                yield receive(connection, size)
        except TimeoutError:
            raise UnreachablePeerError(f"{address} sent nothing for {timeout:g} s") from None
        except OSError as error:
            raise UnreachablePeerError(f"the connection to {address} broke: {error}") from None
        finally:
            self.leave(stream)

    def forget(self, address: str) -> None:
        self._soon(partial(self._forget, address))

    def close(self, linger: float = 1.0) -> None:
        with self._lock:
            loop, closed, self._closed = self._loop, self._closed, True
            streams = [*self._streams]
        if loop is None or self._thread is None or closed:
            return
        for stream in streams:
            stream.drop()
        loop.call_soon_threadsafe(self._begin, self._end(linger))
        if threading.current_thread() is not self._thread:
            self._thread.join(linger + 1.0)

    def connect(self, upload: OutgoingStream) -> socket.socket:
        connection = self._connect(upload.address, UPLOAD, upload.header)
        with self._lock:
            upload.connection = connection
            known = upload in self._streams and not self._closed
        if not known:
            raise ConnectionAbortedError("it was closed")
        return connection

    def leave(self, stream: Stream) -> None:
        with self._lock:
            self._streams.discard(stream)
        stream.close()

    def report(self, job: Callable[[], None]) -> None:
        self._soon(partial(self._unless_closed, job))

    @property
    def _served(self) -> Handler:
        if self._handler is None:
            raise UnreachablePeerError("the transport has not started")
        return self._handler

    def _soon(self, job: Callable[[], None]) -> None:
        """Run ``job`` on the loop's thread; what was asked for before the close still runs after it."""
        with self._lock:
            if not self._closed and self._loop is not None:
                self._loop.call_soon_threadsafe(job)

    def _enter(self, stream: Stream) -> bool:
        """Keep ``stream`` until it ends or its peer is lost; False if this transport is closed."""
        with self._lock:
            if not self._closed:
                self._streams.add(stream)
            return not self._closed

    def _listen(self) -> tuple[socket.socket, int]:
        for number in itertools.count(1):
            listener, path = socket.socket(socket.AF_UNIX), self._directory / str(number)
            try:
                listener.bind(str(path))
            except OSError as error:
                listener.close()
                if number < 2**16 and path.exists():
                    continue  # of another peer
                raise AddressError(f"no socket can be made in {self._directory}: {error}") from None
            listener.listen(BACKLOG)
            listener.setblocking(False)
            return listener, number
        raise AssertionError("the count has no end")

    def _path(self, address: str) -> str:
        """Of the socket of an address.

        Raises:
            OSError: it is none of this transport.
        """
        try:
            place = Address.parse(address)
        except AddressError as error:
            raise OSError(str(error)) from None
        if place.host != HOST:
            raise OSError(f"{address} is no address of this transport")
        return str(self._directory / str(place.port))

    def _connect(self, address: str, kind: bytes, first: bytes, timeout: float | None = None) -> socket.socket:
        """A connection for a stream, with its first bytes sent.

        Raises:
            OSError: nobody listens there.
        """
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.settimeout(timeout)
            connection.connect(self._path(address))
            connection.sendall(kind)
            send(connection, first)
        except BaseException:
            connection.close()
            raise
        return connection

    # On the loop's thread --------------------------------------------------------------------------------------------

    def _begin(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        try:
            while True:
                connection, _ = await loop.sock_accept(listener)
                self._begin(self._open(connection))
        finally:
            _close(listener)

    async def _open(self, connection: socket.socket) -> None:
        """Take a connection that another peer has made."""
        connection.setblocking(False)
        try:
            kind = await asyncio.get_running_loop().sock_recv(connection, 1)
        except BaseException:
            connection.close()
            raise
        if kind == MESSAGES:
            await self._read(connection)
            return
        connection.setblocking(True)
        serve = {UPLOAD: self._take, FETCH: self._give}.get(kind)
        stream = Stream("", connection)
        if serve is None or not self._enter(stream):
            stream.close()
        else:
            self._pool.run(partial(self._serve, partial(serve, connection), stream, connection))

    async def _read(self, connection: socket.socket) -> None:
        reader, writer = await asyncio.open_connection(sock=connection)
        try:
            while True:
                size = SIZE.unpack(await reader.readexactly(SIZE.size))[0]
                if size > MAX_MESSAGE_BYTES:
                    raise ExchangeError(f"it has {size} bytes")
                self._served.on_envelope(decode(Envelope, await reader.readexactly(size)))
        except (OSError, asyncio.IncompleteReadError):
            pass  # the other side tells its own end
        except ExchangeError as error:
            _log.warning("a connection is closed, as a message on it cannot be read: %s", error)
        finally:
            writer.close()

    def _write(self, address: str, data: bytes) -> None:
        link = self._links.get(address)
        if link is None:
            link = self._links[address] = Link()
            self._begin(self._run(address, link))
        if not link.write(data):
            self._lose(address, f"{address} does not take what is sent")

    async def _run(self, address: str, link: Link) -> None:
        """Connect, and wait for the end of the connection, on which the other side writes nothing."""
        reason = f"{address} has closed its connection"
        try:
            reader, writer = await asyncio.open_unix_connection(self._path(address))
            link.opened(writer)
            await reader.read(1)
        except OSError as error:
            reason = f"{address} cannot be reached: {error}"
        finally:
            link.close()
            if self._links.get(address) is link:
                self._lose(address, reason)

    def _forget(self, address: str) -> None:
        if link := self._links.pop(address, None):
            link.end()
        self._break_streams(address, f"the link to {address} was closed")

    def _lose(self, address: str, reason: str) -> None:
        if link := self._links.pop(address, None):
            link.close()
        self._break_streams(address, reason)
        self._unless_closed(partial(self._served.on_lost, address, reason))

    def _break_streams(self, address: str, reason: str) -> None:
        with self._lock:
            streams = [stream for stream in self._streams if stream.address == address]
        for stream in streams:
            stream.break_(reason)

    def _unless_closed(self, job: Callable[[], None]) -> None:
        if not self._closed:
            job()

    async def _end(self, linger: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.gather(*(link.flushed() for link in self._links.values())), linger)
        others = self._tasks - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        asyncio.get_running_loop().stop()

    # On threads of streams -------------------------------------------------------------------------------------------

    def _serve(self, serve: Callable[[], None], stream: Stream, connection: socket.socket) -> None:
        """Answer a stream, with the reason where that fails."""
        failure = ""
        try:
            try:
                serve()
            except ExchangeError as error:
                failure = str(error)
            except OSError:
                raise
            except Exception:  # noqa: BLE001 - told to the other side
                _log.exception("a stream of weights could not be served")
                failure = f"{self._address} failed while serving the stream"
            send_end(connection, failure)
        except OSError:
            pass  # the other side is gone, or this transport is closed
        finally:
            self.leave(stream)

    def _take(self, connection: socket.socket) -> None:
        sink = self._served.open_sink(decode(StreamHeader, receive_first(connection)))
        while (size := next_size(connection)) is not None:
            head = receive(connection, min(size, HEAD_BYTES))
            receive_into(connection, sink.begin(head, size - len(head)), sink.progress)
            sink.end()

    def _give(self, connection: socket.socket) -> None:
        for frame in self._served.serve(decode(FetchRequest, receive_first(connection))):
            send(connection, join(frame))


def _close(listener: socket.socket) -> None:
    """Close it, and remove its file: the number is free again."""
    path = Path(listener.getsockname())
    listener.close()
    with contextlib.suppress(OSError):
        path.unlink()
