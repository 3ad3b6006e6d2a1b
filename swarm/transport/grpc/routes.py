"""The routes to peers that cannot be reached, and the calls with which such a peer finds that out and opens one."""

from __future__ import annotations

import hmac
import secrets
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import grpc

from swarm.errors import ExchangeError, LimitError
from swarm.messages import ReachAnswer, ReachRequest
from swarm.transport.base import Way
from swarm.transport.grpc.connection_limit import usual_form
from swarm.transport.grpc.reverse import Route
from swarm.transport.grpc.security import address_of, open_channel, place_of
from swarm.transport.grpc.service import CALL_KEY, PROBE, metadata
from swarm.transport.grpc.silence import Silence
from swarm.transport.grpc.status import to_error
from swarm.transport.grpc.wire import decode, encode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from swarm.addresses import Address
    from swarm.clock import Clock
    from swarm.identity import Identity
    from swarm.proxy import Proxies
    from swarm.transport.grpc.admission import Admission
    from swarm.transport.grpc.connection_limit import Place
    from swarm.transport.grpc.reverse import ReverseCall
    from swarm.transport.grpc.security import Caller
    from swarm.transport.grpc.service import Method

DIAL_SECONDS = 5.0
"""In which a peer must have answered the one that tries to connect to it."""
MEMORY_SECONDS = 3600.0
LOOK_SECONDS = 1.0
"""Between two looks at whether a route still counts."""
MOST_OF_A_PEER = 8
"""Addresses of its own that one peer may have tested in an hour: it must not learn where this peer can connect to."""
MOST_OF_AN_ADDRESS = 256
"""The same without certificates, where the peers of one machine or behind one router are one caller."""
MOST_CALLERS = 1024
NONCE_BYTES = 16
KNOWN = b"\1"


class GivenPlaces:
    """The addresses that callers have lately said to be theirs.

    Args:
        most: of one caller in ``MEMORY_SECONDS``.
        clock: tells the time.
    """

    def __init__(self, most: int, clock: Clock) -> None:
        self._most = most
        self._clock = clock
        self._lock = threading.Lock()
        self._given: dict[str, dict[str, float]] = {}
        """By caller, when it first gave each; the caller that was new last is the last."""

    def require(self, caller: str, address: str) -> None:
        """Refuse ``address`` if ``caller`` has given too many others.

        Raises:
            LimitError: it has.
        """
        now = self._clock.now()
        with self._lock:
            given = {
                place: since for place, since in self._given.pop(caller, {}).items() if since > now - MEMORY_SECONDS
            }
            self._given[caller] = given
            if len(self._given) > MOST_CALLERS:
                del self._given[next(iter(self._given))]
            if address not in given and len(given) >= self._most:
                raise LimitError(f"{caller} has said within an hour that it is at {self._most} other addresses")
            given.setdefault(address, now)


