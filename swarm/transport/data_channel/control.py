"""What a data channel asks of the transport beside it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING

from swarm.transport.base import Transport

if TYPE_CHECKING:
    from swarm.messages import DataChannelOffer, DataChannelRequest, StreamHeader

Issue = Callable[["DataChannelRequest"], "DataChannelOffer"]
"""Answers a request for a data channel; raises ``ExchangeError`` to refuse."""


class DataChannelControl(Transport):
    """A transport over which peers can agree on data channels. It authenticates them: a channel knows tokens only."""

    @abstractmethod
    def offer_data_channels(self, issue: Issue, lost: Callable[[str], None]) -> None:
        """Answer the requests of others with ``issue``, and call ``lost`` with an address before ``Handler.on_lost``.

        Called before ``start``; without it requests are refused.
        """

    @abstractmethod
    def ask_data_channel(self, address: str, request: DataChannelRequest, timeout: float) -> DataChannelOffer:
        """Ask the peer at ``address`` for a data channel, and wait for its answer for at most ``timeout`` seconds.

        Raises:
            AddressError: ``address`` cannot be parsed.
            UnreachablePeerError: nobody answers there.
            ExchangeError: the peer refuses.
            TransportError: it knows no data channels, or fails.
        """

    @abstractmethod
    def encode_header(self, header: StreamHeader) -> bytes:
        """``header`` as it travels on a data channel.

        Raises:
            ExchangeError: it cannot be sent.
        """

    @abstractmethod
    def decode_header(self, data: bytes) -> StreamHeader:
        """What ``encode_header`` made at the other end.

        Raises:
            ExchangeError: it is none.
        """
