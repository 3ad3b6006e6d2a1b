"""The default transport: gRPC over HTTP/2, messages as protobuf, weights as raw bytes."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import grpc

from swarm.addresses import Address, is_wildcard, parse_advertised
from swarm.clock import MonotonicClock
from swarm.errors import AddressError, ExchangeError, TransportError, UnreachablePeerError
from swarm.messages import DataChannelOffer, ReachRequest, StreamHeader
from swarm.proxy import Proxies
from swarm.transport.base import NoUpload, Way
from swarm.transport.data_channel.control import DataChannelControl
from swarm.transport.dispatcher import Dispatcher
from swarm.transport.frames import FrameReader
from swarm.transport.grpc.admission import Admission
from swarm.transport.grpc.answers import Answers, OneWay
from swarm.transport.grpc.asking import Asking
from swarm.transport.grpc.call_threads import ThreadPerCall
from swarm.transport.grpc.calls import call_once, fetch_frames
from swarm.transport.grpc.diagnosis import explain, may_explain
from swarm.transport.grpc.fork import ForkGuard
from swarm.transport.grpc.link import Link
from swarm.transport.grpc.measuring import Measuring
from swarm.transport.grpc.options import server_options
from swarm.transport.grpc.parts import parts
from swarm.transport.grpc.reach import reachable_host
from swarm.transport.grpc.relayed import Probing, Relayed
from swarm.transport.grpc.reverse import ReverseChannel
from swarm.transport.grpc.routes import Routes
from swarm.transport.grpc.security import listen, open_channel
from swarm.transport.grpc.service import DATA_CHANNEL, DIAL_BACK, MAX_CALLS, SERVICE, methods_of_a_peer
from swarm.transport.grpc.strangers import Strangers
from swarm.transport.grpc.trust import TrustWatch
from swarm.transport.grpc.wire import decode, encode
from swarm.transport.notices import Notices
from swarm.transport.pacing import Pacing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from swarm.clock import Clock
    from swarm.identity import Identity
    from swarm.messages import DataChannelRequest, DialBackRequest, Envelope, FetchRequest
    from swarm.transport.base import Frame, Handler, Upload
    from swarm.transport.data_channel.control import DataChannels
    from swarm.transport.grpc.service import Method
    from swarm.transport.relay import Relay


class GrpcTransport(DataChannelControl):
    """Carries envelopes and streams between processes.

    A killed peer is noticed at once, by its reset connections; a frozen or cut-off one after about
    ``failure_timeout`` seconds, by keepalive pings, which gRPC answers without Python's lock.

    Args:
        listen: ``host:port``; port 0 takes a free one.
        advertise: ``host`` or ``host:port`` that others are told instead; the port of ``listen`` where none is given.
        peers: addresses that this peer will connect to. Where ``listen`` is a wildcard (``0.0.0.0``, ``[::]``) and
            ``advertise`` is not given, others are told the address of this machine from which these are reached.
        failure_timeout: seconds of silence after which a peer counts as lost.
        identity: of this peer. With it all connections are TLS 1.3 with certificates on both sides, and the address
            that others are told begins with the peer's name. Without it nothing is encrypted.
        clock: for the limits of callers.
        proxies: for connections to others; without them those of the environment.
        pacing: how fast weights may be sent.
        reachable: whether all others can connect to this peer for sure; then none is asked to try.
        relay: the way to and from peers that cannot be connected to, and that have the same relay.
    """

    def __init__(
        self,
        listen: str = "127.0.0.1:0",
        *,
        advertise: str | None = None,
        peers: Sequence[str] = (),
        failure_timeout: float = 10.0,
        identity: Identity | None = None,
        clock: Clock | None = None,
        proxies: Proxies | None = None,
        pacing: Pacing | None = None,
        reachable: bool = False,
        relay: Relay | None = None,
    ) -> None:
        self._identity = identity
        self.pacing = pacing or Pacing()
        self._reachable = reachable
        self._proxies = proxies or Proxies()
        self._clock = clock or MonotonicClock()
        self._listen = Address.parse(listen)
        self._advertise = advertise
        self._peers = tuple(peers)
        self._failure_timeout = failure_timeout
        self._lock = threading.Lock()
        self._links: dict[str, Link] = {}
        self._retired: dict[Link, float] = {}
        """Links that only send what was queued, and since when: until the other side, which may not, ends its call."""
        self._closed = False
        self._data_channels: DataChannels | None = None
        self._relayed = Relayed(relay, self._clock)
        self._routes = Routes(failure_timeout, identity, self._proxies, self._clock, self.way, self._use_route)
        self._running: _Running | None = None

    def start(self, handler: Handler) -> str:
        host, told_port = self._told()
        notices = Notices(self._clock)
        admission = Admission(self._identity, self._clock, notices)
        threads = ThreadPerCall()
        methods = methods_of_a_peer(handler, self._data_channels, self._identity, admission, self.pacing, self._adopt)
        measuring = Measuring(self._data_channels, self._identity, self.pacing, self._clock)
        served = {**methods, **self._routes.methods(admission), **measuring.methods(admission)}
        handlers = grpc.method_handlers_generic_handler(SERVICE, served)
        server = grpc.server(
            threads,
            handlers=[threads.serving(handlers)],
            options=server_options(self._failure_timeout, identified=self._identity is not None),
            maximum_concurrent_rpcs=MAX_CALLS,
        )
        port = listen(server, self._listen, self._identity)
        guard = ForkGuard()
        guard.listen(port)
        watch = None
        if self._identity:
            admission.strangers = Strangers(self._listen.host, port, notices, self._clock)
            watch = TrustWatch(self._identity, self._open_links, admission.strangers, notices)
        own = str(Address(host, told_port or port, self._identity.name if self._identity else ""))
        self._routes.listen(port)
        one_way = OneWay(ReachRequest(own, self._routes.nonce))
        dispatcher = Dispatcher("swarm-transport")
        self._running = _Running(handler, methods, one_way, server, threads, dispatcher, guard, watch)
        server.start()
        try:
            self._relayed.start(own, self._listen.host, port, self._data_channels)
        except AddressError:
            self.close(0.0)
            raise
        return own

    @property
    def identity(self) -> Identity | None:
        return self._identity

    def send(self, address: str, envelope: Envelope) -> None:
        try:
            data = encode(envelope)
            with self._lock:
                if not self._closed:
                    self._link(address).send(data)
        except (TransportError, ExchangeError) as error:
            self._report(partial(self._tell_loss, address, str(error)))

    def upload(
        self, address: str, header: StreamHeader, frames: Iterator[Frame], done: Callable[[str | None], None]
    ) -> Upload:
        reader = FrameReader(frames, lambda frame: self.pacing.messages(parts(frame), reader.halted))
        try:
            data = encode(header)
            with self._lock:
                if not self._closed:
                    return self._link(address).upload(data, reader, done)
        except (TransportError, ExchangeError) as error:
            self._report(partial(done, str(error)))
        return NoUpload()

    def fetch(self, address: str, request: FetchRequest, timeout: float) -> Iterator[memoryview]:
        try:
            where = Address.parse(address)
        except AddressError as error:
            raise UnreachablePeerError(str(error)) from error
        return fetch_frames(str(where), encode(request), timeout, self._channel(address, where, weights=True))

    def forget(self, address: str) -> None:
        with self._lock:
            link = self._links.pop(address, None)
            if link is not None:
                self._retired[link] = self._clock.now()
                link.retire()
            lingering = self._lingering()
            self._relayed.forget(address)
        for each in lingering:
            each.close()

    def offer_data_channels(self, data_channels: DataChannels) -> None:
        self._data_channels = data_channels

    def way(self, address: str) -> Way | None:
        if self._routes.find(address) is not None:
            return Way.REVERSE
        if self._relayed.over(address):
            return Way.RELAY
        link = self._links.get(address)
        return Way.DIRECT if link is not None and link.connected else None

    def data_place(self, where: Address, port: int) -> tuple[str, int]:
        return self._relayed.data_place(where, port)

    def is_reversed(self, address: str) -> bool:
        return self._routes.find(address) is not None

    def ask_data_channel(self, address: str, request: DataChannelRequest, timeout: float) -> DataChannelOffer:
        channel = self._channel(address, Address.parse(address))
        return decode(DataChannelOffer, call_once(channel, DATA_CHANNEL, encode(request), timeout, address))

    def ask_to_dial_back(self, address: str, request: DialBackRequest, timeout: float) -> None:
        call_once(self._channel(address, Address.parse(address)), DIAL_BACK, encode(request), timeout, address)

    @property
    def asking(self) -> Asking:
        """Asks other peers about the way to them, once it has started."""
        own = self._here.one_way.own
        return Asking(self._connect, own, self.pacing, self._relayed, self._identity, self._proxies)

    def encode_header(self, header: StreamHeader) -> bytes:
        return encode(header)

    def decode_header(self, data: bytes) -> StreamHeader:
        return decode(StreamHeader, data)

    def close(self, linger: float = 1.0) -> None:
        with self._lock:
            if self._closed:
                return
            self._closed = True
            links = [*self._links.values(), *self._retired]
        deadline = time.monotonic() + linger
        for link in links:
            link.retire()
        for link in links:
            link.wait(max(0.0, deadline - time.monotonic()))
        for link in links:
            link.close()
        if self._running is not None:
            self._routes.end()
            self._running.server.stop(0).wait(1.0)
            self._relayed.close(min(linger, 1.0))
            self._running.threads.close()
            self._running.dispatcher.stop()
            if self._running.watch is not None:
                self._running.watch.stop()
            self._running.guard.release()

    @property
    def _here(self) -> _Running:
        if self._running is None:
            raise RuntimeError("the transport has not been started")
        return self._running

    def _adopt(self, sender: str, document: bytes) -> None:
        """A member has sent the consortium's document."""
        if self._here.watch is not None:
            self._here.watch.adopt(sender, document)

    def _told(self) -> tuple[str, int | None]:
        """The host that others are told, and the port where it is not the one listened on.

        Raises:
            AddressError: which address others can reach is not clear.
        """
        if self._advertise:
            return parse_advertised(self._advertise)
        if is_wildcard(self._listen.host):
            return reachable_host(self._listen.host, self._peers), None
        return self._listen.host, None

    def _lingering(self) -> list[Link]:
        """Take out the retired links whose other side has kept them open for long, and that send no weights."""
        oldest = self._clock.now() - self._failure_timeout
        lingering = [link for link, since in self._retired.items() if since < oldest and not link.busy]
        for link in lingering:
            del self._retired[link]
        return lingering

    def _report(self, job: Callable[[], None]) -> None:
        self._here.dispatcher.submit(job)

    def _link(self, address: str) -> Link:
        link, own = self._links.get(address), self._identity
        if link is not None and own is not None and link.credentials is not own.credentials:
            # A new certificate: what is queued or in flight still goes under the old one, the rest under the new one.
            self._retired[link] = self._clock.now()
            link.retire(finish_uploads=True)
            link = None
        if link is None:
            where = Address.parse(address)
            if own is not None and where.name:
                own.require_member(where.name)
            link = self._open_link(address, where)
            self._links[address] = link
        return link

    def _open_link(self, address: str, where: Address) -> Link:
        here, route = self._here, self._routes.find(address)
        answers: Answers | Probing | None = None
        if route is None and self._relayed.over(address):
            answers = Probing()
        elif route is None and not self._reachable:
            answers = Answers(where, here.one_way, here.methods, self._connect)
        return Link(
            where,
            self._failure_timeout,
            self._identity,
            lambda weights: ReverseChannel(route, weights=weights) if route else self._connect(where, weights),
            answers,
            self._report,
            partial(self._ended, address),
        )

    def _channel(self, address: str, where: Address, *, weights: bool = False) -> grpc.Channel | ReverseChannel:
        """Makes calls to ``address``, over a route where there is one."""
        route = self._routes.find(address)
        return ReverseChannel(route, weights=weights) if route else self._connect(where, weights)

    def _connect(self, where: Address, weights: bool) -> grpc.Channel:
        """A connection of its own."""
        where = self._relayed.place(where)
        proxy = self._proxies.find(where.host, where.port)
        self._here.guard.connect(Address(proxy.host, proxy.port) if proxy else where)
        return open_channel(where, self._failure_timeout, self._identity, weights=weights, proxies=self._proxies)

    def _use_route(self, address: str) -> None:
        """Send over the route to ``address`` from now on, and over the link that there was what it had to send."""
        with self._lock:
            link = self._links.pop(address, None)
            if link is not None:
                self._retired[link] = self._clock.now()
                link.retire(finish_uploads=True)

    def _ended(self, address: str, link: Link, reason: str) -> None:
        with self._lock:
            if self._closed:
                return
            lost = self._links.get(address) is link
            if lost:
                del self._links[address]
            self._retired.pop(link, None)
            relayed = lost and not link.connected and self._relayed.turn(address, reason)
            relayed = relayed and self._open_again(address, link)
        link.close()
        if relayed:
            return
        if lost and may_explain(reason):
            # It connects, which may take longer than other reports can wait.
            explain_loss = partial(self._explain_loss, address, link, reason)
            with suppress(RuntimeError):  # the system has no more threads
                threading.Thread(target=explain_loss, name="swarm-diagnosis", daemon=True).start()
                lost = False
        if lost:
            self._tell_loss(address, self._why(address, link, reason))

    def _open_again(self, address: str, ended: Link) -> bool:
        """Over the relay, if that is possible; what was to be sent goes there first."""
        try:
            link = self._links[address] = self._open_link(address, Address.parse(address))
        except TransportError:
            self._relayed.forget(address)
            return False
        for message in ended.unsent():
            link.send(message)
        return True

    def _why(self, address: str, link: Link, reason: str) -> str:
        """Why ``link`` was lost, in words for the user."""
        if self._relayed.over(address):
            told = self._relayed.told(address, reason)
            self._relayed.lost(address, reached=link.connected)
            return told
        return reason if link.connected else self._here.one_way.told(address, reason)

    def _explain_loss(self, address: str, link: Link, reason: str) -> None:
        found = ""
        with suppress(TransportError, OSError):  # the relay is closed, or can open no more
            found = explain(self._relayed.place(Address.parse(address)), self._identity, self._proxies)
        if self._relayed.over(address):
            found = self._why(address, link, found or reason)
        self._report(partial(self._tell_loss, address, found or reason))

    def _open_links(self) -> list[Link]:
        with self._lock:
            return list(self._links.values())

    def _tell_loss(self, address: str, reason: str) -> None:
        if self._data_channels is not None:
            self._data_channels.lost(address)
        self._here.handler.on_lost(address, reason)


@dataclass(frozen=True, slots=True)
class _Running:
    """What exists between ``start`` and ``close``."""

    handler: Handler
    methods: Mapping[str, Method]
    one_way: OneWay
    server: grpc.Server
    threads: ThreadPerCall
    dispatcher: Dispatcher
    guard: ForkGuard
    watch: TrustWatch | None
