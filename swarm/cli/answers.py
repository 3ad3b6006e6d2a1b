"""The status answer of a peer, checked before it is shown."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from swarm.errors import TransportError
from swarm.messages import MAX_PEERS
from swarm.text import MAX_SHOWN, printable

MOST = 2**63
"""Larger numbers of rounds, bytes and seconds are rejected."""
_MAX_NAME = 300
_MAX_DEPTH = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerView:
    """The status of one peer."""

    name: str
    address: str = ""
    session: str = ""
    status: str = ""
    security: str = ""
    """What protects its connections."""
    round: int = 0
    """Rounds committed."""
    interval: int = 0
    """Batches between merges."""
    batches_left: int | None = None
    """Local batches to its next merge; None if that is not known, or none will come."""
    loss: float | None = None
    bytes_sent: int = 0
    bytes_received: int = 0
    epoch: int = 0
    """Completed epochs."""
    total_epochs: int | None = None
    seconds_left: float | None = None
    """Estimated time to the end of its training."""
    protocol: int | None = None
    """The newest version of the protocol that it speaks; None if it does not tell, as a peer of protocol 0."""
    session_protocol: int | None = None
    """The version that its session uses."""
    release: str = ""
    """Its release of Swarm."""
    way: str = ""
    """How the peer that names it reaches it."""
    peers: tuple[PeerView, ...] = field(default=())
    """The other peers that it knows: name, address, status and way."""

    @property
    def has_end(self) -> bool:
        """Whether the end of its training is known; false once the total is exceeded."""
        return self.seconds_left is not None and (self.total_epochs is None or self.epoch <= self.total_epochs)


def sessions(answer: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The statuses in an answer: one for each session of a process that trains several models.

    Raises:
        TransportError: it is no status.
    """
    return _records(answer, "sessions") or [answer]


def parse(answer: Mapping[str, Any]) -> PeerView:
    """The view in the status of one session; missing fields have their defaults.

    Raises:
        TransportError: it is not a status; the message names the field.
    """
    return PeerView(
        name=_text(answer, "name") or "?",
        address=_text(answer, "address"),
        session=_text(answer, "session"),
        status=_text(answer, "status"),
        security=_text(answer, "security"),
        round=count(answer, "round") or 0,
        interval=count(answer, "interval") or 0,
        batches_left=count(answer, "batches_left"),
        loss=number(answer, "loss"),
        bytes_sent=count(answer, "bytes_sent") or 0,
        bytes_received=count(answer, "bytes_received") or 0,
        epoch=count(answer, "epoch") or 0,
        total_epochs=count(answer, "total_epochs"),
        seconds_left=_seconds(answer, "seconds_left"),
        protocol=count(answer, "protocol"),
        session_protocol=count(answer, "session_protocol"),
        release=_text(answer, "release"),
        peers=tuple(
            PeerView(
                name=_text(peer, "name") or "?",
                address=_text(peer, "address"),
                status=_text(peer, "state"),
                way=_text(peer, "way"),
                protocol=count(peer, "protocol"),
                release=_text(peer, "release"),
            )
            for peer in _records(answer, "peers")
        ),
    )


def plain(value: object, depth: int = _MAX_DEPTH) -> Any:
    """A part of an answer for a JSON document: limited in depth and size, with None for NaN and infinity.

    Raises:
        TransportError: it is nested too deeply, or too large.
    """
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, str):
        return printable(value, MAX_SHOWN)
    if not isinstance(value, Mapping | list):
        return value
    if depth == 0 or len(value) > MAX_PEERS:
        raise TransportError(f"its status is nested too deeply, or holds more than {MAX_PEERS} entries in one place")
    if isinstance(value, list):
        return [plain(item, depth - 1) for item in value]
    return {printable(str(key), _MAX_NAME): plain(item, depth - 1) for key, item in value.items()}


def _text(answer: Mapping[str, Any], key: str) -> str:
    value = answer.get(key)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise _odd(key, value, "a text")
    return printable(value, _MAX_NAME)


def count(answer: Mapping[str, Any], key: str) -> int | None:
    """A number from 0 on; None if there is none.

    Raises:
        TransportError: it is something else, or too large.
    """
    value = answer.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < MOST:
        raise _odd(key, value, "a count")
    return value


def number(answer: Mapping[str, Any], key: str) -> float | None:
    """A number, which may be NaN or infinite; None if there is none.

    Raises:
        TransportError: it is something else, or too large.
    """
    value = answer.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or (isinstance(value, int) and abs(value) > MOST):
        raise _odd(key, value, "a number")
    return float(value)


def _seconds(answer: Mapping[str, Any], key: str) -> float | None:
    value = number(answer, key)
    if value is not None and not 0 <= value < MOST:
        raise _odd(key, value, "a number of seconds")
    return value


def _records(answer: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    value = answer.get(key)
    if value is None:
        return []
    if not isinstance(value, list | tuple) or len(value) > MAX_PEERS or not all(isinstance(e, Mapping) for e in value):
        raise _odd(key, value, f"a list of at most {MAX_PEERS} {key}")
    return list(value)


def _odd(key: str, value: object, expected: str) -> TransportError:
    return TransportError(f"it did not answer with a status: {key} is {_short(value)}, not {expected}")


def _short(value: object) -> str:
    if isinstance(value, Mapping | list | tuple):
        return f"a {type(value).__name__} of {len(value)}"
    if isinstance(value, int) and abs(value) > MOST:
        return "a number that is too large"
    return printable(repr(value), 40)
