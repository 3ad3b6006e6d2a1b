"""The HTTP endpoint of the metrics."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from swarm.config import is_link
from swarm.errors import ConfigurationError

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

HOST = "SWARM_PROMETHEUS_HOST"
PORT = "SWARM_PROMETHEUS_PORT"

_HIGHEST_PORT = 65535
_logger = logging.getLogger("swarm.prometheus")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An address to serve on; port 0 selects a free one."""

    host: str
    port: int

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Endpoint | None:
        """Read `SWARM_PROMETHEUS_PORT` and `SWARM_PROMETHEUS_HOST` (default 127.0.0.1); without a port there is none.

        A value that Kubernetes or Docker sets for a service called `swarm-prometheus`, such as `tcp://10.0.0.1:9090`,
        is not a port; Swarm logs that it is ignored. Peers that `swarm up` starts share their environment, so each adds
        its `SWARM_RANK` to a port above 0.

        Raises:
            ConfigurationError: the port is not a number from 0 to 65535.

        """
        text = environment.get(PORT, "").strip()
        if not text or is_link(PORT, text, setting=True):
            return None
        port = int(text) if text.isascii() and text.isdecimal() else -1
        rank = environment.get("SWARM_RANK", "")
        if port > 0 and rank.isdecimal():
            port += int(rank)
        if not 0 <= port <= _HIGHEST_PORT:
            raise ConfigurationError(
                f"{PORT}={text!r}: expected a port from 0 (any free one) to {_HIGHEST_PORT}, SWARM_RANK included; "
                "unset it to serve no metrics."
            )
        return cls(environment.get(HOST, "127.0.0.1"), port)

    def serve(self, registry: CollectorRegistry) -> int | None:
        """Serve `registry` from a daemon thread until the process ends; an address in use is a warning, not an error.

        Returns:
            The port, or None if the address is not available.

        """
        from prometheus_client import start_http_server

        try:
            server, _ = start_http_server(self.port, addr=self.host, registry=registry)
        except OSError as error:
            _logger.warning(
                "no metrics are served: %s:%d cannot be opened (%s); training goes on. Set %s to a free port, or to 0.",
                self.host,
                self.port,
                error.strerror or error,
                PORT,
            )
            return None
        _logger.info("metrics at http://%s:%d/metrics", self.host, server.server_port)
        return server.server_port
