"""Leaves word for ``swarm up`` of how a session ended."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from swarm.membership.outcomes import SessionOutcome, leave
from swarm.text import printable

if TYPE_CHECKING:
    from pathlib import Path

    from swarm.config import Settings
    from swarm.session.engine import Engine

MAX_REASON = 300
"""Characters; the record is read from one small block."""


class OutcomeNote:
    """The record of one session of one peer; there is none without a launcher that looks for it."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._key = secrets.token_hex(8)

    def began(self) -> None:
        """The session is about to start; what ends without another word has not closed it."""
        self._leave(SessionOutcome(rank=self._settings.rank or 0, session=self._settings.model_name))

    def ended(self, engine: Engine, *, result: Path | None, closing: bool, reason: str) -> None:
        """This peer has left the session, with the closing model, in the file ``result``, or for another ``reason``."""
        settings, commit = self._settings, engine.commit
        final = result if closing else None
        self._leave(
            SessionOutcome(
                rank=settings.rank or 0,
                session=settings.model_name,
                ended=True,
                closing=closing,
                reason="" if closing else printable(reason, MAX_REASON),
                round=commit.round if commit else None,
                digest=commit.digest if commit else "",
                file=str(final.absolute()) if final and final.is_file() else "",
                bytes_sent=engine.exchanger.bytes_sent,
                bytes_received=engine.exchanger.bytes_received,
            )
        )

    def _leave(self, outcome: SessionOutcome) -> None:
        if self._settings.rendezvous and self._settings.rank is not None:
            leave(self._settings.rendezvous, self._key, outcome)
