"""A memory transport that counts what its peer sends, with the sizes that gRPC would send."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

from swarm.messages import Envelope, StreamHeader
from swarm.transport.base import Frame, Upload
from swarm.transport.grpc.wire import encode
from swarm.transport.memory import MemoryNetwork, MemoryTransport

STREAM = "StreamHeader"
_COUNTERS = ("messages", "bytes", "repeated", "repeated_bytes", "data")


class Traffic:
    """What one peer has sent so far. Streams of weights count as one message each, their header."""

    def __init__(self) -> None:
        self.messages: Counter[str] = Counter()
        """By kind of message."""
        self.bytes: Counter[str] = Counter()
        """Encoded, by kind of message."""
        self.repeated: Counter[str] = Counter()
        """Retransmitted messages, by kind: equal to one that the same peer got before. ``messages`` leaves them out."""
        self.repeated_bytes: Counter[str] = Counter()
        """Bytes of retransmitted messages, by kind. ``bytes`` leaves them out."""
        self.data: Counter[str] = Counter()
        """Bytes of weights, with the headers of their frames, by the receiver's address."""

        self._sent: set[tuple[str, bytes]] = set()
        self._encoded: tuple[object, bytes] = None, b""
        """The message sent last. Most messages go to many peers, and encoding takes the most time here."""

    def sent(self, address: str, message: Envelope | StreamHeader) -> None:
        """Count a message."""
        kind = type(message.message).__name__ if isinstance(message, Envelope) else STREAM
        content = message.message if isinstance(message, Envelope) else message
        if content is not self._encoded[0]:
            self._encoded = content, encode(message)
        sent = address, self._encoded[1]
        if sent in self._sent:
            self.repeated[kind] += 1
            self.repeated_bytes[kind] += len(sent[1])
            return
        self._sent.add(sent)
        self.messages[kind] += 1
        self.bytes[kind] += len(sent[1])

    def copy(self) -> Traffic:
        """The counts so far, for ``since``."""
        copied = Traffic()
        for name in _COUNTERS:
            setattr(copied, name, getattr(self, name).copy())
        return copied

    def since(self, then: Traffic) -> Traffic:
        """What was sent after ``then`` was copied."""
        difference = Traffic()
        for name in _COUNTERS:
            setattr(difference, name, getattr(self, name) - getattr(then, name))
        return difference


class CountingTransport(MemoryTransport):
    """A memory transport that counts what is sent."""

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
        """Only this stream's thread changes the counter of this address."""
        for frame in frames:
            self._traffic.data[address] += sum(memoryview(buffer).nbytes for buffer in frame)
            yield frame
