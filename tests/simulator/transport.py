"""One process's transport over the simulated network."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Protocol, cast

from swarm.errors import ExchangeError, UnreachablePeerError
from swarm.executor import Queue, Work
from swarm.transport.base import Handler, Transport, Upload
from swarm.transport.frames import deliver

if TYPE_CHECKING:
    from swarm.messages import Envelope, FetchRequest, StreamHeader
    from swarm.peer.engine import Engine
    from swarm.records import PeerId
    from swarm.transport.base import Frame
    from tests.simulator.executor import SimulatedExecutor
    from tests.simulator.network import Network

AGAIN = 0.2
"""Seconds after which a fetch is tried again that a partition or a frozen process holds up."""


class Owner(Protocol):
    """The process of a transport."""

    name: PeerId
    copy: int | None
    frozen: bool
    executor: SimulatedExecutor

    def do(self, work: Work) -> None:
        """Handle an input."""
        ...

    def says(self, envelope: Envelope) -> list[Envelope]:
        """What really goes out for a message of the session."""
        ...

    def serves(self, engine: Engine) -> None:
        """The worker of its session listens."""
        ...

    def uploads(self, header: StreamHeader) -> None:
        """It takes part in an exchange."""
        ...

    def sends(self, header: StreamHeader, to: PeerId, frame: Frame) -> Frame | None:
        """What really goes out for a frame of weights; None: nothing more of this stream."""
        ...

    def fetched(self) -> None:
        """It has fetched a model."""
        ...


class SimulatedTransport(Transport):
    """Listens at the name of its process."""

    def __init__(self, network: Network, process: Owner, session: str) -> None:
        self.name = process.name
        self.copy = process.copy
        self.session = session
        self.open = False
        """Whether it listens."""
        self.process = process
        self._network = network
        self._handler: Handler | None = None

    @property
    def handler(self) -> Handler:
        """The session that it serves."""
        assert self._handler is not None
        return self._handler

    def start(self, handler: Handler) -> str:
        self._handler = handler
        self.process.serves(cast("Engine", handler))
        self.open = True
        self._network.listen(self)
        return self.name

    def send(self, address: str, envelope: Envelope) -> None:
        if self.open:
            for each in self.process.says(envelope):
                self._network.send(self, address, each)

    def receive(self, envelope: Envelope) -> None:
        """A message has arrived."""
        handler = self.handler
        self.process.do(lambda: handler.on_envelope(envelope))

    def lose(self, address: str, reason: str) -> None:
        """A connection is lost."""
        handler = self.handler
        if self.open:
            self.process.do(lambda: handler.on_lost(address, reason))

    def upload(
        self, address: str, header: StreamHeader, frames: Iterator[Frame], done: Callable[[str | None], None]
    ) -> Upload:
        self.process.uploads(header)
        upload = SimulatedUpload(self._network, self, address, header, frames, done)
        upload.start()
        return upload

    def fetch(self, address: str, request: FetchRequest, timeout: float) -> Iterator[memoryview]:
        network, process = self._network, self.process
        sleep, waited = process.executor.sleep, 0.0
        sleep(network.seconds())
        while True:
            target = cast("SimulatedTransport", network.reach(self, address))
            if network.connected(self.name, address) and not target.process.frozen:
                break
            if waited >= timeout:
                raise UnreachablePeerError(f"{address} is silent")
            sleep(AGAIN)
            waited += AGAIN
        for frame in target.handler.serve(request):
            sleep(network.seconds())
            yield memoryview(b"".join(frame))
        process.fetched()

    def forget(self, address: str) -> None:
        self._network.unlink(self, address)

    def close(self, linger: float = 1.0) -> None:
        if self.open:
            self.open = False
            self._network.vanished(self)


class SimulatedUpload(Upload):
    """A stream of frames: read by a task of its sender, taken by one of its receiver."""

    _numbers = 0

    def __init__(
        self,
        network: Network,
        source: SimulatedTransport,
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
        self._target: SimulatedTransport | None = None
        self._over = False
        self._sent: deque[bytes] = deque()
        """Frames on their way; an empty one ends the stream."""

    def start(self) -> None:
        """Begin."""
        try:
            self._target = cast("SimulatedTransport", self._network.reach(self.source, self.to))
        except UnreachablePeerError as error:
            reason = str(error)
            self.source.process.executor.start("failed", lambda: self._done(reason))
            return
        self._network.opened(self)
        self._pipe: Queue[bytes] = Queue(self._target.process.executor)
        self._target.process.executor.start("take", self._take)
        self.source.process.executor.start("read", self._read)

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
            self.source.process.do(lambda: self._done(reason))

    def _wake(self) -> None:
        if self._target:
            self._pipe.put(b"")  # no frame is empty: the receiver looks whether it is over

    def _read(self) -> None:
        arrival = 0.0
        for frame in self._frames:
            if self._over:
                return
            sent = self.source.process.sends(self._header, self.to, frame)
            if sent is None:
                return
            self._sent.append(b"".join(sent))
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
            sink = self._target.handler.open_sink(self._header)
            while frame := self._pipe.get():
                deliver(memoryview(frame), sink)
        except ExchangeError as error:
            self.break_(str(error))
            return
        if not self._over:
            self.stop()
            self.source.process.do(lambda: self._done(None))
