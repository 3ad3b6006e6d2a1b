"""The incoming side: what other peers call here."""

from __future__ import annotations

import json
import logging
import threading
from concurrent import futures
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import grpc

from swarm.errors import ExchangeError, UntrustedPeerError
from swarm.messages import DataChannelRequest, Envelope, FetchRequest, StreamHeader
from swarm.transport.grpc.parts import Joining, parts
from swarm.transport.grpc.security import Caller
from swarm.transport.grpc.status import MAX_DETAILS
from swarm.transport.grpc.wire import decode, encode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from swarm.identity import Identity
    from swarm.transport.base import Handler
    from swarm.transport.data_channel.control import Issue

SERVICE = "swarm.v1.Peer"
DELIVER, UPLOAD, FETCH, DATA_CHANNEL, STATUS, CONSORTIUM = (
    f"/{SERVICE}/{method}" for method in ("Deliver", "Upload", "Fetch", "DataChannel", "Status", "Consortium")
)
HEADER_KEY = "swarm-header-bin"
MAX_CALLS = 1024
"""Streams served at once; others are refused until one ends."""

T = TypeVar("T")
_log = logging.getLogger("swarm.transport")


def method_handlers(
    handler: Handler, issue: Issue | None, identity: Identity | None
) -> grpc.GenericRpcHandler[bytes, bytes]:
    """The methods of a peer, serving ``handler``, and data channels where there is an ``issue``.

    With an ``identity`` a caller speaks only for the peer that its certificate names.
    """

    def deliver(messages: Iterator[bytes], context: grpc.ServicerContext) -> bytes:
        with _told(context):
            caller = Caller(context, identity)
            for data in _until_broken(messages):
                envelope = decode(Envelope, data)
                caller.require(envelope.sender)
                handler.on_envelope(envelope)
        return b""

    def upload(messages: Iterator[bytes], context: grpc.ServicerContext) -> bytes:
        with _told(context):
            header = decode(StreamHeader, _metadata(context, HEADER_KEY))
            Caller(context, identity).require(header.sender)
            joining = Joining(handler.open_sink(header))
            for message in _until_broken(messages):
                joining.take(message)
            joining.end()
        return b""

    def fetch(request: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
        with _told(context):
            fetch = decode(FetchRequest, request)
            Caller(context, identity).require(fetch.sender)
            for frame in handler.serve(fetch):
                yield from parts(frame)

    def channel(request: bytes, context: grpc.ServicerContext) -> bytes:
        with _told(context):
            asked = decode(DataChannelRequest, request)
            Caller(context, identity).require(asked.sender)
            if issue is None:
                raise ExchangeError("it takes no data channel")
            return encode(issue(asked))

    def status(_request: bytes, context: grpc.ServicerContext) -> bytes:
        with _told(context):
            Caller(context, identity)
            return json.dumps(handler.status()).encode()

    def consortium(request: bytes, context: grpc.ServicerContext) -> bytes:
        with _told(context):
            Caller(context, identity)
            document = identity.document if identity else None
            known = int.from_bytes(request[:8], "little")
            return identity.document_bytes if identity and document and document.version > known else b""

    return grpc.method_handlers_generic_handler(
        SERVICE,
        {
            "Deliver": grpc.stream_unary_rpc_method_handler(deliver),
            "Upload": grpc.stream_unary_rpc_method_handler(upload),
            "Fetch": grpc.unary_stream_rpc_method_handler(fetch),
            "DataChannel": grpc.unary_unary_rpc_method_handler(channel),
            "Status": grpc.unary_unary_rpc_method_handler(status),
            "Consortium": grpc.unary_unary_rpc_method_handler(consortium),
        },
    )


class ThreadPerCall(futures.ThreadPoolExecutor):
    """A thread for each call, so that streams of weights cannot keep messages waiting.

    The threads are daemons, unlike a pool's: a training script that fails must not hang at its exit on peers that
    are still sending. Their number is bounded by the server's ``maximum_concurrent_rpcs``.
    """

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> futures.Future[T]:
        future: futures.Future[T] = futures.Future()

        def run() -> None:
            try:
                future.set_result(fn(*args, **kwargs))
            except BaseException as error:  # noqa: BLE001 - a future takes whatever is raised
                future.set_exception(error)

        threading.Thread(target=run, name="swarm-call", daemon=True).start()
        return future


def _until_broken(requests: Iterator[bytes]) -> Iterator[bytes]:
    """The requests of a stream, until it ends either way: whom it breaks for notices on its own stream."""
    while True:
        try:
            yield next(requests)
        except (StopIteration, grpc.RpcError):
            return


def _metadata(context: grpc.ServicerContext, key: str) -> bytes:
    for name, value in context.invocation_metadata():
        if name == key and isinstance(value, bytes):
            return value
    raise ExchangeError(f"a stream came without its {key}")


@contextmanager
def _told(context: grpc.ServicerContext) -> Iterator[None]:
    """Turn what a handler raises into the status of the call."""
    try:
        yield
    except UntrustedPeerError as error:
        context.abort(grpc.StatusCode.PERMISSION_DENIED, str(error)[:MAX_DETAILS])
    except ExchangeError as error:
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, str(error)[:MAX_DETAILS])
    except Exception:  # noqa: BLE001 - told to the caller as a status
        _log.exception("a call of another peer could not be served")
        context.abort(grpc.StatusCode.INTERNAL, "an unexpected error")
