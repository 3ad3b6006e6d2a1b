"""Single calls to a peer: fetch a committed model, ask for something, ask for its status."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Any

import grpc

from swarm.addresses import Address
from swarm.errors import BrokenStreamError, ExchangeError, SwarmError, TransportError, UnreachablePeerError
from swarm.proxy import Proxies
from swarm.transport.frames import JoiningSink
from swarm.transport.grpc.diagnosis import explain, may_explain
from swarm.transport.grpc.parts import Joining
from swarm.transport.grpc.security import open_channel
from swarm.transport.grpc.service import FETCH, STATUS
from swarm.transport.grpc.status import to_error
from swarm.transport.pipe import Pipe, received

if TYPE_CHECKING:
    from collections.abc import Iterator

    from swarm.identity import Identity
    from swarm.transport.grpc.reverse import ReverseChannel

FETCHED = 16
"""Messages that may wait for whoever fetches."""


def fetch_frames(
    address: str, request: bytes, timeout: float, channel: grpc.Channel | ReverseChannel
) -> Iterator[memoryview]:
    """The frames that the peer at ``address`` serves for an encoded fetch request; see ``Transport.fetch``.

    ``channel`` leads there, and is closed at the end.
    """
    pipe: Pipe[bytes] = Pipe(FETCHED)
    with channel:
        call: Any = channel.unary_stream(FETCH, None, None)(request)
        threading.Thread(target=_pump, args=(call, pipe, address), name="swarm-fetch", daemon=True).start()
        try:
            frames: list[memoryview] = []
            joining = Joining(JoiningSink(frames.append))
            for message in received(pipe, address, timeout):
                joining.take(message)
                yield from frames
                frames.clear()
            joining.end()
        finally:
            pipe.break_(ExchangeError("the reader is gone"))
            call.cancel()


def call_once(
    channel: grpc.Channel | ReverseChannel, method: str, request: bytes, timeout: float, address: str
) -> bytes:
    """The answer of the peer at ``address``, to which ``channel`` leads; that is closed at the end.

    Raises:
        UnreachablePeerError: nobody answers there within ``timeout`` seconds.
        ExchangeError: the peer refuses.
        TransportError: it knows no such method, or fails.
    """
    with channel:
        try:
            return channel.unary_unary(method, None, None)(request, timeout=timeout)
        except grpc.RpcError as error:
            raise to_error(error, address) from None


def fetch_status(
    address: str, timeout: float = 5.0, identity: Identity | None = None, proxies: Proxies | None = None
) -> dict[str, Any]:
    """What the peer at ``address`` tells of itself, within ``timeout`` seconds; JSON types only.

    With an ``identity`` over TLS; a peer that has one answers no other call. Without ``proxies`` those of the
    environment hold.

    Raises:
        AddressError: ``address`` is not ``host:port``.
        UnreachablePeerError: nobody answers there.
        TransportError: whoever answers is no Swarm peer, or fails to.
    """
    where = Address.parse(address)
    proxies = proxies or Proxies()
    try:
        return ask_status(open_channel(where, timeout, identity, proxies=proxies), timeout, address)
    except SwarmError as error:
        found = explain(where, identity, proxies) if may_explain(str(error)) else ""
        if found:
            raise UnreachablePeerError(found) from None
        raise


def ask_status(channel: grpc.Channel | ReverseChannel, timeout: float, address: str) -> dict[str, Any]:
    """What the peer at ``address`` tells of itself, to which ``channel`` leads; that is closed at the end.

    Raises:
        SwarmError: it does not answer with a status.
    """
    try:
        answer = json.loads(call_once(channel, STATUS, b"", timeout, address))
    except (ValueError, RecursionError) as error:
        raise TransportError(f"{address} did not answer with a status: {error}") from error
    if not isinstance(answer, dict):
        raise TransportError(f"{address} did not answer with a status")
    return answer


def _pump(call: Any, pipe: Pipe[bytes], address: str) -> None:
    try:
        for data in call:
            pipe.put(data)
        pipe.end()
    except grpc.RpcError:
        pipe.break_(to_error(call, address))
    except BrokenStreamError:
        pass
