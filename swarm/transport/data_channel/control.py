"""What a data channel asks of the transport beside it."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

from swarm.errors import UnreachablePeerError
from swarm.transport.base import Transport

if TYPE_CHECKING:
    from collections.abc import Callable

    from swarm.addresses import Address
    from swarm.messages import DataChannelOffer, DataChannelRequest, DialBackRequest, StreamHeader
    from swarm.transport.pacing import Pacing


@dataclass(frozen=True, slots=True)
class DataChannels:
    """What others may ask of the data channels of this peer; each raises ``ExchangeError`` to refuse."""

    port: int
    """On which this peer listens for them."""
    issue: Callable[[DataChannelRequest], DataChannelOffer]
    """Answers a request for a data channel."""
    dial_back: Callable[[Address, DialBackRequest], None]
    """Opens one to the peer at an address, which cannot connect to this one and will send on it."""
    reach: Callable[[Address, DataChannelOffer], None]
    """Opens one to the peer at an address and closes it; raises ``TransportError`` where it cannot."""
    lost: Callable[[str], None]
    """Called with an address before ``Handler.on_lost``."""


class DataChannelControl(Transport):
    """A transport over which peers can agree on data channels. It authenticates them: a channel knows tokens only."""

    pacing: Pacing
    """How fast this peer may send weights, also over data channels."""

    @abstractmethod
    def offer_data_channels(self, data_channels: DataChannels) -> None:
        """Answer the requests of others with ``data_channels``.

        Called before ``start``; without it requests are refused.
        """

    def data_place(self, where: Address, port: int) -> tuple[str, int]:
        """Host and port to connect to for a data channel to the peer at ``where``, which has said ``port``.

        Raises:
            TransportError: there is no way to it.
        """
        return where.host, port

    def is_reversed(self, address: str) -> bool:
        """Whether nobody can connect to ``address``, and the peer there is called over connections of its own."""
        return False

    def ask_to_dial_back(self, address: str, request: DialBackRequest, timeout: float) -> None:
        """Let the peer at ``address`` open a data channel to this one within ``timeout`` seconds; see ``is_reversed``.

        Raises:
            UnreachablePeerError: nobody answers there.
            ExchangeError: the peer refuses, or could not open it.
            TransportError: it knows no data channels, or fails.
        """
        raise UnreachablePeerError(f"{address} is not asked to open a data channel for {request.request.sender}")

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
