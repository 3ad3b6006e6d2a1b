"""The variables of the plugin: which hub, and how this peer proves to it that it may use it."""

from __future__ import annotations

import importlib.util
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from swarm.errors import ConfigurationError, MissingExtraError
from swarm.transport import Proxies

PREFIX = "SWARM_NATS_"
SCHEMES = {"nats": 4222, "tls": 4222, "ws": 80, "wss": 443}
"""With the port of a server that is given without one."""
_SUBJECT = re.compile(r"[A-Za-z0-9_-]{1,64}(\.[A-Za-z0-9_-]{1,64}){0,7}")
_DOMAIN = re.compile(r"[A-Za-z0-9_-]{0,64}")
_KNOWN = ("SERVERS", "CREDENTIALS", "CA", "SUBJECT", "REPLICAS", "DOMAIN")


@dataclass(frozen=True, slots=True)
class HubSettings:
    """Where the hub is."""

    servers: tuple[str, ...] = field(repr=False)
    """URLs, which may hold a password: ``shown`` is for messages."""
    credentials: Path | None = None
    """A file with a JWT and the seed of its key, as NATS issues them."""
    authority: Path | None = None
    """Certificates that prove the servers, instead of the system's."""
    subject: str = "swarm"
    """What all subjects of these peers begin with."""
    replicas: int = 1
    """Servers of a cluster that keep the announcements."""
    domain: str = ""
    """Of JetStream on the hub, by which clients of a leaf node name it; empty where it has none."""
    proxies: Proxies = field(default_factory=Proxies, repr=False, compare=False)
    """Through which the servers are reached."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str], proxies: Proxies | None = None) -> HubSettings:
        """Read the variables ``SWARM_NATS_*``.

        Args:
            environment: the variables.
            proxies: which connections go through a proxy; None: as the environment of the process says.

        Raises:
            ConfigurationError: one is unknown, missing or not allowed, or does not go with the proxy.
            MissingExtraError: the servers need a library that is not installed.
            ProxyError: a server needs the proxy of the environment, which is none that is known here.
        """
        proxies = proxies or Proxies()
        given = {name: text.strip() for name, text in environment.items() if name.startswith(PREFIX)}
        for name in sorted(given):
            if name.removeprefix(PREFIX) not in _KNOWN:
                raise ConfigurationError(f"there is no variable {name}: allowed are {_listed()}")
        servers = tuple(each.strip() for each in given.get("SWARM_NATS_SERVERS", "").split(",") if each.strip())
        if not servers:
            raise ConfigurationError(
                "the transport and the discovery 'nats' need SWARM_NATS_SERVERS, such as tls://hub.example.org:4222; "
                "several servers of a cluster are separated by commas"
            )
        for number, server in enumerate(servers, 1):
            _check_server(server, number)
            _check_way(server, proxies)
        credentials = _file(given, "SWARM_NATS_CREDENTIALS")
        if credentials is not None:
            _require("nkeys", "SWARM_NATS_CREDENTIALS", "nkeys")
        authority = _file(given, "SWARM_NATS_CA")
        if authority is not None:
            _check_authority(authority)
        subject = given.get("SWARM_NATS_SUBJECT", "swarm")
        if not _SUBJECT.fullmatch(subject):
            raise ConfigurationError(
                f"SWARM_NATS_SUBJECT={subject!r} is no prefix of subjects: allowed are up to 8 words of letters, "
                "digits, '_' and '-', separated by '.'"
            )
        replicas = given.get("SWARM_NATS_REPLICAS", "1")
        if replicas not in ("1", "3", "5"):
            raise ConfigurationError(f"SWARM_NATS_REPLICAS={replicas!r} is not allowed: allowed are 1, 3 and 5")
        domain = given.get("SWARM_NATS_DOMAIN", "")
        if not _DOMAIN.fullmatch(domain):
            raise ConfigurationError(
                f"SWARM_NATS_DOMAIN={domain!r} is no domain of JetStream: allowed are letters, digits, '_' and '-'"
            )
        return cls(servers, credentials, authority, subject, int(replicas), domain, proxies)

    @property
    def shown(self) -> str:
        """The servers without what they hold of passwords."""
        return ", ".join(f"{url.scheme}://{_place(url)}" for url in map(urlsplit, self.servers))

    @property
    def hosts(self) -> tuple[str, ...]:
        """The host of each server."""
        return tuple(urlsplit(server).hostname or "" for server in self.servers)

    def tls(self) -> ssl.SSLContext | None:
        """For the connection to the hub; None where nothing asks for TLS.

        A server that demands TLS gets it whatever its URL says.
        """
        encrypted = any(urlsplit(server).scheme in ("tls", "wss") for server in self.servers)
        return ssl.create_default_context(cafile=self.authority) if encrypted or self.authority else None


def _check_server(server: str, number: int) -> None:
    try:
        url = urlsplit(server)
        valid = url.scheme in SCHEMES and bool(url.hostname) and url.port != 0
    except ValueError:
        valid = False
    else:
        if valid and url.scheme in ("ws", "wss"):
            _require("aiohttp", f"{url.scheme}://{_place(url)} in SWARM_NATS_SERVERS", "aiohttp")
    if not valid:
        # It is not shown: it may hold a password.
        raise ConfigurationError(
            f"entry {number} of SWARM_NATS_SERVERS is no URL of a server: expected scheme://host:port, with one of the "
            f"schemes {', '.join(SCHEMES)}"
        )


def _check_way(server: str, proxies: Proxies) -> None:
    """Refuse a WebSocket through a proxy: aiohttp connects for itself."""
    url = urlsplit(server)
    proxy = proxies.find(url.hostname or "", url.port or SCHEMES[url.scheme])
    if proxy is not None and url.scheme in ("ws", "wss"):
        raise ConfigurationError(
            f"{url.scheme}://{_place(url)} in SWARM_NATS_SERVERS cannot be reached through the proxy {proxy.place}: "
            "use tls:// there (a hub can listen on port 443 with it), or leave the host out of the proxy (no_proxy)"
        )


def _check_authority(path: Path) -> None:
    try:
        ssl.create_default_context(cafile=path)
    except (ssl.SSLError, OSError) as error:
        raise ConfigurationError(f"SWARM_NATS_CA={path} holds no certificates in PEM: {error}") from error


def _file(given: Mapping[str, str], variable: str) -> Path | None:
    if not given.get(variable):
        return None
    path = Path(given[variable])
    try:
        path.open("rb").close()
    except OSError as error:
        raise ConfigurationError(f"{variable}={path} cannot be read: {error.strerror}") from error
    return path


def _require(module: str, setting: str, package: str) -> None:
    if importlib.util.find_spec(module) is None:
        raise MissingExtraError(f"{setting} needs the package {package}: pip install {package}")


def _place(url: SplitResult) -> str:
    return f"{url.hostname}:{url.port}" if url.port else str(url.hostname)


def _listed() -> str:
    return ", ".join(f"{PREFIX}{name}" for name in _KNOWN)
