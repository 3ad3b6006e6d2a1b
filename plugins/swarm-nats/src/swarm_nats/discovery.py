"""Announcements in a key-value bucket of JetStream. They are hints: TLS and the greeting decide who a peer is."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import threading
from concurrent.futures import CancelledError
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from nats.errors import Error as NatsError
from nats.js.api import KeyValueConfig
from nats.js.errors import BucketNotFoundError, NotFoundError

from swarm.discovery import Discovery
from swarm.errors import AddressError, ConfigurationError, TransportError
from swarm.text import is_address, printable
from swarm_nats.hub import Hub

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from concurrent.futures import Future

    from nats.js.client import JetStreamContext
    from nats.js.kv import KeyValue

    from swarm_nats.settings import HubSettings

EXPIRY_SECONDS = 60.0
"""After which the announcement of a peer that was killed is gone."""
REFRESH_SECONDS = EXPIRY_SECONDS / 4
LOOK_SECONDS = 2.0
"""That one look may take."""
WAIT_SECONDS = 0.1
"""For which the caller waits for a look; then it is given what was found before, as rounds wait for the caller."""
RETRY_SECONDS = 0.25
"""Between two attempts to announce."""
MAX_ENTRIES = 4096
"""Announcements of one session that are read."""
MAX_ENTRY_BYTES = 8192
MAX_BUCKET_BYTES = 64 * 2**20

_log = logging.getLogger("swarm.discovery")
_TROUBLE = (NatsError, OSError, TimeoutError, TransportError)


class NatsDiscovery(Discovery):
    """Puts an entry of its own under ``<session>.<name and incarnation>``, as digests, and renews it until withdrawn.

    Args:
        hub: where the hub is.
        session: whose peers are found.
        patience: seconds for the first connection, and for the first announcement.
    """

    def __init__(self, hub: HubSettings, session: str, patience: float = 10.0) -> None:
        self._settings = hub
        self._session = session
        self._patience = patience
        self._bucket_name = hub.subject.replace(".", "_")
        self._lock = threading.Lock()
        self._hub: Hub | None = None
        self._own: tuple[str, bytes] | None = None
        self._address: str | None = None
        self._found: tuple[str, ...] = ()
        self._looking: Future[None] | None = None
        self._renewing: asyncio.Task[None] | None = None
        self._troubled = False

    def check(self) -> None:
        self._ask(self._connected(), self._ready(), LOOK_SECONDS)

    def announce(self, name: str, address: str, incarnation: str) -> None:
        hub = self._connected()
        record = {"name": name, "address": address, "incarnation": incarnation}
        key = f"{_digest(self._session)}.{_digest(name, incarnation)}"
        self._ask(hub, self._replace(key, json.dumps(record).encode()), self._patience + 2 * LOOK_SECONDS)
        self._address = address

    def _ask(self, hub: Hub, job: Coroutine[Any, Any, None], seconds: float) -> None:
        """Do what an announcement needs.

        Raises:
            ConfigurationError: it cannot be done.
        """
        try:
            hub.call(job, seconds)
        except _TROUBLE as error:
            raise ConfigurationError(
                f"this peer cannot be announced in the bucket {self._bucket_name!r} of the hub at "
                f"{self._settings.shown}: {printable(str(error) or 'it does not answer', 200)}; the hub needs "
                "JetStream, and this peer the right to use it"
            ) from error

    def discover(self) -> tuple[str, ...]:
        if self._looking is None or self._looking.done():
            try:
                hub = self._connected()
                self._looking = asyncio.run_coroutine_threadsafe(self._look(), hub.loop)
                with suppress(TimeoutError, CancelledError):
                    self._looking.result(WAIT_SECONDS)
            except AddressError as error:
                self._tell(error)
        return tuple(address for address in self._found if address != self._address)

    def withdraw(self) -> None:
        self._address = None
        with self._lock:
            hub = self._hub
            if hub is None:
                return
            with suppress(*_TROUBLE):
                hub.call(self._remove(), LOOK_SECONDS)
            hub.close()
            self._hub = None

    def _connected(self) -> Hub:
        with self._lock:
            if self._hub is None:
                hub = Hub(self._settings, "discovery", self._patience)
                hub.open()
                self._hub = hub
            return self._hub

    # -- on the loop of the hub

    async def _replace(self, key: str, data: bytes) -> None:
        deadline = asyncio.get_running_loop().time() + self._patience
        await self._remove()
        while True:
            try:
                await self._put(key, data)
                break
            except _TROUBLE:  # the servers of a cluster that has just started have to agree on a leader
                if asyncio.get_running_loop().time() > deadline:
                    raise
                await asyncio.sleep(RETRY_SECONDS)
        self._own = key, data
        self._renewing = asyncio.create_task(self._renew())

    async def _put(self, key: str, data: bytes) -> None:
        await self._ready()
        await self._publish(key, data)

    async def _ready(self) -> None:
        try:
            await self._bucket()
        except (BucketNotFoundError, NotFoundError):  # a server that was started anew may have kept nothing
            await self._create()

    async def _renew(self) -> None:
        while self._own is not None:
            await asyncio.sleep(REFRESH_SECONDS)
            try:
                await self._put(*self._own)
            except _TROUBLE as error:
                _log.warning("the announcement of this peer was not renewed: %s", printable(str(error), 200))

    async def _remove(self) -> None:
        if self._renewing is not None:
            self._renewing.cancel()
        own, self._own = self._own, None
        if own is not None:
            await self._publish(own[0], b"", {"KV-Operation": "DEL"})

    async def _look(self) -> None:
        try:
            self._found = await asyncio.wait_for(self._announced(), LOOK_SECONDS)
            self._troubled = False
        except _TROUBLE as error:
            self._tell(error)

    def _tell(self, error: Exception) -> None:
        if not self._troubled:
            self._troubled = True
            text = printable(str(error) or "it does not answer", 200)
            _log.warning("no announcements can be read from the hub at %s: %s", self._settings.shown, text)

    async def _announced(self) -> tuple[str, ...]:
        found: dict[str, str] = {}
        try:
            watcher = await (await self._bucket()).watch(f"{_digest(self._session)}.*", ignore_deletes=True)
        except (BucketNotFoundError, NotFoundError):
            return ()
        try:
            while len(found) < MAX_ENTRIES:
                entry = await watcher.updates(timeout=LOOK_SECONDS)  # type: ignore[no-untyped-call]
                if entry is None:  # no more for now
                    break
                address = _address_in(entry.value or b"")
                if address:
                    found[entry.key] = address
        finally:
            await watcher.stop()  # type: ignore[no-untyped-call]
        return tuple(dict.fromkeys(found.values()))

    async def _publish(self, key: str, data: bytes, headers: dict[str, str] | None = None) -> None:
        """Write an entry; in a domain it has a subject of its own, of which nats-py does not know."""
        prefix = f"$JS.{self._settings.domain}.API." if self._settings.domain else ""
        await self._stream.publish(f"{prefix}$KV.{self._bucket_name}.{key}", data, headers=headers)

    async def _bucket(self) -> KeyValue:
        return await self._stream.key_value(self._bucket_name)

    async def _create(self) -> KeyValue:
        return await self._stream.create_key_value(
            KeyValueConfig(
                bucket=self._bucket_name,
                ttl=EXPIRY_SECONDS,
                history=1,
                max_value_size=MAX_ENTRY_BYTES,
                max_bytes=MAX_BUCKET_BYTES,
                replicas=self._settings.replicas,
            )
        )

    @property
    def _stream(self) -> JetStreamContext:
        if self._hub is None:
            raise TransportError("the announcement was withdrawn")
        domain = {"domain": self._settings.domain} if self._settings.domain else {}
        return self._hub.client.jetstream(timeout=LOOK_SECONDS, **domain)


def _digest(*texts: str) -> str:
    """A word of a key: names may hold characters that keys may not."""
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:32]


def _address_in(data: bytes) -> str:
    """The address in an announcement, which anybody with access to the hub may have written; empty where it is none."""
    try:
        record = json.loads(data[:MAX_ENTRY_BYTES])
    except (ValueError, RecursionError):
        return ""
    address = record.get("address") if isinstance(record, dict) else None
    return address if isinstance(address, str) and is_address(address) else ""
