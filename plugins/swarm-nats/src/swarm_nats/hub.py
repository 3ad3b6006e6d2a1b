"""The connection to the hub, on an event loop of its own thread, which also runs what uses it."""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

from nats.aio.client import Client
from nats.errors import Error as NatsError

from swarm.errors import AddressError, TransportError
from swarm.text import printable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from nats.aio.msg import Msg

    from swarm.transport import Proxies
    from swarm_nats.settings import HubSettings

T = TypeVar("T")

RECONNECT_SECONDS = 0.25
"""Between two attempts to connect to a server."""
PENDING_BYTES = 32 * 2**20
"""Of what has come and was not taken; more is dropped, and sent again."""
FLUSH_SECONDS = 5.0
CLOSE_SECONDS = 1.0

_log = logging.getLogger("swarm.transport")


def _of_use(record: logging.LogRecord) -> bool:
    """Whether a line of asyncio is; one comes whenever nats-py ends a connection over TLS, and means nothing."""
    return "eof_received" not in record.getMessage()


logging.getLogger("asyncio").addFilter(_of_use)


class _Loop(asyncio.SelectorEventLoop):
    """An event loop whose connections go through a proxy where there is one: nats-py knows none.

    Args:
        proxies: which connections do.
        seconds: for each connection.
    """

    def __init__(self, proxies: Proxies, seconds: float) -> None:
        super().__init__()
        self._proxies = proxies
        self._seconds = seconds

    async def create_connection(self, protocol_factory: Any, host: Any = None, port: Any = None, **options: Any) -> Any:
        """A connection, as the base class makes it.

        Raises:
            ProxyError: the proxy refuses, or cannot be reached.
        """
        if host is None or self._proxies.find(host, port) is None:
            return await super().create_connection(protocol_factory, host, port, **options)
        sock = await self.run_in_executor(None, self._proxies.connect, host, port, self._seconds)
        sock.setblocking(False)
        return await super().create_connection(protocol_factory, sock=sock, **options)


