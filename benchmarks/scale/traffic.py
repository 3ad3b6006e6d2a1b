"""A memory transport that counts what its peer sends, as large as it is on the wire."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

from swarm.messages import Envelope, StreamHeader
from swarm.transport.base import Frame, Upload
from swarm.transport.grpc.wire import encode
from swarm.transport.memory import MemoryNetwork, MemoryTransport

STREAM = "StreamHeader"


class Traffic:
    """What one peer has sent so far. Streams of weights count as one message each, their header."""

    def __init__(self) -> None:
        self.messages: Counter[str] = Counter()
        """By kind of message."""
        self.bytes: Counter[str] = Counter()
        """Encoded, by kind of message."""
        self.repeated: Counter[str] = Counter()
        """Messages, by kind, that the same peer was told before word for word; they are in neither of the above."""
        self.repeated_bytes: Counter[str] = Counter()
        """Of those."""
        self.data: Counter[str] = Counter()
        """Bytes of weights, with the headers of their frames, by whom they went to."""

        self._said: set[tuple[str, bytes]] = set()
        self._encoded: tuple[object, bytes] = None, b""
        """The message that was sent last: most of them go to many, and encoding takes longer than all the rest."""

    def sent(self, address: str, message: Envelope | StreamHeader) -> None:
        """Count a message."""
        kind = type(message.message).__name__ if isinstance(message, Envelope) else STREAM
        content = message.message if isinstance(message, Envelope) else message
        if content is not self._encoded[0]:
            self._encoded = content, encode(message)
        said = address, self._encoded[1]
        if said in self._said:
            self.repeated[kind] += 1
            self.repeated_bytes[kind] += len(said[1])
            return
        self._said.add(said)
        self.messages[kind] += 1
        self.bytes[kind] += len(said[1])

    def copy(self) -> Traffic:
        """As it stands, to be compared with later."""
        copied = Traffic()
        copied.messages, copied.bytes = self.messages.copy(), self.bytes.copy()
        copied.repeated, copied.repeated_bytes = self.repeated.copy(), self.repeated_bytes.copy()
        copied.data = self.data.copy()
        return copied

    def since(self, then: Traffic) -> Traffic:
        """What was sent after that copy was made."""
        less = Traffic()
        less.messages, less.bytes = self.messages - then.messages, self.bytes - then.bytes
        less.repeated = self.repeated - then.repeated
        less.repeated_bytes = self.repeated_bytes - then.repeated_bytes
        less.data = self.data - then.data
        return less


class CountingTransport(MemoryTransport):
    """Counts, and leaves the rest to memory."""

    def __init__(self, network: MemoryNetwork, traffic: Traffic) -> None:
        super().__init__(network)
        self._traffic = traffic

    def send(self, address: str, envelope: Envelope) -> None:
        self._traffic.sent(address, envelope)
        super().send(address, envelope)

    def upload(
        self, address: str, header: StreamHeader, frames: Iterator[Frame], done: Callable[[str | None], None]
    ) -> Upload:
        self._traffic.sent(address, header)
        return super().upload(address, header, self._counted(address, frames), done)

    def _counted(self, address: str, frames: Iterator[Frame]) -> Iterator[Frame]:
        """Each address has a counter of its own, because each stream has a thread of its own."""
        for frame in frames:
            self._traffic.data[address] += sum(memoryview(buffer).nbytes for buffer in frame)
            yield frame
