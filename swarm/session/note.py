"""Writes the record of a session from which ``swarm up`` learns how it ended."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from swarm.storage.session_records import SessionRecord, record_of, write_record
from swarm.text import printable

if TYPE_CHECKING:
    from pathlib import Path

    from swarm.config import Settings
    from swarm.peer.engine import Engine
    from swarm.peer.progress import Progress

MAX_REASON = 300
"""Characters; the record is read from one small block."""


class SessionNote:
    """The record of one run of one peer's session; nothing is written without a launcher that reads it."""

    def __init__(self, settings: Settings, progress: Progress) -> None:
        """``progress`` is that of the local training."""
        self._progress = progress
        self._place = settings.rendezvous if settings.rank is not None else None
        self._record = SessionRecord(rank=settings.rank or 0, session=settings.model_name)
        self._running = False

    def began(self) -> None:
        """The run is about to start: it takes the place of the session's earlier run."""
        if self._place is None:
            return
        self._running = True
        before = record_of(self._place, self._record.rank, self._record.session)
        if before:
            sent, received = before.bytes_sent, before.bytes_received
            self._record = replace(self._record, run=before.run + 1, bytes_sent=sent, bytes_received=received)
        write_record(self._place, self._record)

    def joined(self) -> None:
        """This peer has joined the session."""
        if self._place is not None and self._running:
            self._record = replace(self._record, joined=True)
            write_record(self._place, self._record)

    def ended(self, engine: Engine | None, *, result: Path | None, closing: bool, reason: str) -> None:
        """This peer has left the session, with the closing model, in the file ``result``, or for another ``reason``.

        Only the first call counts. ``engine`` is None where the start failed before the peer listened.
        """
        if self._place is None or not self._running:
            return
        self._running = False
        commit, final = engine.commit if engine else None, result if closing else None
        traffic = engine.traffic if engine else (0, 0)
        self._record = replace(
            self._record,
            ended=True,
            closing=closing,
            reason="" if closing else printable(reason, MAX_REASON),
            round=commit.round if commit else None,
            digest=commit.digest if commit else "",
            epoch=self._progress.epochs,
            total_epochs=self._progress.total,
            file=str(final.absolute()) if final and final.is_file() else "",
            bytes_sent=self._record.bytes_sent + traffic[0],
            bytes_received=self._record.bytes_received + traffic[1],
        )
        write_record(self._place, self._record)