class Hub:
    """Publishes, subscribes and connects again until it is closed.

    Args:
        settings: where the hub is.
        name: of the connection, as the operator of the hub sees it.
        patience: seconds for the first connection, and without an answer of a server until another one is tried.
    """

    def __init__(self, settings: HubSettings, name: str, patience: float) -> None:
        self._settings = settings
        self._name = name
        self._patience = patience
        self._loop: asyncio.AbstractEventLoop = _Loop(settings.proxies, patience / 2)
        self._thread = threading.Thread(target=self._run, name=f"swarm-{name}", daemon=True)
        self._client: Client | None = None
        self._subject: str | None = None
        self._take: Callable[[Msg], Awaitable[None]] | None = None
        self._back: Callable[[], None] = lambda: None
        self._closing = False
        self._trouble = ""
        self._opening: asyncio.Task[None] | None = None

    def open(
        self,
        subject: str | None = None,
        take: Callable[[Msg], Awaitable[None]] | None = None,
        back: Callable[[], None] = lambda: None,
    ) -> None:
        """Connect.

        Args:
            subject: that is listened to from now on.
            take: is given each of its messages, on the loop.
            back: is called on the loop when the connection is there again.

        Raises:
            AddressError: no server lets this peer in.
        """
        self._subject, self._take, self._back = subject, take, back
        self._thread.start()
        try:
            self.call(self._connect(), self._patience + 1.0)
        except (TimeoutError, NatsError, OSError) as error:
            trouble = self._trouble or str(error)
            self.close()
            raise AddressError(
                f"the hub at {self._settings.shown} cannot be used{f': {trouble}' if trouble else ''}; check "
                "SWARM_NATS_SERVERS, SWARM_NATS_CREDENTIALS and SWARM_NATS_CA"
            ) from None

    @property
    def client(self) -> Client:
        """The connection; used on the loop only."""
        if self._client is None:
            raise TransportError("the connection to the hub is not open")
        return self._client

    @property
    def connected(self) -> bool:
        """Whether a server is connected now."""
        return self._client is not None and self._client.is_connected

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """Where everything that uses the hub runs."""
        return self._loop

    def call(self, job: Coroutine[Any, Any, T], timeout: float) -> T:
        """Run ``job`` on the loop and wait for its result.

        Raises:
            TimeoutError: that took longer than ``timeout`` seconds.
            TransportError: the hub is closed.
        """
        try:
            future = asyncio.run_coroutine_threadsafe(job, self._loop)
        except RuntimeError:
            job.close()
            raise TransportError("the connection to the hub is closed") from None
        try:
            return future.result(timeout)
        except concurrent.futures.CancelledError:
            raise TransportError("the connection to the hub is closed") from None
        except TimeoutError:
            future.cancel()
            raise

    async def publish(self, subject: str, data: bytes, reply: str) -> None:
        """Send a message, or lose it."""
        if self.connected:
            with suppress(NatsError, OSError, TimeoutError):
                await self.client.publish(subject, data, reply)

    def close(self) -> None:
        """Send what was published, and end. Idempotent."""
        if self._closing or not self._thread.is_alive():
            return
        self._closing = True
        with suppress(TimeoutError, TransportError):
            self.call(self._disconnect(), 2 * CLOSE_SECONDS)
        self._loop.call_soon_threadsafe(self._loop.stop)
        if threading.current_thread() is not self._thread:
            self._thread.join(CLOSE_SECONDS)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
            pending = asyncio.all_tasks(self._loop)
            for task in pending:
                task.cancel()
            self._loop.run_until_complete(asyncio.gather(*pending, return_exceptions=True))
        finally:
            self._loop.close()

    async def _connect(self) -> None:
        client = Client()
        await asyncio.wait_for(
            client.connect(
                list(self._settings.servers),
                name=self._name,
                tls=self._settings.tls(),
                user_credentials=str(self._settings.credentials) if self._settings.credentials else None,
                connect_timeout=max(1, round(self._patience / 2)),
                reconnect_time_wait=RECONNECT_SECONDS,  # type: ignore[arg-type] # any seconds will do
                max_reconnect_attempts=-1,
                ping_interval=max(1, round(self._patience / 4)),
                flush_timeout=FLUSH_SECONDS,
                error_cb=self._on_error,
                disconnected_cb=self._on_disconnected,
                reconnected_cb=self._on_reconnected,
                closed_cb=self._on_closed,
            ),
            self._patience,
        )
        if self._subject is not None:
            await client.subscribe(self._subject, cb=self._take, pending_bytes_limit=PENDING_BYTES)
            await client.flush(max(1, round(self._patience)))
        self._client, self._trouble = client, ""

    async def _disconnect(self) -> None:
        if self._client is None:
            return
        with suppress(NatsError, OSError, TimeoutError):
            if self.connected:
                await self._client.flush(1)
        with suppress(NatsError, OSError, TimeoutError):
            await self._client.close()

    async def _on_error(self, error: Exception) -> None:
        text = printable(str(error) or type(error).__name__, 200)
        if text != self._trouble:
            self._trouble = text
            if self.connected:  # what happens while it connects again is no news
                _log.warning("the hub at %s: %s", self._settings.shown, text)

    async def _on_disconnected(self) -> None:
        if not self._closing and self._client is not None:
            _log.warning("the hub at %s is gone; connecting again", self._settings.shown)

    async def _on_reconnected(self) -> None:
        self._trouble = ""
        _log.info("the hub at %s is back", self._settings.shown)
        self._back()

    async def _on_closed(self) -> None:
        """A server may end a connection in a way after which nats-py does not connect again."""
        if not self._closing and self._client is not None:
            self._opening = self._loop.create_task(self._open_again())

    async def _open_again(self) -> None:
        while not self._closing:
            await asyncio.sleep(RECONNECT_SECONDS)
            with suppress(NatsError, OSError, TimeoutError):
                await self._connect()
                await self._on_reconnected()
                return
