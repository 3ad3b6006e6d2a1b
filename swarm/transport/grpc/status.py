"""What a gRPC status means in Swarm's own errors."""

from __future__ import annotations

from typing import Any

import grpc

from swarm.errors import ExchangeError, SwarmError, TransportError, UnknownCallError, UnreachablePeerError
from swarm.text import printable

MAX_DETAILS = 1000
"""Characters of a status; it travels in a header of limited size."""

BROKEN = ("Stream removed", "Cancelling all calls", "Socket closed", "recvmsg:", "Broken pipe")
"""How gRPC says, as an unknown error or an unavailable peer, that the connection of an open call broke."""

ERRORS: dict[grpc.StatusCode, tuple[type[SwarmError], str]] = {
    grpc.StatusCode.OK: (TransportError, "{address} ended the call before it was complete"),
    grpc.StatusCode.CANCELLED: (UnreachablePeerError, "{address} or this peer closed the connection"),
    grpc.StatusCode.UNKNOWN: (TransportError, "{address} failed in an unknown way: {details}"),
    grpc.StatusCode.INVALID_ARGUMENT: (ExchangeError, "{address} cannot read what this peer sends: {details}"),
    grpc.StatusCode.DEADLINE_EXCEEDED: (UnreachablePeerError, "{address} did not answer in time"),
    grpc.StatusCode.NOT_FOUND: (ExchangeError, "{address} does not have what was asked for: {details}"),
    grpc.StatusCode.ALREADY_EXISTS: (ExchangeError, "{address} has this already: {details}"),
    grpc.StatusCode.PERMISSION_DENIED: (TransportError, "{address} does not admit this peer: {details}"),
    grpc.StatusCode.RESOURCE_EXHAUSTED: (TransportError, "{address} has reached a limit: {details}"),
    grpc.StatusCode.FAILED_PRECONDITION: (ExchangeError, "{address} refused: {details}"),
    grpc.StatusCode.ABORTED: (TransportError, "{address} broke the call off: {details}"),
    grpc.StatusCode.OUT_OF_RANGE: (ExchangeError, "{address} refused a value: {details}"),
    grpc.StatusCode.UNIMPLEMENTED: (
        UnknownCallError,
        "{address} is no Swarm peer, or one of another version: {details}",
    ),
    grpc.StatusCode.INTERNAL: (TransportError, "{address} failed: {details}; its log tells more"),
    grpc.StatusCode.UNAVAILABLE: (UnreachablePeerError, "{address} cannot be reached: {details}"),
    grpc.StatusCode.DATA_LOSS: (ExchangeError, "{address} lost data: {details}"),
    grpc.StatusCode.UNAUTHENTICATED: (TransportError, "{address} could not tell who this peer is: {details}"),
}


def to_error(call: Any, address: str) -> SwarmError:
    """The error that a finished ``call`` to ``address`` stands for."""
    code, details = call.code(), call.details()
    if code in {grpc.StatusCode.UNKNOWN, grpc.StatusCode.UNAVAILABLE} and (details or "").startswith(BROKEN):
        return UnreachablePeerError(f"the connection to {address} broke")
    kind, sentence = ERRORS[code]
    details = printable(details or "no reason given", MAX_DETAILS)
    return kind(sentence.format(address=address, details=details))


class CallError(grpc.RpcError):
    """How a call ended that travels inside another one, of which gRPC does not know."""

    def __init__(self, code: grpc.StatusCode, details: str) -> None:
        super().__init__(details)
        self._code, self._details = code, details

    def code(self) -> grpc.StatusCode:
        return self._code

    def details(self) -> str:
        return self._details
