"""Calls to a peer that cannot be reached, over connections that it has opened.

Such a peer keeps a call of ``Reverse`` open here: a route to it. Where something is to be called there, the route asks
it to answer, which it does with a call of ``Answer``: that one carries the messages of the call both ways. So each call
has the flow control, the cancellation and the certificate of a call of its own.
"""

from __future__ import annotations

import queue
import secrets
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Self

import grpc

from swarm.errors import BrokenStreamError
from swarm.transport.grpc.security import HEADER_KEY
from swarm.transport.grpc.service import METHOD_KEY
from swarm.transport.grpc.status import CallError
from swarm.transport.pipe import Pipe

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from swarm.transport.grpc.connection_limit import Place

CALL_BYTES = 16
MESSAGE, END = b"\0", b"\1"
"""Before each message of an answered call; see ``swarm.proto``."""
WAITING = 4
"""Answered messages that may wait for whoever reads them."""
_CODES = {code.value[0]: code for code in grpc.StatusCode}
_ENDED = "the connection that it opened has ended"


class ReverseCall:
    """A call that the other side answers: what gRPC's calls are on a channel of its own.

    Args:
        method: that is called.
        requests: its messages; not read any more once the call has ended.
        header: of a stream of weights; else empty.
    """

    def __init__(self, method: str, requests: Iterable[bytes], header: bytes) -> None:
        self._method = method
        self._header = header
        self._requests: Iterable[bytes] = requests
        self._responses: Pipe[bytes] = Pipe(WAITING)
        self._result: bytes | None = None
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._code: grpc.StatusCode | None = None
        self._details = ""
        self._callbacks: list[Callable[[ReverseCall], None]] = []
        self._context: grpc.ServicerContext | None = None

    def answered(self, answers: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        """What the other side is sent, which answers with ``answers``."""
        with self._lock:
            if self._code is not None:
                return
            self._context = context
            requests = self._requests
        context.send_initial_metadata(((METHOD_KEY, self._method), (HEADER_KEY, self._header)))
        threading.Thread(target=self._receive, args=(answers,), name="swarm-reverse", daemon=True).start()
        for request in requests:
            if self._over.is_set():
                return
            yield MESSAGE + request
        del requests  # they may know whole models
        yield END
        self._over.wait()

    def fail(self, code: grpc.StatusCode, details: str) -> None:
        """End it, unless it has ended."""
        self._finish(code, details)
        with self._lock:
            context = self._context
        if context is not None:
            context.cancel()  # type: ignore[no-untyped-call] # the stubs leave its type out

    def cancel(self) -> None:
        """End it on this side."""
        self.fail(grpc.StatusCode.CANCELLED, "this peer cancelled the call")

    def code(self) -> grpc.StatusCode | None:
        """How it ended; None if it has not."""
        return self._code

    def details(self) -> str:
        """Why it ended so."""
        return self._details

    def add_done_callback(self, callback: Callable[[ReverseCall], None]) -> None:
        """Call ``callback`` with this call once it has ended, on any thread."""
        with self._lock:
            if self._code is None:
                self._callbacks.append(callback)
                return
        callback(self)

    def result(self) -> bytes:
        """The only response, once it is there.

        Raises:
            CallError: there is none.
        """
        if self._result is None:
            self._result = b"".join(self)
        return self._result

    def __iter__(self) -> Iterator[bytes]:
        """The responses, as they come. Raises a :class:`CallError` where the call does not end well."""
        with suppress(BrokenStreamError):
            yield from self._responses.items()
        if self._code is not grpc.StatusCode.OK:
            raise CallError(self._code or grpc.StatusCode.UNAVAILABLE, self._details)

    def _receive(self, answers: Iterator[bytes]) -> None:
        try:
            for answer in answers:
                kind, content = answer[:1], answer[1:]
                if kind != MESSAGE:
                    code = _CODES.get(content[0] if content else -1, grpc.StatusCode.UNKNOWN)
                    self._finish(code, content[1:].decode(errors="replace"))
                    return
                self._responses.put(content)
        except (grpc.RpcError, BrokenStreamError):
            pass
        self._finish(grpc.StatusCode.UNAVAILABLE, _ENDED)

    def _finish(self, code: grpc.StatusCode, details: str) -> None:
        with self._lock:
            if self._code is not None:
                return
            self._code, self._details = code, details
            self._requests = ()
            callbacks, self._callbacks = self._callbacks, []
        if code is grpc.StatusCode.OK:
            self._responses.end()
        else:
            self._responses.break_(CallError(code, details))
        self._over.set()
        for callback in callbacks:
            callback(self)


class Route:
    """The way to one peer: the stream on which it is asked to answer calls.

    Args:
        caller: the peer as its certificate names it, or the host that it calls from.
        place: the other end of the connection that the stream is on.
    """

    def __init__(self, caller: str, place: Place) -> None:
        self.caller = caller
        self._lock = threading.Lock()
        self._asked: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._waiting: dict[bytes, ReverseCall] = {}
        """Calls that the other side has not begun to answer, by what names them."""
        self._calls: dict[ReverseCall, Place | None] = {}
        """All that have not ended, with the other ends of the connections that they are on."""
        self._place = place
        self.ended = False
        """Whether it cannot be used any more."""

    @property
    def places(self) -> tuple[Place, ...]:
        """The other ends of the connections on which this peer serves it."""
        with self._lock:
            return (self._place, *(place for place in self._calls.values() if place))

    def begin(self, call: ReverseCall, *, weights: bool) -> None:
        """Ask the other side to answer ``call``."""
        name = secrets.token_bytes(CALL_BYTES)
        with self._lock:
            if not self.ended:
                self._waiting[name], self._calls[call] = call, None
        if self.ended:
            call.fail(grpc.StatusCode.UNAVAILABLE, _ENDED)
            return
        call.add_done_callback(self._forget)
        self._asked.put(bytes([weights]) + name)

    def asks(self, timeout: float) -> bytes:
        """What the other side is to be told next; empty if nothing within ``timeout`` seconds or the route ended."""
        with suppress(queue.Empty):
            return self._asked.get(timeout=timeout) or b""
        return b""

    def take(self, name: bytes, place: Place) -> ReverseCall | None:
        """The call of that name, which is answered over a connection from ``place``."""
        with self._lock:
            call = self._waiting.pop(name, None)
            if call in self._calls:
                self._calls[call] = place
            return call

    def end(self, details: str = _ENDED) -> None:
        """End it and all of its calls."""
        with self._lock:
            self.ended = True
            calls = tuple(self._calls)
            self._waiting.clear()
        self._asked.put(None)
        for call in calls:
            call.fail(grpc.StatusCode.UNAVAILABLE, details)

    def _forget(self, call: ReverseCall) -> None:
        with self._lock:
            self._calls.pop(call, None)
            for name in [name for name, waiting in self._waiting.items() if waiting is call]:
                del self._waiting[name]


class ReverseChannel:
    """Makes calls over a route: what an open ``grpc.Channel`` is for a peer that can be reached.

    Args:
        route: to the peer.
        weights: the calls carry weights, so that messages must not wait behind them.
    """

    def __init__(self, route: Route, *, weights: bool) -> None:
        self._route = route
        self._weights = weights
        self._lock = threading.Lock()
        self._calls: set[ReverseCall] = set()
        self._closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def stream_unary(self, method: str, *_raw: None) -> _Method:
        """As of a ``grpc.Channel``, for bytes."""
        return _Method(self, method)

    def unary_unary(self, method: str, *_raw: None) -> _Method:
        """As of a ``grpc.Channel``, for bytes."""
        return _Method(self, method)

    def unary_stream(self, method: str, *_raw: None) -> Callable[[bytes], ReverseCall]:
        """As of a ``grpc.Channel``, for bytes."""
        return _Method(self, method).future

    def close(self) -> None:
        """Cancel its calls and make no more."""
        with self._lock:
            self._closed = True
            calls = tuple(self._calls)
        for call in calls:
            call.cancel()

    def begin(self, method: str, requests: Iterable[bytes], header: bytes) -> ReverseCall:
        """Make a call.

        Raises:
            ValueError: it is closed.
        """
        call = ReverseCall(method, requests, header)
        with self._lock:
            if self._closed:
                raise ValueError("the channel is closed")
            self._calls.add(call)
        call.add_done_callback(self._forget)
        self._route.begin(call, weights=self._weights)
        return call

    def _forget(self, call: ReverseCall) -> None:
        with self._lock:
            self._calls.discard(call)


class _Method:
    """One method of the peer at the other end."""

    def __init__(self, channel: ReverseChannel, method: str) -> None:
        self._channel = channel
        self._method = method

    def future(
        self,
        requests: bytes | Iterable[bytes],
        metadata: Sequence[tuple[str, bytes]] = (),
        timeout: float | None = None,
    ) -> ReverseCall:
        """Begin a call, and return at once. It fails where it has not ended within ``timeout`` seconds."""
        stream = (requests,) if isinstance(requests, bytes) else requests
        call = self._channel.begin(self._method, stream, dict(metadata).get(HEADER_KEY, b""))
        if timeout is not None:
            late = threading.Timer(timeout, call.fail, (grpc.StatusCode.DEADLINE_EXCEEDED, "no answer in time"))
            late.daemon = True
            late.start()
            call.add_done_callback(lambda _call: late.cancel())
        return call

    def __call__(self, request: bytes, timeout: float) -> bytes:
        """The only response.

        Raises:
            CallError: there is none within ``timeout`` seconds.
        """
        return self.future(request, timeout=timeout).result()
