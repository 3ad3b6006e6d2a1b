"""Tokens: what a peer shows on a new connection to prove that it asked for it over the control channel."""

from __future__ import annotations

import hmac
import secrets
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from swarm.errors import ExchangeError

if TYPE_CHECKING:
    from swarm.clock import Clock
    from swarm.messages import DataChannelRequest

TOKEN_BYTES = 32
LIFETIME = 15.0
"""Seconds in which a token must be used."""
MAX_OUTSTANDING = 256
MAX_OUTSTANDING_OF_A_PEER = 32


@dataclass(frozen=True, slots=True)
class _Token:
    secret: bytes
    holder: DataChannelRequest
    expires: float


class Tokens:
    """Those issued and not yet used; each is good for one connection of its holder."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._issued: list[_Token] = []

    def issue(self, holder: DataChannelRequest) -> bytes:
        """A new token for ``holder``.

        Raises:
            ExchangeError: too many are waiting to be used.
        """
        with self._lock:
            self._expire()
            if len(self._issued) >= MAX_OUTSTANDING:
                raise ExchangeError(f"{MAX_OUTSTANDING} data channels are being opened already")
            if sum(token.holder.sender == holder.sender for token in self._issued) >= MAX_OUTSTANDING_OF_A_PEER:
                raise ExchangeError(f"{holder.sender} is opening {MAX_OUTSTANDING_OF_A_PEER} data channels already")
            secret = secrets.token_bytes(TOKEN_BYTES)
            self._issued.append(_Token(secret, holder, self._clock.now() + LIFETIME))
            return secret

    def redeem(self, secret: bytes) -> DataChannelRequest | None:
        """The holder of a token, which is used up; None if there is no such token."""
        with self._lock:
            self._expire()
            found = [token for token in self._issued if hmac.compare_digest(token.secret, secret)]
            for token in found:
                self._issued.remove(token)
            return found[0].holder if found else None

    def _expire(self) -> None:
        now = self._clock.now()
        self._issued = [token for token in self._issued if token.expires > now]
