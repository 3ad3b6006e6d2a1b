"""One process's transport over the simulated network."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from swarm.errors import ExchangeError, UnreachablePeerError
from swarm.executor import Queue
from swarm.transport.base import Handler, Transport, Upload

if TYPE_CHECKING:
    from swarm.messages import Envelope, FetchRequest, StreamHeader
    from swarm.records import PeerId
    from swarm.transport.base import Frame
    from tests.simulator.network import Network
    from tests.simulator.process import Process

AGAIN = 0.2
"""Seconds after which a fetch is tried again that a partition or a frozen process holds up."""


class SimulatedTransport(Transport):
    """Listens at the name of its process."""

    def __init__(self, network: Network, process: Process) -> None:
        self.open = False
        """Whether it listens."""
        self._network = network
        self._process = process
        self._handler: Handler | None = None

    @property
    def handler(self) -> Handler:
        """The session that it serves."""
        assert self._handler is not None
        return self._handler

    def start(self, handler: Handler) -> str:
        self._handler = handler
        self.open = True
        return self._process.name

    def send(self, address: str, envelope: Envelope) -> None:
        if self.open:
            self._network.send(self._process, address, self._process.says(envelope))

    def receive(self, envelope: Envelope) -> None:
        """A message has arrived."""
        handler, heard = self.handler, self._process.hears(envelope)
        self._process.do(lambda: handler.on_envelope(heard))

    def lose(self, address: str, reason: str) -> None:
        """A connection is lost."""
        handler = self.handler
        if self.open:
            self._process.do(lambda: handler.on_lost(address, reason))

    def upload(
        self, address: str, header: StreamHeader, frames: Iterator[Frame], done: Callable[[str | None], None]
    ) -> Upload:
        self._process.uploads(header)
        upload = SimulatedUpload(self._network, self._process, address, header, frames, done)
        upload.start()
        return upload

    def fetch(self, address: str, request: FetchRequest, timeout: float) -> Iterator[memoryview]:
        network, process = self._network, self._process
        sleep, waited = process.executor.sleep, 0.0
        sleep(network.seconds())
        while True:
            target = network.reach(process, address)
            if network.connected(process.name, address) and not target.frozen:
                break
            if waited >= timeout:
                raise UnreachablePeerError(f"{address} is silent")
            sleep(AGAIN)
            waited += AGAIN
        for frame in target.transport.handler.serve(request):
            sleep(network.seconds())
            yield memoryview(b"".join(frame))
        process.fetched(target)

    def forget(self, address: str) -> None:
        self._network.unlink(self._process, address)

    def close(self, linger: float = 1.0) -> None:
        if self.open:
            self.open = False
            self._network.vanished(self._process)


class SimulatedUpload(Upload):
    """A stream of frames: read by a task of its sender, taken by one of its receiver."""

    _numbers = 0

    def __init__(
        self,
        network: Network,
        source: Process,
        to: PeerId,
        header: StreamHeader,
        frames: Iterator[Frame],
        done: Callable[[str | None], None],
    ) -> None:
        self.source = source
        self.to = to
        SimulatedUpload._numbers += 1
        self.number = SimulatedUpload._numbers
        self._network = network
        self._header = header
        self._frames = frames
        self._done = done
        self._target: Process | None = None
        self._over = False
        self._sent: deque[bytes] = deque()
        """Frames on their way; an empty one ends the stream."""

    def start(self) -> None:
        """Begin."""
        try:
            self._target = self._network.reach(self.source, self.to)
        except UnreachablePeerError as error:
            reason = str(error)
            self.source.executor.start("failed", lambda: self._done(reason))
            return
        self._network.opened(self)
        self._pipe: Queue[bytes] = Queue(self._target.executor)
        self._target.executor.start("take", self._take)
        self.source.executor.start("read", self._read)

    def cancel(self) -> None:
        self.stop()

    def stop(self) -> None:
        """Read and deliver nothing more, and tell nobody."""
        if not self._over:
            self._over = True
            self._network.ended(self)
            self._wake()

    def break_(self, reason: str) -> None:
        """It fails."""
        if not self._over:
            self.stop()
            self.source.do(lambda: self._done(reason))

    def _wake(self) -> None:
        if self._target:
            self._pipe.put(b"")  # no frame is empty: the receiver looks whether it is over

    def _read(self) -> None:
        arrival = 0.0
        for frame in self._frames:
            if self._over:
                return
            self._sent.append(b"".join(frame))
            arrival = self._network.carry(self, arrival)
        self._sent.append(b"")
        self._network.carry(self, arrival)

    def arrive(self) -> None:
        """The next frame has reached the other side."""
        if not self._over:
            self._pipe.put(self._sent.popleft())

    def _take(self) -> None:
        assert self._target is not None
        try:
            sink = self._target.transport.handler.open_sink(self._header)
            while frame := self._pipe.get():
                sink(memoryview(frame))
        except ExchangeError as error:
            self.break_(str(error))
            return
        if not self._over:
            self.stop()
            self.source.do(lambda: self._done(None))
