"""A proxy for the tests: HTTP CONNECT, with a user and a password if they are given; prints what it connected to.

python connect_proxy.py HOST PORT [USER:PASSWORD]
"""

from __future__ import annotations

import base64
import socket
import sys
import threading
from contextlib import suppress

MAX_HEAD = 8192


class ConnectProxy:
    """Listens until it is closed, with a thread for each direction of each connection.

    Args:
        host: to listen on.
        port: 0 takes a free one.
        credentials: ``user:password``; empty where none are asked for.
    """

    def __init__(self, host: str = "127.0.0.1", port: int = 0, credentials: str = "") -> None:
        self._wanted = f"Basic {base64.b64encode(credentials.encode()).decode()}" if credentials else ""
        self._listener = socket.create_server((host, port))
        self.port: int = self._listener.getsockname()[1]
        self.asked: list[str] = []
        """The first line of each request."""
        self.connected: list[str] = []
        """Where it has connected to."""
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Accept no connection any more."""
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        head = b""
        while b"\r\n\r\n" not in head and len(head) < MAX_HEAD:
            if not (more := client.recv(1)):
                client.close()
                return
            head += more
        first, *lines = head.decode("latin-1").split("\r\n")
        self.asked.append(first)
        fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        method, place, _ = first.split(" ")
        if method != "CONNECT":
            self._refuse(client, "405 Method Not Allowed")
        elif self._wanted and fields.get("proxy-authorization") != self._wanted:
            self._refuse(client, "407 Proxy Authentication Required")
        else:
            self._connect(client, place)

    def _refuse(self, client: socket.socket, status: str) -> None:
        with client:
            client.sendall(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n".encode())

    def _connect(self, client: socket.socket, place: str) -> None:
        host, _, port = place.rpartition(":")
        try:
            server = socket.create_connection((host.strip("[]"), int(port)), 5.0)
        except OSError:
            self._refuse(client, "502 Bad Gateway")
            return
        server.settimeout(None)
        self.connected.append(place)
        print("CONNECTED", place, flush=True)
        client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        threading.Thread(target=_pass, args=(client, server), daemon=True).start()
        _pass(server, client)


def _pass(source: socket.socket, target: socket.socket) -> None:
    """What comes from one side goes to the other, until one of them ends."""
    with suppress(OSError):
        while data := source.recv(2**18):
            target.sendall(data)
    for side in (source, target):
        with suppress(OSError):
            side.shutdown(socket.SHUT_RDWR)


if __name__ == "__main__":
    made = ConnectProxy(sys.argv[1], int(sys.argv[2]), *sys.argv[3:])
    print("LISTENING", made.port, flush=True)
    threading.Event().wait()
