"""The hooks. MLflow is imported at the first event, so a process without a session does not load it."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from swarm import hookimpl
from swarm_mlflow.settings import Settings

if TYPE_CHECKING:
    from swarm.records import PeerJoined, RoundFailed, RoundFinished, SessionClosed, SessionStarted
    from swarm_mlflow.book import Book
    from swarm_mlflow.desk import Desk

_log = logging.getLogger("swarm.mlflow")
_first_event = threading.Lock()
_desks: list[Desk] = []
_books: dict[str, Book] = {}
"""By session. Only the thread of the desk uses them."""
_met: dict[str, PeerJoined] = {}
"""By session: a peer that was met before the session started here."""


def _desk() -> Desk | None:
    """That of this process, if a store is configured."""
    with _first_event:
        if not _desks and Settings.of(os.environ) is not None:
            from swarm_mlflow.desk import Desk

            _desks.append(Desk())
        return _desks[0] if _desks else None


def _put(session: str, work: Callable[[Book, int], None]) -> None:
    """Let the desk write something into the book of a session, with the time of now."""
    at = _now()

    def write() -> None:
        if book := _books.get(session):
            work(book, at)

    if desk := _desk():
        desk.put(write)


def _now() -> int:
    """Milliseconds since 1970, as MLflow counts."""
    return time.time_ns() // 1_000_000


@hookimpl
def swarm_register() -> None:
    """Register nothing; raise an error for invalid variables before training starts."""
    Settings.of(os.environ)


@hookimpl
def swarm_session_started(event: SessionStarted) -> None:
    """Begin a run."""
    settings, desk, at = Settings.of(os.environ), _desk(), _now()
    if settings is None or desk is None:
        return

    def begin() -> None:
        from swarm_mlflow.book import Book
        from swarm_mlflow.stores import opened

        client = opened(settings.store)
        book = _books[event.session] = Book(client, settings.experiment, event, at, keep=settings.models)
        if met := _met.pop(event.session, None):
            book.joined(met)

    desk.put(begin)


@hookimpl
def swarm_peer_joined(event: PeerJoined) -> None:
    """Log the settings of the session."""

    def write() -> None:
        if book := _books.get(event.peer.session):
            book.joined(event)
        else:
            _met[event.peer.session] = event

    if desk := _desk():
        desk.put(write)


@hookimpl
def swarm_round_finished(event: RoundFinished) -> None:
    """Log the figures of the round."""
    _put(event.session, lambda book, at: book.finished(event, at))


@hookimpl
def swarm_round_failed(event: RoundFailed) -> None:
    """Count the failure."""
    _put(event.session, lambda book, at: book.failed(event, at))


@hookimpl
def swarm_session_closed(event: SessionClosed) -> None:
    """End the run. The training is over, so that this may wait for the store."""
    settings, desk, at = Settings.of(os.environ), _desk(), _now()
    if settings is None or desk is None:
        return

    def end() -> None:
        # Here, and not by the caller: what is before it in the queue still needs the book.
        if book := _books.pop(event.session, None):
            book.closed(event, at)

    desk.put(end)
    if not desk.drain(settings.wait):
        _log.warning(
            "not everything is in MLflow after %.0f s; SWARM_MLFLOW_WAIT makes the end wait longer", settings.wait
        )
