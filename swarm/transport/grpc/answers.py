"""What a peer does to be reached by one that cannot connect to it: it answers calls over connections of its own."""

from __future__ import annotations

import logging
import queue
import threading
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import grpc

from swarm.addresses import place_of
from swarm.errors import ExchangeError
from swarm.messages import ReachAnswer, ReachRequest
from swarm.transport.grpc.reverse import CALL_BYTES, END, MESSAGE, ReverseChannel
from swarm.transport.grpc.routes import DIAL_SECONDS
from swarm.transport.grpc.security import HEADER_KEY, AnswerContext
from swarm.transport.grpc.service import ANSWER, CALL_KEY, METHOD_KEY, REACH, REVERSE, SERVICE
from swarm.transport.grpc.status import MAX_DETAILS, CallError
from swarm.transport.grpc.wire import decode, encode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from swarm.addresses import Address
    from swarm.transport.grpc.service import Method

MAX_ANSWERS = 64
"""Calls of one peer that are answered at once."""
REACH_SECONDS = 2 * DIAL_SECONDS
"""In which a peer must have said whether it can connect to this one."""

_log = logging.getLogger("swarm.transport")


class OneWay:
    """From where this peer cannot be reached, as others have said, and telling the user.

    Args:
        own: what others are asked: the address of this peer, and the nonce by which it is recognised there.
    """

    def __init__(self, own: ReachRequest) -> None:
        self.own = own
        self._lock = threading.Lock()
        self._names: dict[str, str] = {}
        """By the address of each peer that cannot connect to this one, the name that it gave."""
        self._first = ""
        self._apart: set[str] = set()

    def name(self, address: str) -> str | None:
        """The name that the peer at ``address`` gave when it said that it cannot connect; None if it has not."""
        return self._names.get(address)

    def found(self, address: str, answer: ReachAnswer) -> None:
        """The peer at ``address`` cannot connect to this one."""
        with self._lock:
            known, self._names[address] = self._names.get(address), answer.name
            first, self._first = self._first, self._first or address
        here = place_of(self.own.address)
        if not first:
            _log.warning(
                "%s cannot be reached from %s: peers reach this one over the connections that it opens (%s)",
                here,
                address,
                answer.reason,
            )
        elif known is None:
            _log.info("%s cannot be reached from %s either", here, address)

    def forget(self, address: str) -> None:
        """It may be able to by now."""
        with self._lock:
            self._names.pop(address, None)

    def told(self, address: str, reason: str) -> str:
        """Why the peer at ``address`` and this one cannot meet, where neither can connect to the other.

        Args:
            address: to which this peer could not connect.
            reason: why.
        """
        if not self._first:
            return reason
        with self._lock:
            told = address in self._apart
            self._apart.add(address)
        if not told:
            _log.warning(
                "%s cannot be reached from here, and this peer (%s) cannot be reached from %s: two peers that accept "
                "no connections cannot meet; open the port of one of them to the other, or use a transport with a "
                "relay, as grpc-nats of the plugin swarm-nats (%s)",
                address,
                place_of(self.own.address),
                self._first,
                reason,
            )
        return f"{address} cannot be reached, and it and this peer both accept no connections"


