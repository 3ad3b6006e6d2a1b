"""Bounds the addresses that one peer may give: each may be answered, over connections of its own."""

from __future__ import annotations

from swarm.records import PeerId

MOST = 8
"""Addresses of one peer that count. It has one, and another one each time that it is started anew."""
KEPT = 60.0
"""Seconds after which an address that a peer gives no more makes room."""


class GivenAddresses:
    """The addresses that peers have given, where the transport verifies names."""

    def __init__(self) -> None:
        self._given: dict[PeerId, dict[str, float]] = {}
        """By peer, when it gave each address last."""

    def admit(self, peer: PeerId, address: str, now: float) -> bool:
        """Whether ``peer`` may give this address too."""
        given = self._given.setdefault(peer, {})
        if address not in given and len(given) >= MOST:
            given = self._given[peer] = {each: at for each, at in given.items() if at > now - KEPT}
            if len(given) >= MOST:
                return False
        given[address] = now
        return True
