"""Answers to ``swarm status``, checked and shown."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from io import StringIO

from rich.console import Console

from swarm.cli.answers import parse, plain, sessions
from swarm.cli.table import peer_table
from swarm.errors import TransportError
from tests.fuzz.mutation import TEXT
from tests.fuzz.target import Target

SHOWN = 50
"""One answer in so many is printed as a table, which takes much longer than all else."""


def _shown(data: bytes) -> int:
    try:
        answer = json.loads(data)
    except (ValueError, RecursionError) as error:  # as where it is fetched
        raise TransportError(str(error)) from error
    if not isinstance(answer, dict):
        raise TransportError("it is no status")
    found = sessions(answer)
    json.dumps([plain(each) for each in found], allow_nan=False)
    views = [parse(each) for each in found]
    table = peer_table([(view.name, rank, view.status, view) for rank, view in enumerate(views)])
    if zlib.crc32(data) % SHOWN == 0:
        Console(file=StringIO(), width=200).print(table)
    return len(views)


def _answers() -> Mapping[str, bytes]:
    peer = {"name": "oslo", "address": "10.0.0.2:7000", "state": "live"}
    status = {
        "name": "berlin",
        "address": "127.0.0.1:7000",
        "session": "hospitals",
        "status": "training",
        "round": 5,
        "interval": 8,
        "loss": 0.25,
        "bytes_sent": 123456,
        "bytes_received": 9,
        "epoch": 2,
        "total_epochs": 10,
        "seconds_left": 61.5,
        "peers": [peer, {**peer, "name": "rome"}],
        "missing": ["rome"],
        "commit": None,
    }
    return {
        "one-session": json.dumps(status).encode(),
        "two-sessions": json.dumps({"sessions": [status, {**status, "session": "gan"}]}).encode(),
        "starting": b'{"status": "starting"}',
    }


GROUP = [Target(name="status", run=_shown, refusals=(TransportError,), values=_answers, form=TEXT)]