class Answers:
    """Answers the calls of one peer, over connections to it, where it cannot connect to this one.

    Args:
        address: of that peer.
        one_way: what is known of who can connect to this one.
        methods: of this peer, by name.
        open_channel: opens a connection to an address, for weights or not.
    """

    def __init__(
        self,
        address: Address,
        one_way: OneWay,
        methods: Mapping[str, Method],
        open_channel: Callable[[Address, bool], grpc.Channel],
    ) -> None:
        self._address = address
        self._one_way = one_way
        self._own = encode(one_way.own)
        self._methods = methods
        self._open_channel = open_channel
        self._lock = threading.Lock()
        self._channels: dict[bool, grpc.Channel] = {}
        """For calls with weights, and for others."""
        self._answered: set[Any] = set()
        """Calls, which gRPC would cancel if nobody knew them."""
        self._closed = False

    def begin(
        self, control: grpc.Channel | ReverseChannel, ready: Callable[[], None], ended: Callable[[Any], None]
    ) -> None:
        """Find out whether the other side can connect to this peer, and see to it that it can call here.

        Args:
            control: a connection to it.
            ready: called once it can call here: then it may be sent messages, which it will answer.
            ended: called with a call that has failed, after which it cannot call here.
        """
        address = str(self._address)

        def reached(call: Any) -> None:
            if call.code() is grpc.StatusCode.UNIMPLEMENTED:  # an earlier release, which connects or does not
                ready()
                return
            try:
                answer = decode(ReachAnswer, call.result())
            except (grpc.RpcError, grpc.FutureCancelledError, ExchangeError):
                ended(call)
                return
            if answer.reason:
                self._one_way.found(address, answer)
                self._start(control, ready, ended)
            else:
                self._one_way.forget(address)
                ready()

        if self._one_way.name(address) is not None:
            self._start(control, ready, ended)
        else:
            call: Any = control.unary_unary(REACH, None, None).future(self._own, timeout=REACH_SECONDS)
            call.add_done_callback(reached)

    def close(self) -> None:
        """End the calls that are being answered, and the connections for them."""
        with self._lock:
            self._closed = True
            channels = tuple(self._channels.values())
        for channel in channels:
            channel.close()

    def _start(
        self, control: grpc.Channel | ReverseChannel, ready: Callable[[], None], ended: Callable[[Any], None]
    ) -> None:
        try:
            threading.Thread(target=self._run, args=(control, ready, ended), name="swarm-reverse", daemon=True).start()
        except RuntimeError as error:  # the system has no more threads
            self._one_way.forget(str(self._address))
            ended(CallError(grpc.StatusCode.UNAVAILABLE, str(error)))

    def _run(
        self, control: grpc.Channel | ReverseChannel, ready: Callable[[], None], ended: Callable[[Any], None]
    ) -> None:
        """Answer what is called here until that ends."""
        address = str(self._address)
        there = replace(self._address, name=self._address.name or self._one_way.name(address) or "")
        with suppress(ValueError):  # the link was closed meanwhile
            call: Any = control.unary_stream(REVERSE, None, None)(self._own)
            opened = False
            with suppress(grpc.RpcError):
                for message in call:
                    if opened:
                        self._answer(there, message)
                    else:
                        opened = True
                        ready()
            if not opened:
                self._one_way.forget(address)
            ended(call)

    def _answer(self, there: Address, message: bytes) -> None:
        """Answer the call that ``message`` names."""
        weights, name = message[:1] == b"\1", message[1:]
        with self._lock:
            if self._closed or len(name) != CALL_BYTES or len(self._answered) >= MAX_ANSWERS:
                return
            if weights not in self._channels:
                self._channels[weights] = self._open_channel(there, weights)
            channel = self._channels[weights]
            answer = _Answer(there, self._methods)
            with suppress(ValueError):  # closed meanwhile
                call: Any = channel.stream_stream(ANSWER, None, None)(answer.messages(), metadata=((CALL_KEY, name),))
                self._answered.add(call)
                answer.begun.put(call)
                call.add_done_callback(self._ended)

    def _ended(self, call: Any) -> None:
        # On gRPC's thread, or at once, where this lock is held.
        self._answered.discard(call)


class _Answer:
    """Serves one call.

    Args:
        there: the peer that calls.
        methods: of this one, by name.
    """

    def __init__(self, there: Address, methods: Mapping[str, Method]) -> None:
        self._there = there
        self._methods = methods
        self.begun: queue.SimpleQueue[Any] = queue.SimpleQueue()
        """The call of ``Answer``, once there is one."""

    def messages(self) -> Iterator[bytes]:
        """What the other side is sent: the responses, and how the call ended. gRPC reads it on a thread of its own."""
        code, details = grpc.StatusCode.OK, ""
        call = self.begun.get()
        try:
            for response in self._responses(call):
                yield MESSAGE + response
        except CallError as refused:
            code, details = refused.code(), refused.details()
        except grpc.RpcError:
            return  # the other side has ended it
        except Exception:  # noqa: BLE001 - told to the caller as a status
            _log.exception("a call of another peer could not be served")
            code, details = grpc.StatusCode.INTERNAL, "an unexpected error"
        yield END + bytes([code.value[0]]) + details[:MAX_DETAILS].encode(errors="replace")

    def _responses(self, call: Any) -> Iterator[bytes]:
        told = dict(call.initial_metadata() or ())
        method: Any = self._methods.get(str(told.get(METHOD_KEY, "")).removeprefix(f"/{SERVICE}/"))
        if method is None:
            raise CallError(grpc.StatusCode.UNIMPLEMENTED, "no such method")
        context = AnswerContext(self._there, told.get(HEADER_KEY, b""), call.cancel)
        requests = _requests(call)
        given: Any = requests if method.request_streaming else next(requests, b"")
        if method.request_streaming:
            yield method.stream_unary(given, context)
        elif method.response_streaming:
            yield from method.unary_stream(given, context)
        else:
            yield method.unary_unary(given, context)


def _requests(call: Any) -> Iterator[bytes]:
    """The messages of the one who calls; a ``grpc.RpcError`` where they break off."""
    for message in call:
        if message[:1] != MESSAGE:
            return
        yield message[1:]
