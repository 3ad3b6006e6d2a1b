"""A transport inside one process, for tests: no sockets, the same behaviour.

Every node has a thread that delivers its envelopes and losses in order. A stream that is open has one more, which reads
a frame on the sender's side and gives it to the receiver's sink; all nodes of a network share these threads.
"""

from __future__ import annotations

import itertools
import logging
import threading
from functools import partial
from typing import TYPE_CHECKING, Protocol

from swarm.errors import BrokenStreamError, ExchangeError, UnreachablePeerError
from swarm.transport.base import Transport, Upload
from swarm.transport.dispatcher import Dispatcher
from swarm.transport.frames import FrameReader, deliver, join
from swarm.transport.pipe import Pipe, received
from swarm.transport.thread_pool import ThreadPool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from swarm.messages import Envelope, FetchRequest, StreamHeader
    from swarm.transport.base import Frame, Handler

PIPE_FRAMES = 4
"""The most of a model that is fetched that are on their way."""

_log = logging.getLogger("swarm.transport")


class Breakable(Protocol):
    """A stream, as the link that it runs over sees it."""

    def break_(self, cause: Exception) -> None:
        """End it because of ``cause``. Returns at once."""


class MemoryNetwork:
    """What the transports of one process are connected to, and where tests break it."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.pool = ThreadPool("memory-stream")
        """Runs the streams."""
        self.passes: Callable[[str, Envelope], bool] = lambda _address, _envelope: True
        """Whether a message to an address is delivered; tests replace it to drop messages."""
        self._numbers = itertools.count(1)
        self._nodes: dict[str, MemoryTransport] = {}
        self._cuts: set[frozenset[str]] = set()

    def join(self, transport: MemoryTransport) -> str:
        """Give ``transport`` an address."""
        with self.lock:
            address = f"memory:{next(self._numbers)}"
            self._nodes[address] = transport
            return address

    def leave(self, address: str, reason: str) -> None:
        """Take ``address`` off the network; those with a link to it lose it."""
        with self.lock:
            if self._nodes.pop(address, None) is None:
                return
            for node in self._nodes.values():
                node.lose(address, reason)

    def reach(self, source: str, target: str) -> MemoryTransport:
        """The node at ``target``.

        Raises:
            UnreachablePeerError: nobody listens there, or it is cut off from ``source``.
        """
        with self.lock:
            node = self._nodes.get(target)
            if node is None or source not in self._nodes or frozenset((source, target)) in self._cuts:
                raise UnreachablePeerError(f"nobody can be reached at {target}")
            return node

    def cut(self, a: str, b: str) -> None:
        """Break the links between two addresses until :meth:`restore`."""
        with self.lock:
            self._cuts.add(frozenset((a, b)))
            for here, there in ((a, b), (b, a)):
                if here in self._nodes:
                    self._nodes[here].lose(there, f"the link to {there} was cut")

    def restore(self, a: str, b: str) -> None:
        """Let two addresses reach each other again."""
        with self.lock:
            self._cuts.discard(frozenset((a, b)))

    def kill(self, address: str) -> None:
        """End the node at ``address`` as SIGKILL would: it does and is told nothing more, the others lose it."""
        with self.lock:
            if (node := self._nodes.get(address)) is not None:
                node.silence()
            self.leave(address, f"{address} was killed")


class MemoryTransport(Transport):
    """A node of a :class:`MemoryNetwork`."""

    def __init__(self, network: MemoryNetwork) -> None:
        self._network = network
        self._lock = network.lock
        self._address = ""
        self._handler: Handler | None = None
        self._dispatcher: Dispatcher | None = None
        self._silent = True
        self._links: set[str] = set()
        self._failing: set[str] = set()
        self._streams: set[tuple[str, Breakable]] = set()

    def start(self, handler: Handler) -> str:
        self._handler = handler
        self._address = self._network.join(self)
        self._dispatcher = Dispatcher(self._address)
        self._silent = False
        return self._address

    def send(self, address: str, envelope: Envelope) -> None:
        with self._lock:
            if self._silent:
                return
            try:
                node = self._network.reach(self._address, address)
            except UnreachablePeerError as error:
                self._links.add(address)
                self.lose(address, str(error))
                return
            self._links.add(address)
            if self._network.passes(address, envelope):
                node.report(lambda handler: handler.on_envelope(envelope))

    def upload(
        self, address: str, header: StreamHeader, frames: Iterator[Frame], done: Callable[[str | None], None]
    ) -> Upload:
        upload = MemoryUpload(self, address, header, FrameReader(frames), done)
        upload.start()
        return upload

    def fetch(self, address: str, request: FetchRequest, timeout: float) -> Iterator[memoryview]:
        pipe: Pipe[bytes] = Pipe(PIPE_FRAMES)
        node = self.connect(address, pipe)
        self.pool.run(partial(_serve, node, request, pipe))
        try:
            yield from received(pipe, address, timeout)
        finally:
            self.disconnect(address, pipe, UnreachablePeerError(f"{self._address} stopped reading"))

    def forget(self, address: str) -> None:
        with self._lock:
            self._links.discard(address)
            self._break_streams(address, f"the link to {address} was closed")

    def close(self, linger: float = 1.0) -> None:
        self._network.leave(self._address, f"{self._address} was closed")
        self.silence()
        if self._dispatcher is not None:
            self._dispatcher.stop(linger)

    def report(self, job: Callable[[Handler], None]) -> None:
        """Call the handler from this node's thread, unless the node is closed or dead by then."""
        if self._dispatcher is not None and self._handler is not None:
            self._dispatcher.submit(partial(self._unless_silent, job))

    def lose(self, address: str, reason: str) -> None:
        """End the link to ``address``, if there is one, and tell the handler once."""
        with self._lock:
            self._break_streams(address, reason)
            if address not in self._links:
                return
            self._links.discard(address)
            if address not in self._failing:
                self._failing.add(address)
                self.report(lambda handler: self._tell_loss(handler, address, reason))

    def silence(self) -> None:
        """Do nothing and tell the handler nothing from now on."""
        with self._lock:
            self._silent = True
            self._links.clear()
            for address in {address for address, _ in self._streams}:
                self._break_streams(address, f"{self._address} was closed")

    def connect(self, address: str, stream: Breakable) -> MemoryTransport:
        """The node at ``address``; ``stream`` breaks when this node loses it.

        Raises:
            UnreachablePeerError: nobody can be reached there.
        """
        with self._lock:
            node = self._network.reach(self._address, address)
            self._streams.add((address, stream))
            return node

    def disconnect(self, address: str, stream: Breakable, cause: Exception) -> None:
        """Break a stream of :meth:`connect`."""
        with self._lock:
            self._streams.discard((address, stream))
        stream.break_(cause)

    @property
    def pool(self) -> ThreadPool:
        """Runs the streams."""
        return self._network.pool

    @property
    def handler(self) -> Handler:
        """What this node calls."""
        if self._handler is None:
            raise UnreachablePeerError(f"{self._address} has not started")
        return self._handler

    def _unless_silent(self, job: Callable[[Handler], None]) -> None:
        if not self._silent:
            job(self.handler)

    def _tell_loss(self, handler: Handler, address: str, reason: str) -> None:
        self._failing.discard(address)
        handler.on_lost(address, reason)

    def _break_streams(self, address: str, reason: str) -> None:
        for target, stream in tuple(self._streams):
            if target == address:
                self._streams.discard((target, stream))
                stream.break_(UnreachablePeerError(reason))


