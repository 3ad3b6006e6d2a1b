"""The incoming side: what other peers call here."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import grpc

from swarm.errors import ExchangeError
from swarm.messages import DataChannelRequest, DialBackRequest, Envelope, FetchRequest, StreamHeader
from swarm.transport.grpc.parts import Joining, parts
from swarm.transport.grpc.security import HEADER_KEY
from swarm.transport.grpc.wire import decode, encode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from swarm.identity import Identity
    from swarm.transport.base import Handler
    from swarm.transport.data_channel.control import DataChannels
    from swarm.transport.grpc.admission import Admission
    from swarm.transport.grpc.security import Context
    from swarm.transport.pacing import Pacing

    Method = grpc.RpcMethodHandler[bytes, bytes]

SERVICE = "swarm.v1.Peer"
DELIVER, UPLOAD, FETCH, DATA_CHANNEL, DIAL_BACK, STATUS, CONSORTIUM = (
    f"/{SERVICE}/{method}"
    for method in ("Deliver", "Upload", "Fetch", "DataChannel", "DialBack", "Status", "Consortium")
)
REACH, PROBE, REVERSE, ANSWER = (f"/{SERVICE}/{method}" for method in ("Reach", "Probe", "Reverse", "Answer"))
REACH_DATA, MEASURE = (f"/{SERVICE}/{method}" for method in ("ReachData", "Measure"))
METHOD_KEY = "swarm-method"
CALL_KEY = "swarm-call-bin"
MAX_CALLS = 1536
"""Streams served at once; others are refused until one ends."""


def methods_of_a_peer(
    handler: Handler,
    data_channels: DataChannels | None,
    identity: Identity | None,
    admission: Admission,
    pacing: Pacing,
    adopt: Callable[[str, bytes], object],
) -> dict[str, Method]:
    """The methods of a peer by name, serving ``handler``, and ``data_channels`` where there are any.

    With an ``identity`` a caller speaks only for the peer that its certificate names. Nothing that it sends is decoded
    before that is checked, nor where it has too many calls open, which is what ``admission`` decides. Weights are sent
    as fast as ``pacing`` lets them go. ``adopt`` takes a document of the consortium, and who sent it.
    """

    def deliver(messages: Iterator[bytes], context: Context) -> bytes:
        with admission.to("Deliver", context) as (caller, call):
            for data in until_broken(messages):
                call.sends()
                envelope = decode(Envelope, data)
                caller.require(envelope.sender)
                handler.on_envelope(envelope)
        return b""

    def upload(messages: Iterator[bytes], context: Context) -> bytes:
        with admission.to("Upload", context) as (caller, call):
            header = decode(StreamHeader, metadata(context, HEADER_KEY))
            caller.require(header.sender)
            joining = Joining(handler.open_sink(header))
            for message in until_broken(messages):
                caller.require_trust()
                call.sends()
                joining.take(message)
            joining.end()
        return b""

    def fetch(request: bytes, context: Context) -> Iterator[bytes]:
        with admission.to("Fetch", context) as (caller, call):
            fetch = decode(FetchRequest, request)
            caller.require(fetch.sender)
            for frame in handler.serve(fetch):
                for part in pacing.messages(parts(frame)):
                    caller.require_trust()  # a download takes long enough for a revocation
                    call.sends()
                    yield part

    def channel(request: bytes, context: Context) -> bytes:
        with admission.to("DataChannel", context) as (caller, _):
            asked = decode(DataChannelRequest, request)
            caller.require(asked.sender)
            if data_channels is None:
                raise ExchangeError("it takes no data channel")
            return encode(data_channels.issue(asked))

    def dial_back(request: bytes, context: Context) -> bytes:
        with admission.to("DialBack", context) as (caller, _):
            asked = decode(DialBackRequest, request)
            caller.require(asked.request.sender)
            if data_channels is None or caller.address is None:
                raise ExchangeError("it opens no data channel to this caller")
            data_channels.dial_back(caller.address, asked)
        return b""

    def status(_request: bytes, context: Context) -> bytes:
        with admission.to("Status", context):
            return json.dumps(handler.status()).encode()

    def consortium(request: bytes, context: Context) -> bytes:
        with admission.to("Consortium", context) as (caller, _):
            known, told = int.from_bytes(request[:8], "little"), request[8:]
            if told and identity and identity.document and known > identity.document.version:
                adopt(caller.name, told)
            document = identity.document if identity else None
            return identity.document_bytes if identity and document and document.version > known else b""

    return {
        "Deliver": grpc.stream_unary_rpc_method_handler(deliver),
        "Upload": grpc.stream_unary_rpc_method_handler(upload),
        "Fetch": grpc.unary_stream_rpc_method_handler(fetch),
        "DataChannel": grpc.unary_unary_rpc_method_handler(channel),
        "DialBack": grpc.unary_unary_rpc_method_handler(dial_back),
        "Status": grpc.unary_unary_rpc_method_handler(status),
        "Consortium": grpc.unary_unary_rpc_method_handler(consortium),
    }


def until_broken(requests: Iterator[bytes]) -> Iterator[bytes]:
    """The requests of a stream, until it ends either way: whom it breaks for notices on its own stream."""
    while True:
        try:
            yield next(requests)
        except (StopIteration, grpc.RpcError):
            return


def metadata(context: Context, key: str) -> bytes:
    """What the metadata of a call hold under ``key``.

    Raises:
        ExchangeError: nothing.
    """
    for name, value in context.invocation_metadata():
        if name == key and isinstance(value, bytes):
            return value
    raise ExchangeError(f"a call came without its {key}")
