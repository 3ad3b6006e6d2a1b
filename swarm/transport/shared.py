"""One address for a process: its sessions share what it listens on, told apart by their names."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from swarm.errors import ConfigurationError, ExchangeError
from swarm.transport.base import Handler, NoUpload, Transport

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from swarm.identity import Identity
    from swarm.messages import Envelope, FetchRequest, StreamHeader
    from swarm.transport.base import Frame, Sink, Upload, Way


class SharedAddress:
    """The transport that a process listens with while it has sessions.

    The first session to start brings it, and the last one to close closes it.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Have no session, as in a forked child."""
        self._changing = threading.Lock()
        self._listening: _Listening | None = None

    def view(self, session: str, transport: Transport, asked: Mapping[str, object]) -> Transport:
        """What ``session`` uses as its transport.

        Args:
            session: its name.
            transport: not started; used if the session is the first one of the process.
            asked: the settings that all sessions of a process share, by name. None: whatever the others have.
        """
        return _View(self, session, transport, asked)

    def join(self, session: str, handler: Handler, transport: Transport, asked: Mapping[str, object]) -> _Listening:
        """Listen for ``session`` too.

        Raises:
            ConfigurationError: another session of the process was asked for under other settings.
            AddressError: the address cannot be listened on.
        """
        with self._changing:
            here = self._listening
            if here is None:
                sessions = _Sessions()
                sessions.add(session, handler)
                here = self._listening = _Listening(transport, transport.start(sessions), sessions, dict(asked))
                return here
            for setting, value in asked.items():
                theirs = here.asked.get(setting)
                if None not in (value, theirs) and value != theirs:
                    raise ConfigurationError(
                        f"{setting}={value!r} contradicts {setting}={theirs!r} of another callback in this process: "
                        "they share one address and one name; give both callbacks the same, or run them in "
                        "processes of their own"
                    )
            here.asked.update({setting: value for setting, value in asked.items() if value is not None})
            here.sessions.add(session, handler)
            return here

    def leave(self, session: str, linger: float) -> None:
        """Stop listening for ``session``; close the address if it was the last one."""
        with self._changing:
            here = self._listening
            if here is None:
                return
            unused = here.sessions.remove(session)
            if here.sessions.any:
                for address in unused:
                    here.transport.forget(address)
            else:
                self._listening = None
                here.transport.close(linger)


@dataclass(frozen=True, slots=True)
class _Listening:
    """A transport that has started."""

    transport: Transport
    address: str
    sessions: _Sessions
    asked: dict[str, object]
    """The settings that its sessions were asked for under."""


class _Sessions(Handler):
    """Hands what comes in to the session that it names."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._handlers: dict[str, Handler] = {}
        self._users: dict[str, set[str]] = {}
        """By address, the sessions that sent something there."""

    @property
    def any(self) -> bool:
        """Whether there is one."""
        return bool(self._handlers)

    def add(self, session: str, handler: Handler) -> None:
        if session in self._handlers:
            raise ConfigurationError(
                f"a callback of this process already trains in session {session!r}: give each model that trains at the "
                "same time a model_name of its own"
            )
        self._handlers = {**self._handlers, session: handler}

    def remove(self, session: str) -> list[str]:
        """Take ``session`` out; the addresses that no other one uses."""
        self._handlers = {name: handler for name, handler in self._handlers.items() if name != session}
        with self._lock:
            return [address for address in tuple(self._users) if self._disuse(session, address)]

    def use(self, session: str, address: str) -> None:
        with self._lock:
            self._users.setdefault(address, set()).add(session)

    def disuse(self, session: str, address: str) -> bool:
        """Whether ``session`` was the only one that used ``address``."""
        with self._lock:
            return self._disuse(session, address)

    def _disuse(self, session: str, address: str) -> bool:
        users = self._users.get(address, set())
        used = session in users
        users.discard(session)
        if not users:
            self._users.pop(address, None)
        return used and not users

    def on_envelope(self, envelope: Envelope) -> None:
        handlers = self._handlers
        # A peer of a session that is not here is answered by another one, which tells it who is.
        handler = handlers.get(envelope.session) or next(iter(handlers.values()), None)
        if handler is not None:
            handler.on_envelope(envelope)

    def on_lost(self, address: str, reason: str) -> None:
        with self._lock:
            users = tuple(self._users.get(address, ()))
        for session in users:
            handler = self._handlers.get(session)
            if handler is not None:
                handler.on_lost(address, reason)

    def open_sink(self, header: StreamHeader) -> Sink:
        return self._of(header.session).open_sink(header)

    def serve(self, request: FetchRequest) -> Iterable[Frame]:
        return self._of(request.session).serve(request)

    def status(self) -> dict[str, Any]:
        statuses = [handler.status() for handler in self._handlers.values()]
        return statuses[0] if len(statuses) == 1 else {"sessions": statuses}

    def _of(self, session: str) -> Handler:
        handler = self._handlers.get(session)
        if handler is None:
            raise ExchangeError(f"no peer of session {session!r} is here")
        return handler


class _View(Transport):
    """What one session sees of the shared transport."""

    def __init__(self, shared: SharedAddress, session: str, transport: Transport, asked: Mapping[str, object]) -> None:
        self._shared = shared
        self._session = session
        self._transport = transport
        self._asked = asked
        self._sessions: _Sessions | None = None
        """None before ``start`` and after ``close``."""

    @property
    def identity(self) -> Identity | None:
        return self._transport.identity

    def start(self, handler: Handler) -> str:
        here = self._shared.join(self._session, handler, self._transport, self._asked)
        self._transport, self._sessions = here.transport, here.sessions
        return here.address

    def send(self, address: str, envelope: Envelope) -> None:
        if self._sessions:
            self._sessions.use(self._session, address)
            self._transport.send(address, envelope)

    def upload(
        self, address: str, header: StreamHeader, frames: Iterator[Frame], done: Callable[[str | None], None]
    ) -> Upload:
        if self._sessions is None:
            return NoUpload()
        self._sessions.use(self._session, address)
        return self._transport.upload(address, header, frames, lambda reason: done(reason) if self._sessions else None)

    def fetch(self, address: str, request: FetchRequest, timeout: float) -> Iterator[memoryview]:
        return self._transport.fetch(address, request, timeout)

    def forget(self, address: str) -> None:
        if self._sessions and self._sessions.disuse(self._session, address):
            self._transport.forget(address)

    def way(self, address: str) -> Way | None:
        return self._transport.way(address)

    def close(self, linger: float = 1.0) -> None:
        if self._sessions:
            self._sessions = None
            self._shared.leave(self._session, linger)


PROCESS = SharedAddress()
"""That of this process."""
os.register_at_fork(after_in_child=PROCESS.reset)