class MemoryUpload(Upload):
    """A stream between two nodes, on one thread: it waits for a frame here, then for the sink there to take it."""

    def __init__(
        self,
        source: MemoryTransport,
        address: str,
        header: StreamHeader,
        frames: FrameReader,
        done: Callable[[str | None], None],
    ) -> None:
        self._source = source
        self._address = address
        self._header = header
        self._frames = frames
        self._done = done
        self._lock = threading.Lock()
        self._finished = False
        self._cancelled = False

    def start(self) -> None:
        """Begin sending."""
        try:
            node = self._source.connect(self._address, self)
        except UnreachablePeerError as error:
            self._finish(str(error))
            return
        self._source.pool.run(partial(self._run, node))

    def cancel(self) -> None:
        self._cancelled = True
        self._source.disconnect(self._address, self, ExchangeError("cancelled"))
        self._frames.stop()

    def break_(self, cause: Exception) -> None:
        """Read and deliver no further frame. The failure is told at once, while one may still be on its way."""
        self._frames.halt()
        self._finish(str(cause))

    def _run(self, node: MemoryTransport) -> None:
        try:
            sink = node.handler.open_sink(self._header)
            for data in self._frames:
                if self._finished:
                    break
                deliver(memoryview(data), sink)
            reason = self._frames.failure
        except ExchangeError as error:
            reason = str(error)
        except Exception:  # noqa: BLE001 - told to the sender
            _log.exception("a stream of weights could not be taken")
            reason = f"{self._address} failed while taking the stream"
        self._finish(reason)
        self._source.disconnect(self._address, self, ExchangeError("ended"))

    def _finish(self, reason: str | None) -> None:
        with self._lock:
            if self._finished:
                return
            self._finished = True
        self._source.report(lambda _: None if self._cancelled else self._done(reason))


def _serve(node: MemoryTransport, request: FetchRequest, pipe: Pipe[bytes]) -> None:
    try:
        for frame in node.handler.serve(request):
            pipe.put(join(frame))
        pipe.end()
    except BrokenStreamError:
        pass
    except ExchangeError as error:
        pipe.break_(error)
    except Exception:  # noqa: BLE001 - told to the one who fetches
        _log.exception("a committed model could not be served")
        pipe.break_(ExchangeError("the peer failed while serving its model"))
