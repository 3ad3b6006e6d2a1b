"""What is sent to a whole peer: calls, streams and connections with changed bytes, and honest calls between them."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import replace
from random import Random
from typing import Any, NamedTuple

import grpc

from swarm.certification.keys import ProcessKey
from swarm.errors import ExchangeError, SwarmError
from swarm.messages import DataChannelOffer, Decide, Envelope, FetchRequest, Hello, Message, StreamHeader
from swarm.records import Attempt, Credential
from swarm.transport.base import Frame, Handler, Sink
from swarm.transport.data_channel.headers import MAGIC, PREAMBLE, VERSION, WELCOME
from swarm.transport.frames import JoiningSink
from swarm.transport.grpc import fetch_status
from swarm.transport.grpc.security import HEADER_KEY
from swarm.transport.grpc.service import (
    ANSWER,
    CALL_KEY,
    DATA_CHANNEL,
    DELIVER,
    DIAL_BACK,
    FETCH,
    PROBE,
    REACH,
    REVERSE,
    SERVICE,
    STATUS,
    UPLOAD,
)
from swarm.transport.grpc.wire import decode, encode
from tests.fuzz import examples, inputs
from tests.fuzz.mutation import BINARY, PROTOBUF, mutated, split

NAME = "berlin"
HONEST_NAME = "oslo"
PATIENCE = 10.0
"""Seconds for an honest call."""
SHORT = 0.3
"""Seconds for calls and connections that need not be answered."""
AT_ONCE = 16
"""Of these."""
ENDED = 0.1
"""How often a message that cannot be decoded ends a stream."""
MESSAGES = 32
"""Most in one stream."""
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes.fromhex("000000040000000000")


class Attack(NamedTuple):
    """A call or a connection, ready to be made."""

    inputs: int
    """How many changed inputs it sends."""
    send: Callable[[], object]


class Ally(Handler):
    """The peer that the fuzzed one is told of: takes its messages, and keeps its greeting."""

    def __init__(self) -> None:
        self.greeting: Hello | None = None

    def on_envelope(self, envelope: Envelope) -> None:
        if isinstance(envelope.message, Hello):
            self.greeting = envelope.message

    def on_lost(self, address: str, reason: str) -> None:
        pass

    def open_sink(self, header: StreamHeader) -> Sink:
        return JoiningSink(lambda _frame: None)

    def serve(self, request: FetchRequest) -> Iterable[Frame]:
        raise ExchangeError("it serves nothing")

    def status(self) -> dict[str, Any]:
        return {}


class Attacks:
    """Sends changed bytes to the peer at ``address``; every choice follows from ``seed``.

    Args:
        address: of the fuzzed peer.
        own: address of the ally, in whose name most is sent.
        greeting: what the fuzzed peer declares.
        seed: of all choices.
    """

    def __init__(self, address: str, own: str, greeting: Hello, seed: int) -> None:
        self._address = address
        self._random = Random(seed)  # noqa: S311 - no secret depends on it
        self._channel = grpc.insecure_channel(address, [("grpc.use_local_subchannel_pool", 1)])
        self._me = replace(greeting.peer, name=NAME, address=own, incarnation=examples.INCARNATION)
        self._attempt = Attempt(1, greeting.peer.name)
        self._lineage = greeting.commit.lineage if greeting.commit else examples.LINEAGE
        self._envelopes = [
            encode(Envelope(examples.SESSION, NAME, examples.INCARNATION, own, message))
            for message in self._messages(greeting)
        ]
        self._header = encode(replace(examples.HEADER, lineage=self._lineage, attempt=self._attempt))
        self._request = encode(examples.CHANNEL_REQUEST)
        self._reach = encode(replace(examples.REACH_REQUEST, address=own))
        self._dial_back = encode(examples.DIAL_BACK)
        self._fetch = encode(replace(examples.FETCH, parts=1, part=0))
        self._streams = [*inputs.entries("reception").values()]
        self._frames = [part[1:] for data in inputs.entries("exchange").values() for part in split(data)[1:]]
        self._data_port = self._offer().port
        self._kinds: Sequence[Callable[[], Attack]] = (
            *(self._deliver, self._deliver, self._deliver, self._upload, self._upload, self._get, self._ask),
            *(self._reached, self._reversed, self._answered),
            *(self._data_stream, self._data_stream, self._preamble, self._unknown, self._http),
        )
        self._pool = ThreadPoolExecutor(AT_ONCE)
        self._running: set[Future[None]] = set()

    def attack(self) -> int:
        """Begin one call or connection, with others that run already; returns how many changed inputs it sends."""
        if len(self._running) >= AT_ONCE:
            self._running = wait(self._running, return_when=FIRST_COMPLETED).not_done
        made = self._random.choice(self._kinds)()
        self._running.add(self._pool.submit(_send, made))
        return made.inputs

    def honest(self) -> str | None:
        """Ask for the status, and for a data channel that is then opened; why that failed, if it did."""
        try:
            status = fetch_status(self._address, PATIENCE)
            if not status:
                return f"it answered {status}"
            # Under a name of its own: the attacks may have used up what a peer of their name is given.
            offer = self._offer(HONEST_NAME)
            with _connected(offer.port, PATIENCE) as sock:
                sock.sendall(PREAMBLE.pack(MAGIC, VERSION, offer.token))
                if sock.recv(1) != WELCOME:
                    return "a data channel was not admitted"
        except (SwarmError, OSError, grpc.RpcError) as error:
            return f"{type(error).__name__}: {error}"
        return None

    def close(self) -> None:
        """Wait for what was begun, and end the connections."""
        self._pool.shutdown(cancel_futures=True)
        self._channel.close()

    def _messages(self, greeting: Hello) -> list[Message]:
        """Messages of a member, as far as that can be told from a greeting."""
        keys = {name: ProcessKey() for name in examples.SIGNERS}
        found = []
        for message in examples.messages(keys, self._lineage, self._attempt).values():
            match message:
                case Hello():
                    mine = Credential(NAME, keys[NAME].key)
                    hello = replace(message, peer=self._me, schema=greeting.schema, commit=greeting.commit)
                    found.append(replace(hello, credential=mine))
                case Decide() if greeting.commit:
                    found.append(Decide(greeting.commit))
                case _:
                    found.append(message)
        return found

    def _changed(self, data: bytes, others: Sequence[bytes] = (), form: Any = PROTOBUF) -> bytes:
        """``data`` after changes, or as it is, so that what follows it is read."""
        return data if self._random.random() < 0.3 else mutated(self._random, data, others, form)

    # Calls -----------------------------------------------------------------------------------------------------------

    def _deliver(self) -> Attack:
        """A stream of messages. One that cannot be decoded ends it, so that there is at most one, the last."""
        sent = []
        for _ in range(self._random.randint(1, MESSAGES)):
            sent.append(self._changed(self._random.choice(self._envelopes), self._envelopes))
            try:
                decode(Envelope, sent[-1])
            except ExchangeError:
                if self._random.random() < ENDED:
                    break
                sent.pop()
        return self._streamed(DELIVER, sent)

    def _upload(self) -> Attack:
        frames = [self._random.choice(self._frames) for _ in range(self._random.randint(0, MESSAGES))]
        sent = [self._changed(len(frame).to_bytes(4, "little") + frame, frames, BINARY) for frame in frames]
        return self._streamed(UPLOAD, sent, ((HEADER_KEY, self._changed(self._header)),))

    def _get(self) -> Attack:
        data = self._changed(self._fetch)
        return Attack(1, lambda: [*self._channel.unary_stream(FETCH, None, None)(data, timeout=SHORT)])

    def _ask(self) -> Attack:
        return self._called(DATA_CHANNEL, self._changed(self._request))

    def _reached(self) -> Attack:
        calls = ((REACH, self._reach), (PROBE, bytes(16)), (DIAL_BACK, self._dial_back))
        method, data = self._random.choice(calls)
        return self._called(method, self._changed(data))

    def _reversed(self) -> Attack:
        data = self._changed(self._reach)
        return Attack(1, lambda: [*self._channel.unary_stream(REVERSE, None, None)(data, timeout=SHORT)])

    def _answered(self) -> Attack:
        """Answer a call that nobody has made."""
        sent = [self._random.randbytes(self._random.randint(0, 40)) for _ in range(self._random.randint(0, 4))]
        call, name = self._channel.stream_stream(ANSWER, None, None), self._random.randbytes(16)
        return Attack(len(sent) + 1, lambda: [*call(iter(sent), timeout=SHORT, metadata=((CALL_KEY, name),))])

    def _unknown(self) -> Attack:
        method = self._random.choice((STATUS, f"/{SERVICE}/Nothing", "/x/y", DELIVER, DATA_CHANNEL))
        return self._called(method, self._random.randbytes(20))

    def _called(self, method: str, data: bytes) -> Attack:
        return Attack(1, lambda: self._channel.unary_unary(method, None, None)(data, timeout=SHORT))

    def _streamed(self, method: str, sent: Sequence[bytes], metadata: Sequence[tuple[str, bytes]] = ()) -> Attack:
        call = self._channel.stream_unary(method, None, None)
        return Attack(len(sent) + len(metadata), lambda: call(iter(sent), timeout=SHORT, metadata=tuple(metadata)))

    def _offer(self, name: str = NAME) -> DataChannelOffer:
        call = self._channel.unary_unary(DATA_CHANNEL, None, None)
        request = encode(replace(examples.CHANNEL_REQUEST, sender=name))
        return decode(DataChannelOffer, call(request, timeout=PATIENCE))

    # Connections -----------------------------------------------------------------------------------------------------

    def _data_stream(self) -> Attack:
        """Streams over a data channel that is asked for as it should be."""
        data = mutated(self._random, self._random.choice(self._streams), self._streams, BINARY)

        def send() -> None:
            offer = self._offer()
            _sent_raw(offer.port, PREAMBLE.pack(MAGIC, VERSION, offer.token) + data)

        return Attack(1, send)

    def _preamble(self) -> Attack:
        preamble = mutated(self._random, PREAMBLE.pack(MAGIC, VERSION, self._random.randbytes(32)), (), BINARY)
        return Attack(1, lambda: _sent_raw(self._data_port, preamble))

    def _http(self) -> Attack:
        """Bytes for the port of gRPC."""
        data = self._random.choice((PREFACE, PREFACE + self._random.randbytes(50), b"GET / HTTP/1.1\r\n\r\n"))
        changed, port = mutated(self._random, data, (PREFACE,), BINARY), int(self._address.rpartition(":")[2])
        return Attack(1, lambda: _sent_raw(port, changed))


def _send(attack: Attack) -> None:
    with suppress(OSError, grpc.RpcError, ExchangeError):  # that is how attacks end
        attack.send()


def _sent_raw(port: int, data: bytes) -> None:
    """Send ``data``, say that nothing follows, and read until the other side ends the connection, or a while."""
    with _connected(port, SHORT) as sock:
        sock.sendall(data)
        sock.shutdown(socket.SHUT_WR)
        while sock.recv(1 << 16):
            pass


def _connected(port: int, timeout: float) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout)
