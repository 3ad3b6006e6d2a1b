"""What a lane asks of the transport beside it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING

from swarm.transport.base import Transport

if TYPE_CHECKING:
    from swarm.messages import LaneOffer, LaneRequest, StreamHeader

Issue = Callable[["LaneRequest"], "LaneOffer"]
"""Answers a request for a lane; raises ``ExchangeError`` to refuse."""


class LaneControl(Transport):
    """A transport over which peers can agree on lanes. It is who authenticates them: a lane knows tickets only."""

    @abstractmethod
    def offer_lanes(self, issue: Issue) -> None:
        """Answer the requests of others with ``issue``. Called before ``start``; without it they are refused."""

    @abstractmethod
    def ask_lane(self, address: str, request: LaneRequest, timeout: float) -> LaneOffer:
        """Ask the peer at ``address`` for a lane, and wait for its answer for at most ``timeout`` seconds.

        Raises:
            AddressError: ``address`` cannot be parsed.
            UnreachablePeerError: nobody answers there.
            ExchangeError: the peer refuses.
            TransportError: it knows no lanes, or fails.
        """

    @abstractmethod
    def encode_header(self, header: StreamHeader) -> bytes:
        """``header`` as it travels on a lane.

        Raises:
            ExchangeError: it cannot be sent.
        """

    @abstractmethod
    def decode_header(self, data: bytes) -> StreamHeader:
        """What ``encode_header`` made at the other end.

        Raises:
            ExchangeError: it is none.
        """
