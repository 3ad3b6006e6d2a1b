"""The hooks."""

from __future__ import annotations

import atexit
import os
import threading
from typing import TYPE_CHECKING

from swarm import hookimpl
from swarm_alerts.settings import Settings

if TYPE_CHECKING:
    from swarm.records import PeerJoined, PeerLeft, RoundFinished, SessionClosed, SessionStarted
    from swarm_alerts.desk import Desk, Work


_first_event = threading.Lock()
_desks: list[Desk] = []


def _put(work: Work) -> None:
    """Hand an event to the desk of this process, if alerts are configured."""
    with _first_event:
        if not _desks:
            settings = Settings.of(os.environ)
            if settings is None:
                return
            from swarm_alerts.desk import Desk
            from swarm_alerts.sending import senders
            from swarm_alerts.watcher import Watcher

            _desks.append(Desk(Watcher(settings.after), senders(settings)))
            atexit.register(_desks[0].close)
        _desks[0].put(work)


@hookimpl
def swarm_register() -> None:
    """Register nothing; raise an error for invalid variables before training starts."""
    Settings.of(os.environ)


@hookimpl
def swarm_session_started(event: SessionStarted) -> None:
    """Note the name of this site."""
    _put(lambda watcher, _: watcher.started(event))


@hookimpl
def swarm_peer_joined(event: PeerJoined) -> None:
    """A site is there, perhaps again."""
    _put(lambda watcher, now: watcher.joined(event, now))


@hookimpl
def swarm_peer_left(event: PeerLeft) -> None:
    """A site is gone."""
    _put(lambda watcher, now: watcher.left(event, now))


@hookimpl
def swarm_round_finished(event: RoundFinished) -> None:
    """A round may have left contributions out."""
    _put(lambda watcher, _: watcher.finished(event))


@hookimpl
def swarm_session_closed(event: SessionClosed) -> None:
    """The run has ended here."""
    _put(lambda watcher, _: watcher.closed(event))
