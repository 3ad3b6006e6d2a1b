"""Outgoing connections through an HTTP proxy: which one to use for a host, and connecting through it.

It is asked by CONNECT (RFC 9110, section 9.3.6), with a user and a password as RFC 7617 has them.

What is encrypted passes through it as it is: the proxy sees to whom this peer connects, when, and how many bytes pass.
"""

from __future__ import annotations

import base64
import ipaddress
import os
import re
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from swarm.addresses import IP, ip_of, is_loopback, join
from swarm.errors import ProxyError
from swarm.text import MAX_SHOWN, printable

ALLOWED = "http://host:port or http://user:password@host:port (with %40 for @ in a password), or 'none'"
PORT = 80
"""Of a proxy that is given without one, as in any URL of HTTP."""
VARIABLES = ("https_proxy", "HTTPS_PROXY", "http_proxy")
"""Of the environment, where no setting is given; the first that is not empty."""
EXCEPT = ("no_proxy", "NO_PROXY")
MAX_ANSWER_BYTES = 8192
"""Of the answer to a request: its first line and its fields."""
_WITH_PORT = re.compile(r"(?P<host>\[[^\]]*\]|[^:\[\]]+):(?P<port>[0-9]{1,5})")
"""An entry of ``no_proxy`` for one port; an IPv6 address has brackets then."""


@dataclass(frozen=True, slots=True)
class Proxy:
    """An HTTP proxy; as text, without its password."""

    host: str
    """Empty: no proxy is used, whatever the environment says."""
    port: int = 0
    user: str = ""
    password: str = field(default="", repr=False)

    @classmethod
    def parse(cls, text: str) -> Proxy:
        """Read ``http://user:password@host:port``, or ``none``. After ``http://`` the port may be missing.

        Raises:
            ValueError: it is neither. The message does not repeat the text.
        """
        if text.strip().lower() == "none":
            return cls("")
        if not text.isprintable():
            raise ValueError
        found = urlsplit(text if "://" in text else f"http://{text}")
        host, port = found.hostname or "", found.port
        if port is None and "://" in text:
            port = PORT
        if (
            found.scheme != "http"
            or not host
            or not port
            or found.path not in ("", "/")
            or found.query
            or found.fragment
        ):
            raise ValueError
        user, password = unquote(found.username or ""), unquote(found.password or "")
        if ":" in user or not (user + password).isprintable():
            raise ValueError
        return cls(host, port, user, password)

    @property
    def place(self) -> str:
        """``host:port``."""
        return join(self.host, self.port)

    @property
    def authorization(self) -> str:
        """The value of ``Proxy-Authorization``, with the password; empty where the proxy has no user."""
        if not self.user:
            return ""
        return f"Basic {base64.b64encode(f'{self.user}:{self.password}'.encode()).decode()}"

    def __str__(self) -> str:
        if not self.host:
            return "none"
        return f"http://{f'{self.user}:***@' if self.user else ''}{self.place}"


