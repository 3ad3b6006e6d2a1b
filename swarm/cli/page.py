"""Where the live page listens and what opens it, and the process that serves it beside a training."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from pathlib import Path
from typing import IO, Any, Protocol

from swarm.addresses import Address, join
from swarm.config.settings import PREFIX
from swarm.errors import AddressError, ConfigurationError
from swarm.listening import listening

GROUP = "swarm.dashboard"
"""The group of entry points in which a plugin names the function that serves the page."""
LISTEN = "127.0.0.1:8700"
"""Where the page listens unless that is taken or another address is given."""
_BACKLOG = 128
_TO_END = 5.0
"""Seconds in which the process of the page ends by itself."""

Turn = Callable[[], Mapping[str, Any]]
"""What the peers tell by now: see ``Watch.turn``."""


class Serve(Protocol):
    """Serves the page until it has ended, or the process is interrupted."""

    def __call__(
        self,
        turn: Turn,
        *,
        listening: socket.socket,
        token: str,
        identity: Path | None,
        ended: Callable[[], Mapping[str, Any] | None],
        reports: Callable[[], Sequence[Mapping[str, Any]]],
        saved: Sequence[Path] = (),
    ) -> None:
        """Serve.

        Args:
            turn: asks the peers; takes seconds.
            listening: the socket.
            token: what opens the page; empty: a certificate of a member.
            identity: directory of the identity to encrypt the page with; None: it is not encrypted.
            ended: None while the page goes on; then what is known of the end, as ``swarm up --json`` has it.
            reports: the reports that peers of this machine have written since the last call, in JSON types.
            saved: files of saved runs to show instead of asking anybody.
        """


@dataclass(frozen=True, slots=True)
class Place:
    """Where the page is, and what opens it."""

    listening: socket.socket
    token: str = field(repr=False)
    identity: Path | None = None

    @property
    def url(self) -> str:
        """For a browser; it holds the token."""
        host, port = self.listening.getsockname()[:2]
        scheme = "https" if self.identity else "http"
        return f"{scheme}://{join(host, port)}/" + (f"?token={self.token}" if self.token else "")


def plugin() -> Serve:
    """What serves the page.

    Raises:
        ConfigurationError: it is not installed.
    """
    found = [*entry_points(group=GROUP)]
    if not found:
        raise ConfigurationError("the live page is a plugin, which is not installed: pip install swarm-dashboard")
    serve: Serve = found[0].load()
    return serve


def place(listen: str | None, identity: Path | None, *, certificates: bool = False) -> Place:
    """Listen for browsers.

    Args:
        listen: ``host:port``; None: ``LISTEN``, or a free port there.
        identity: of this site, to encrypt a page that other machines can reach.
        certificates: whether browsers show a certificate of a member, instead of a token.

    Raises:
        ConfigurationError: the page needs an identity.
        AddressError: the address cannot be listened on.
    """
    address = Address.parse(listen or LISTEN)
    if not address.is_loopback and identity is None:
        raise ConfigurationError(
            f"--listen {address} shows the page to other machines, and this site has no identity to encrypt it with: "
            f"get one (`swarm join`) and name it (SWARM_IDENTITY), or listen on a loopback address, as {LISTEN}"
        )
    if certificates and identity is None:
        raise ConfigurationError("--certificates needs the identity of this site: name it (SWARM_IDENTITY)")
    token = "" if certificates else secrets.token_urlsafe(24)
    encrypted = identity if certificates or not address.is_loopback else None
    return Place(_listening(address, any_port=listen is None), token, encrypted)


@contextlib.contextmanager
def beside_local_peers(user: Mapping[str, str], rendezvous: Path, model_dirs: Iterable[Path]) -> Iterator[Beside]:
    """Serve the page of the peers that meet in ``rendezvous``, in a process of its own that ends with this one.

    Args:
        user: the environment.
        rendezvous: where the peers meet.
        model_dirs: their model directories, where they write their reports.

    Raises:
        ConfigurationError: the plugin is not installed.
        AddressError: no port is free.
    """
    # Not the settings of this site, which name other peers: neither its variables nor the files where it works.
    environment = {name: value for name, value in user.items() if not name.startswith(PREFIX)}
    options = [f"--model-dir={place.absolute()}" for place in model_dirs]
    page = start({**environment, "SWARM_RENDEZVOUS": str(rendezvous)}, *options, directory=rendezvous)
    try:
        yield page
    finally:
        page.close()


class Beside:
    """The process that serves the page."""

    def __init__(self, url: str, process: subprocess.Popen[bytes], pipe: IO[bytes]) -> None:
        self.url = url
        """For a browser."""
        self._process = process
        self._pipe = pipe

    def tell(self, end: Mapping[str, Any]) -> None:
        """Tell the page how the run ended, as ``swarm up --json`` has it."""
        with contextlib.suppress(OSError):
            self._pipe.write(json.dumps(end).encode() + b"\n")
            self._pipe.flush()

    def close(self) -> None:
        """End the process, which shows the end first."""
        with contextlib.suppress(OSError):
            self._pipe.close()
        try:
            self._process.wait(_TO_END)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def start(environment: Mapping[str, str], *options: str, directory: Path | None = None) -> Beside:
    """Start the process that serves the page, and that ends with this one.

    Args:
        environment: of that process.
        options: of ``swarm dashboard``.
        directory: in which it works; None: that of this process.

    Raises:
        ConfigurationError: the plugin is not installed.
        AddressError: no port is free.
    """
    plugin()
    at = place(None, None)
    url = at.url
    command = [sys.executable, "-m", "swarm.cli", "dashboard", "--beside", str(os.getpid()), *options]
    descriptor = at.listening.fileno()
    process = subprocess.Popen(
        [*command, "--descriptor", str(descriptor)],
        env=dict(environment),
        cwd=directory,
        pass_fds=[descriptor],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C is for the training: the page ends after it
    )
    at.listening.close()
    assert process.stdin is not None  # noqa: S101 - opened above
    process.stdin.write(f"{at.token}\n".encode())
    process.stdin.flush()
    return Beside(url, process, process.stdin)


class Parent:
    """The process beside which the page is served."""

    def __init__(self, pid: int, pipe: IO[bytes]) -> None:
        self.token = pipe.readline().decode().strip()
        self._pid = pid
        self._end: Mapping[str, Any] | None = None
        threading.Thread(target=self._read, args=(pipe,), name="swarm-page-end", daemon=True).start()

    def ended(self) -> Mapping[str, Any] | None:
        """How the run ended; empty if its process ended without a word; None while it goes on."""
        if self._end is None and os.getppid() != self._pid:
            self._end = {}
        return self._end

    def _read(self, pipe: IO[bytes]) -> None:
        for line in pipe:
            self._end = json.loads(line)


def _listening(address: Address, *, any_port: bool) -> socket.socket:
    try:
        return listening(address.host, address.port, _BACKLOG)
    except OSError as error:
        if any_port:
            return _listening(Address(address.host, 0), any_port=False)
        problem = error.strerror or str(error)
        raise AddressError(
            f"the page cannot listen on {address}: {problem}; choose another address with --listen"
        ) from error
