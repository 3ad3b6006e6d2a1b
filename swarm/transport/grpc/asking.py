"""What a peer asks others about the way between them, for ``swarm check``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from swarm.addresses import Address
from swarm.messages import ReachAnswer, ReachDataRequest
from swarm.transport.grpc.calls import ask_status, call_once
from swarm.transport.grpc.diagnosis import shown_by
from swarm.transport.grpc.measuring import measure
from swarm.transport.grpc.service import REACH, REACH_DATA
from swarm.transport.grpc.wire import decode, encode

if TYPE_CHECKING:
    from collections.abc import Callable

    import grpc

    from swarm.identity import Identity
    from swarm.identity.certificates import Certificate
    from swarm.messages import DataChannelOffer, ReachRequest
    from swarm.proxy import Proxies
    from swarm.transport.grpc.measuring import Speeds
    from swarm.transport.grpc.relayed import Relayed
    from swarm.transport.pacing import Pacing


class Asking:
    """Asks one question at a connection of its own. Each raises a ``SwarmError`` where there is no answer.

    Args:
        connect: opens a connection to an address, for weights or not.
        own: what others are asked whether they can connect to this peer.
        pacing: how fast this peer may send.
        relayed: who is reached over a relay.
        identity: of this peer; None: it speaks no TLS.
        proxies: for connections to others.
    """

    def __init__(
        self,
        connect: Callable[[Address, bool], grpc.Channel],
        own: ReachRequest,
        pacing: Pacing,
        relayed: Relayed,
        identity: Identity | None,
        proxies: Proxies,
    ) -> None:
        self._relayed = relayed
        self._identity = identity
        self._proxies = proxies
        self._connect = connect
        self._own = own
        self._pacing = pacing

    def turn_to_relay(self, address: str, reason: str) -> bool:
        """Ask the peer at ``address`` over the relay from now on; False where there is no relay.

        Args:
            address: of the peer.
            reason: why it cannot be connected to.
        """
        return self._relayed.turn(address, reason)

    def certificate(self, address: str, timeout: float) -> Certificate | None:
        """The one that the peer at ``address`` shows; None where this peer has no identity."""
        if self._identity is None:
            return None
        return shown_by(self._relayed.place(Address.parse(address)), self._identity, self._proxies, timeout)

    def status(self, address: str, timeout: float) -> dict[str, Any]:
        """What the peer at ``address`` tells of itself; JSON types only."""
        return ask_status(self._connect(Address.parse(address), False), timeout, address)

    def reached_from(self, address: str, timeout: float) -> str:
        """Why the peer at ``address`` cannot connect to this one; empty if it can.

        Raises:
            UnknownCallError: it does not know the question, as in the other methods.
        """
        channel = self._connect(Address.parse(address), False)
        return decode(ReachAnswer, call_once(channel, REACH, encode(self._own), timeout, address)).reason

    def data_port_reached_from(self, address: str, offer: DataChannelOffer, timeout: float) -> str:
        """Why the peer at ``address`` cannot open a data channel to this one, for ``offer``; empty if it can."""
        channel = self._connect(Address.parse(address), False)
        asked = encode(ReachDataRequest(self._own.address, offer))
        return decode(ReachAnswer, call_once(channel, REACH_DATA, asked, timeout, address)).reason

    def measure(self, address: str) -> Speeds:
        """How fast bytes travel to and from the peer at ``address``; takes some seconds."""
        return measure(self._connect(Address.parse(address), True), self._pacing, address)
