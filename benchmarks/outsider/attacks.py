"""Attacks, by name. Each goes on until it is told to stop, and none should get past the handshake."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import grpc

from benchmarks.outsider import connections
from benchmarks.outsider.connections import HANDSHAKES, Connections, Target
from swarm.identity import Identity, files
from swarm.identity.certificates import ANY_PEER
from swarm.transport.data_channel.headers import MAGIC, PREAMBLE, VERSION
from swarm.transport.grpc import swarm_pb2
from swarm.transport.grpc.security import HEADER_KEY
from swarm.transport.grpc.service import DELIVER, STATUS, UPLOAD

Attack = Callable[[Sequence[Target], threading.Event], None]
MIB = 2**20


def of(stranger: Identity, authority: bytes) -> Mapping[str, Attack]:
    """All attacks, from an address without a certificate of the consortium.

    Args:
        stranger: of another consortium whose peers have the same names.
        authority: certificate of the consortium's authority, which is no secret.
    """
    context = connections.stranger(stranger.directory / files.IDENTITY)
    token = PREAMBLE.pack(MAGIC, VERSION, secrets.token_bytes(32))
    garbage = secrets.token_bytes(4096)
    messages, data = partial(_connect, port="messages"), partial(_connect, port="data")
    own = stranger.credentials
    calls = partial(_calls, grpc.ssl_channel_credentials(authority, own.key, own.chain))
    return {
        # what worked against the first build
        "idle uploads": calls(UPLOAD, 200, lambda: _idle(4)),
        "large message": calls(DELIVER, 1, lambda: iter([_leave(15 * MIB)])),
        "greeting of another session": calls(DELIVER, 2, lambda: iter([_hello("another session", 9 * MIB)])),
        "idle calls": calls(DELIVER, 1024, lambda: _idle(0)),
        "forged refusals": calls(DELIVER, 3, lambda: iter([_refuse()])),
        "greeting that fills the log": calls(DELIVER, 1, lambda: iter([_hello("demo", 3 * MIB)])),
        # connections to the port for messages
        "idle connections": messages(1000, connections.silent),
        "half a hello": messages(500, connections.sending(connections.client_hello()[:100])),
        "hello and no more": messages(500, connections.sending(connections.client_hello())),
        "byte by byte": messages(200, connections.silent, again=connections.trickle),
        "large hello": messages(100, connections.sending(connections.large_hello()), again=connections.endless),
        "garbage": messages(500, connections.sending(garbage)),
        "HTTP/1.1": messages(500, connections.sending(b"GET / HTTP/1.1\r\nHost: peer\r\n\r\n")),
        "HTTP/2 without TLS": messages(500, connections.sending(connections.http2(100))),
        "streams reset at once": messages(500, connections.sending(connections.http2(1000, reset_each=True))),
        "TLS without a certificate": messages(200, connections.encrypted(), rate=HANDSHAKES),
        "TLS 1.2": messages(200, connections.encrypted(connections.older()), rate=HANDSHAKES),
        "another consortium, silent": messages(200, connections.encrypted(context), rate=HANDSHAKES),
        "another consortium, HTTP/2": messages(
            200, connections.encrypted(context, connections.http2(100)), rate=HANDSHAKES
        ),
        "opened and reset": messages(1, connections.reset, keep=False),
        "half closed": messages(500, connections.half_closed),
        # connections to the data port
        "data: idle connections": data(1000, connections.silent),
        "data: byte by byte": data(100, connections.silent, again=connections.trickle),
        "data: garbage": data(500, connections.sending(garbage)),
        "data: a token without TLS": data(500, connections.sending(token)),
        "data: no certificate": data(100, connections.encrypted(None, token), rate=HANDSHAKES),
        "data: another consortium": data(100, connections.encrypted(context, token), rate=HANDSHAKES),
        # calls
        "status without TLS": _calls(None, STATUS, 4, lambda: iter([b""])),
        "uploads without TLS": _calls(None, UPLOAD, 50, lambda: _idle(4)),
    }


def _connect(most: int, speak: connections.Speak, *, port: str, **options: Any) -> Attack:
    def attack(targets: Sequence[Target], stop: threading.Event) -> None:
        Connections([getattr(target, port) for target in targets], most, speak, **options).run(stop)

    return attack


def _calls(
    credentials: grpc.ChannelCredentials | None, method: str, count: int, messages: Callable[[], Iterator[bytes]]
) -> Attack:
    """So many calls to each peer, once a second."""

    def attack(targets: Sequence[Target], stop: threading.Event) -> None:
        channels = [_channel(target.address, credentials) for target in targets]
        metadata = ((HEADER_KEY, swarm_pb2.StreamHeader(session="demo", sender="peer-0").SerializeToString()),)
        while not stop.is_set():
            pending = []
            for channel in channels:
                for _ in range(count):
                    if stop.wait(0.0005):
                        break
                    pending.append(channel.stream_unary(method, None, None).future(messages(), metadata=metadata))
            stop.wait(1.0)
            for call in pending:
                call.cancel()
        for channel in channels:
            channel.close()

    return attack


def _channel(address: str, credentials: grpc.ChannelCredentials | None) -> grpc.Channel:
    options: list[tuple[str, Any]] = [
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.max_send_message_length", -1),
        ("grpc.ssl_target_name_override", ANY_PEER),
    ]
    if credentials is None:
        return grpc.insecure_channel(address, options=options)
    return grpc.secure_channel(address, credentials, options=options)


def _idle(count: int) -> Iterator[bytes]:
    """A stream that goes on: messages that are no whole frame."""
    yield (8 * MIB).to_bytes(4, "little") + bytes(MIB // 2)
    for _ in range(count):
        yield bytes(MIB // 2)


def _leave(size: int) -> bytes:
    return _envelope(leave=swarm_pb2.Leave(reason="x" * size))


def _refuse() -> bytes:
    return _envelope(refuse=swarm_pb2.Refuse(reason="go away", final=True))


def _hello(session: str, size: int) -> bytes:
    peer = swarm_pb2.PeerInfo(name="peer-9", incarnation="x" * size, address="127.0.0.9:9", session=session)
    return _envelope(session, hello=swarm_pb2.Hello(peer=peer, wants_reply=True))


def _envelope(session: str = "demo", **message: Any) -> bytes:
    envelope = swarm_pb2.Envelope(session=session, sender="peer-0", incarnation="i", address="127.0.0.9:9", **message)
    return bytes(envelope.SerializeToString())
