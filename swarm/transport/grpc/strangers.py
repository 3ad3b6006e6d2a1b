"""Finds out who connects and shows no certificate: gRPC refuses them during the handshake and tells nobody.

The system's table of connections (Linux) has the addresses at the other ends. Those from which no call has come are
strangers. Connections that were closed here stay in the table for a minute, so looking now and then is enough.
"""

from __future__ import annotations

import ipaddress
import re
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from swarm import addresses
from swarm.transport.grpc import connection_limit
from swarm.transport.grpc.options import HANDSHAKE_SECONDS, max_connections

if TYPE_CHECKING:
    from swarm.clock import Clock
    from swarm.transport.grpc.connection_limit import Place
    from swarm.transport.notices import Notices

YOUNG_SECONDS = HANDSHAKE_SECONDS + 2.0
"""For which a connection is not judged: its first call may still come."""
TABLES = (Path("/proc/self/net/tcp"), Path("/proc/self/net/tcp6"))
_LINE = rb"^ *\d+: ([0-9A-F]+):%04X ([0-9A-F]+):([0-9A-F]{4}) (0[1-9]) "
_ESTABLISHED, _CLOSED = b"01", b"06"
"""States of a connection: it is open, or was closed at this end up to a minute ago (TIME_WAIT)."""
_WORD = 4
"""Bytes; the table has addresses in words of the machine's own byte order."""


class Strangers:
    """Tells the log of addresses that connect to ``port`` and never call, and ends their connections if there are many.

    Args:
        host: that this peer listens on; a name, an IP address or a wildcard.
        port: that peers connect to.
        notices: for the log.
        clock: for how long a connection has been there.
        tables: of connections, as Linux writes them.
    """

    def __init__(self, host: str, port: int, notices: Notices, clock: Clock, tables: Sequence[Path] = TABLES) -> None:
        ip = addresses.ip_of(host)
        self._here = str(ip) if ip and not ip.is_unspecified else ""
        """Empty where this peer listens on more than one address."""
        self._port = port
        self._pattern = re.compile(_LINE % port, re.MULTILINE)
        self._notices = notices
        self._clock = clock
        self._tables = tables
        self._callers: set[Place] = set(self._present())
        """Other ends from which a call has come, or that were connected to an earlier process at this port."""
        self._seen: dict[Place, float] = {}
        """Other ends in the table, and when each was first there, the oldest first."""

    def called(self, host: str, port: int) -> None:
        """A call has come over the connection from there: its certificate is the authority's."""
        self._callers.add((connection_limit.usual_form(host), port))

    def look(self) -> None:
        """Look at the table."""
        now = self._clock.now()
        callers = set(self._callers)  # before the table is read, which then has all of them that are open
        present = self._present()
        self._callers -= callers - present.keys()
        self._seen = {place: since for place, since in self._seen.items() if place in present}
        self._seen |= {place: now for place in present if place not in self._seen}
        judged = (_ESTABLISHED, _CLOSED)
        strangers = [place for place in self._seen if place not in self._callers and present[place] in judged]
        for place in strangers:
            if now - self._seen[place] >= YOUNG_SECONDS:
                self._tell(place[0])
        opened = [place for place in reversed(strangers) if present[place] == _ESTABLISHED]
        surplus = connection_limit.surplus(opened, list(present.values()).count(_ESTABLISHED), max_connections())
        if surplus:
            connection_limit.end(self._port, surplus)
            for host in {host for host, _ in surplus}:
                self._tell(host)

    def _tell(self, host: str) -> None:
        self._notices.warn(
            host,
            f"{host} connects to port {self._port} of this peer and shows no certificate of the consortium: if a "
            "member is there, its identity is of another consortium or has expired, or it expects another peer at "
            "this address",
        )

    def _present(self) -> dict[Place, bytes]:
        """The other ends of connections in the table, and the state of each."""
        found = {}
        for table in self._tables:
            with suppress(OSError):  # there is none, as on other systems
                for own, other, port, state in self._pattern.findall(table.read_bytes()):
                    if self._here in ("", _host(own)):
                        found[_host(other), int(port, 16)] = state
        return found


def _host(text: bytes) -> str:
    data = bytes.fromhex(text.decode())
    if sys.byteorder == "little":
        data = b"".join(data[start : start + _WORD][::-1] for start in range(0, len(data), _WORD))
    return connection_limit.usual_form(str(ipaddress.ip_address(data)))