class Routes:
    """Those to peers that cannot be reached from here, by their addresses.

    Args:
        failure_timeout: seconds of silence after which such a peer counts as lost.
        identity: of this peer.
        proxies: for connections to others.
        clock: for how long they say nothing, and for which addresses others have asked lately.
        way: how an address is reached.
        opened: called with an address to which there is a route from now on.
    """

    def __init__(
        self,
        failure_timeout: float,
        identity: Identity | None,
        proxies: Proxies,
        clock: Clock,
        way: Callable[[str], Way | None],
        opened: Callable[[str], None],
    ) -> None:
        self._failure_timeout = failure_timeout
        self._identity = identity
        self._proxies = proxies
        self._clock = clock
        self._given = GivenPlaces(MOST_OF_A_PEER if identity else MOST_OF_AN_ADDRESS, clock)
        self._way = way
        self._opened = opened
        self._lock = threading.Lock()
        self._routes: dict[str, list[Route]] = {}
        """The newest last."""
        self.nonce = secrets.token_bytes(NONCE_BYTES)
        """By which others recognise this peer at its address."""
        self._silence = Silence(0, clock)

    def listen(self, port: int) -> None:
        """Others connect to ``port`` of this process."""
        self._silence = Silence(port, self._clock)

    def find(self, address: str) -> Route | None:
        """The route to ``address``, if there is one."""
        routes = self._routes.get(address)
        return routes[-1] if routes else None

    def end(self) -> None:
        """End all of them."""
        with self._lock:
            routes = [route for routes in self._routes.values() for route in routes]
        for route in routes:
            route.end()

    def methods(self, admission: Admission) -> dict[str, Method]:
        """What others call for it."""

        def reach(request: bytes, context: grpc.ServicerContext) -> bytes:
            with admission.to("Reach", context) as (caller, _):
                asked, address = _read(request, caller)
                self._given.require(caller.name, asked.address)
                own = self._identity.name if self._identity else ""
                return encode(ReachAnswer(own, self._obstacle(asked, address)))

        def probe(request: bytes, context: grpc.ServicerContext) -> bytes:
            with admission.to("Probe", context):
                return KNOWN if hmac.compare_digest(request, self.nonce) else b""

        def reverse(request: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
            with admission.to("Reverse", context) as (caller, call):
                asked, _ = _read(request, caller)
                if self._connected(asked.address):
                    raise ExchangeError(f"{asked.address} is reached from here")
                with self._open(asked.address, Route(caller.name, _place(context)), context) as route:
                    yield b""
                    while not route.ended:
                        told = route.asks(LOOK_SECONDS)
                        caller.require_trust()
                        call.sends()
                        if self._silence.seconds(route.places) > self._failure_timeout:
                            raise ExchangeError(f"nothing came from it for {self._failure_timeout:g} s")
                        if told:
                            yield told

        def answer(answers: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
            with admission.to("Answer", context) as (caller, call):
                found = self._asked(caller.name, metadata(context, CALL_KEY), _place(context))
                for message in found.answered(answers, context):
                    caller.require_trust()
                    call.sends()
                    yield message

        return {
            "Reach": grpc.unary_unary_rpc_method_handler(reach),
            "Probe": grpc.unary_unary_rpc_method_handler(probe),
            "Reverse": grpc.unary_stream_rpc_method_handler(reverse),
            "Answer": grpc.stream_stream_rpc_method_handler(answer),
        }

    def _connected(self, address: str) -> bool:
        """Whether there is a connection that this peer has opened to ``address``."""
        return self._way(address) is Way.DIRECT

    def _obstacle(self, asked: ReachRequest, address: Address) -> str:
        """Why this peer cannot connect to the one that asks; empty where it can."""
        if self._connected(asked.address):
            return ""
        with open_channel(address, DIAL_SECONDS, self._identity, proxies=self._proxies) as channel:
            try:
                known = channel.unary_unary(PROBE, None, None)(asked.nonce, timeout=DIAL_SECONDS)
            except grpc.RpcError as error:
                # Meanwhile it may have been reached by another attempt.
                return "" if self._connected(asked.address) else str(to_error(error, asked.address))
        return "" if known == KNOWN else f"another peer is at {address.place}"

    @contextmanager
    def _open(self, address: str, route: Route, context: grpc.ServicerContext) -> Iterator[Route]:
        if not context.add_callback(route.end):
            raise ExchangeError("the call has ended")
        with self._lock:
            self._routes.setdefault(address, []).append(route)
        self._opened(address)
        try:
            yield route
        finally:
            with self._lock:
                self._routes[address].remove(route)
                if not self._routes[address]:
                    del self._routes[address]
            route.end()

    def _asked(self, caller: str, name: bytes, place: Place) -> ReverseCall:
        """The call that ``caller`` was asked to answer.

        Raises:
            ExchangeError: it was not.
        """
        with self._lock:
            routes = [route for routes in self._routes.values() for route in routes if route.caller == caller]
        for route in routes:
            call = route.take(name, place)
            if call is not None:
                return call
        raise ExchangeError("there is no such call to answer, or it has ended")


def _read(request: bytes, caller: Caller) -> tuple[ReachRequest, Address]:
    """What ``caller`` asks, and the address that it gives.

    Raises:
        ExchangeError: it gives none.
        UntrustedPeerError: it gives that of another peer.
    """
    asked = decode(ReachRequest, request)
    return asked, address_of(caller, asked.address)


def _place(context: grpc.ServicerContext) -> Place:
    host, port = place_of(context)
    return usual_form(host), port