class Proxies:
    """Which connections of this process go through a proxy.

    Args:
        proxy: of the settings; None: that of the environment.
        environment: instead of the process's own. A variable with a proxy of another kind, which may be there for other
            programs, counts once a connection needs it.
    """

    def __init__(self, proxy: Proxy | None = None, environment: Mapping[str, str] | None = None) -> None:
        environment = os.environ if environment is None else environment
        self._wrong = ""
        """The variable of the environment that names no proxy which is known here; empty where none does."""
        if proxy is None:
            proxy, self._wrong = _of(environment)
        self._proxy = proxy if proxy.host else None
        excepted = next((environment[name] for name in EXCEPT if environment.get(name)), "")
        self._excepted = re.split(r"[,\s]+", excepted.lower())

    def find(self, host: str, port: int) -> Proxy | None:
        """The proxy for connections to ``host``; None where they go there directly, as to this machine always.

        ``port`` is that of the host: it may be one that is excepted.

        Raises:
            ProxyError: they need that of the environment, which is none that is known here.
        """
        if is_loopback(host) or self._is_excepted(host.lower(), port):
            return None
        if self._wrong:
            raise ProxyError(
                f"{host} has to be reached through a proxy, and {self._wrong} (its value is not shown, it may hold a "
                f"password) names none that is known here: allowed is {ALLOWED}; set proxy for Swarm alone, or leave "
                "the host out of the proxy (no_proxy)"
            )
        return self._proxy

    def connect(self, host: str, port: int, seconds: float) -> socket.socket:
        """A connection to ``host``, through the proxy where there is one, within ``seconds``.

        Raises:
            ProxyError: the proxy refuses, or is none that is known here.
            OSError: it cannot be had.
        """
        proxy = self.find(host, port)
        if proxy is None:
            return socket.create_connection((host, port), seconds)
        deadline = time.monotonic() + seconds
        try:
            sock = socket.create_connection((proxy.host, proxy.port), seconds)
        except OSError as error:
            raise ProxyError(f"the proxy {proxy.place} cannot be reached: {error.strerror or error}") from error
        try:
            sock.sendall(_request(proxy, join(host, port)))
            take_answer(sock, proxy, join(host, port), deadline)
        except BaseException:
            sock.close()
            raise
        return sock

    def _is_excepted(self, host: str, port: int) -> bool:
        ip = ip_of(host)
        return any(_is_meant(entry, host, ip, port) for entry in self._excepted)


def _of(environment: Mapping[str, str]) -> tuple[Proxy, str]:
    """The proxy of the environment, without a host where there is none; and the variable that has another kind."""
    name = next((name for name in VARIABLES if environment.get(name)), "")
    value = environment[name].strip() if name else "none"
    if "://" not in value and value.lower() != "none":
        value = f"http://{value}"  # as other programs read it, also where it has no port
    try:
        return Proxy.parse(value), ""
    except ValueError:
        return Proxy(""), name


def _is_meant(entry: str, host: str, ip: IP | None, port: int) -> bool:
    """Whether an entry of ``no_proxy`` is about a host, with its address where it is one; both in small letters."""
    place = _WITH_PORT.fullmatch(entry)
    if place is not None:
        if int(place["port"]) != port:
            return False
        entry = place["host"]
    if entry == "*":
        return True
    if ip is not None:
        return _contains(entry.strip("[]"), ip)
    name = entry.rstrip(".").lstrip(".")
    if name.startswith("*."):
        return host.endswith(name[1:])
    return bool(name) and (host == name or host.endswith(f".{name}"))


def _contains(network: str, ip: IP) -> bool:
    try:
        return ip_of(network) == ip or ip in ipaddress.ip_network(network, strict=False)
    except ValueError:
        return False


def _request(proxy: Proxy, place: str) -> bytes:
    lines = [f"CONNECT {place} HTTP/1.1", f"Host: {place}"]
    if proxy.user:
        lines.append(f"Proxy-Authorization: {proxy.authorization}")
    return "\r\n".join([*lines, "", ""]).encode()


def take_answer(sock: socket.socket, proxy: Proxy, place: str, deadline: float) -> None:
    """Read the answer to a request for ``place``, until ``deadline`` of the monotonic clock.

    Raises:
        ProxyError: it is no success.
        OSError: it does not come.
    """
    first = _head(sock, deadline).partition(b"\r\n")[0]
    version, _, status = printable(first.decode("latin-1"), MAX_SHOWN).partition(" ")
    if version.startswith("HTTP/1.") and status.startswith("2"):
        return
    what = (
        "give it the user and password that it asks for (proxy, or https_proxy)"
        if status.startswith("407")
        else "have it allow connections to that host and port, or leave the host out of the proxy (no_proxy)"
    )
    raise ProxyError(f"the proxy {proxy.place} refuses to connect to {place} ({status or 'no answer'}): {what}")


def _head(sock: socket.socket, deadline: float) -> bytes:
    """The head of the answer, read byte by byte: what follows it is for whoever uses the connection."""
    head = bytearray()
    while not head.endswith(b"\r\n\r\n") and len(head) < MAX_ANSWER_BYTES:
        sock.settimeout(max(0.01, deadline - time.monotonic()))
        more = sock.recv(1)
        if not more:
            break
        head += more
    return bytes(head)
