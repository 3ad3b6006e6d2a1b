"""A relay on one machine: it knows the ports of all peers, and lets them have these."""

from __future__ import annotations

from swarm.errors import TransportError
from swarm.transport.relay import Relay


class Switchboard:
    """Who is on the relay."""

    def __init__(self) -> None:
        self.ports: dict[tuple[str, bool], int] = {}
        """By address, and whether it is the data port."""
        self.asked: list[str] = []
        """Addresses that were reached over it."""
        self.closed = False


class LocalRelay(Relay):
    """The end of one peer."""

    def __init__(self, board: Switchboard) -> None:
        self._board = board
        self._address = ""
        self.hint = ""

    @property
    def name(self) -> str:
        return "the switchboard"

    def start(self, address: str, host: str, port: int, data_port: int | None) -> None:
        assert host == "127.0.0.1"
        self._address = address
        self._board.ports[address, False] = port
        self._board.ports[address, True] = data_port or 9

    def port(self, address: str, *, data: bool = False) -> int:
        if self._board.closed:
            raise TransportError("the switchboard is closed")
        self._board.asked.append(address)
        return self._board.ports.get((address, data), 9)

    def forget(self, address: str) -> None:
        pass

    def reason(self, address: str) -> str:
        return self.hint

    def close(self, linger: float) -> None:
        for data in (False, True):
            self._board.ports.pop((self._address, data), None)
