"""Tickets: what a peer shows on a new connection to prove that it asked for the lane over the control channel."""

from __future__ import annotations

import hmac
import secrets
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from swarm.errors import ExchangeError

if TYPE_CHECKING:
    from swarm.clock import Clock
    from swarm.messages import LaneRequest

TICKET_BYTES = 32
LIFETIME = 15.0
"""Seconds in which a ticket must be used."""
MAX_OUTSTANDING = 256


@dataclass(frozen=True, slots=True)
class _Ticket:
    secret: bytes
    holder: LaneRequest
    expires: float


class Tickets:
    """Those issued and not yet used; each is good for one connection of its holder."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._issued: list[_Ticket] = []

    def issue(self, holder: LaneRequest) -> bytes:
        """A new ticket for ``holder``.

        Raises:
            ExchangeError: too many are waiting to be used.
        """
        with self._lock:
            self._expire()
            if len(self._issued) >= MAX_OUTSTANDING:
                raise ExchangeError(f"{MAX_OUTSTANDING} lanes are being opened already")
            secret = secrets.token_bytes(TICKET_BYTES)
            self._issued.append(_Ticket(secret, holder, self._clock.now() + LIFETIME))
            return secret

    def redeem(self, secret: bytes) -> LaneRequest | None:
        """The holder of a ticket, which is good no more; None where there is no such ticket."""
        with self._lock:
            self._expire()
            found = [ticket for ticket in self._issued if hmac.compare_digest(ticket.secret, secret)]
            for ticket in found:
                self._issued.remove(ticket)
            return found[0].holder if found else None

    def _expire(self) -> None:
        now = self._clock.now()
        self._issued = [ticket for ticket in self._issued if ticket.expires > now]
