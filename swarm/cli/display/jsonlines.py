"""One JSON object on each line, for collectors of logs."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import TextIO

from swarm.cli.display.base import Display, PeerRow, progress, write
from swarm.cli.display.plain import Pace
from swarm.cli.output import Line
from swarm.logs import json_line, read_json

LAUNCHER = "swarm.up"
"""The logger of what the launcher says."""


class JsonDisplay(Display):
    """The log of the peers as it is, and each other line in an object of the same form."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._pace = Pace()

    def line(self, line: Line) -> None:
        own = read_json(line.text) if line.log else None
        if own is not None:
            write(sys.stderr, json.dumps({**own, "peer": line.name}))
            return
        level, stream = ("info", "stdout") if not line.is_error else ("warning", "stderr")
        level = line.log.level if line.log else level
        text = line.log.text if line.log else line.text
        write(sys.stderr if line.is_error else self._out, json_line(level, stream, text, peer=line.name))

    def note(self, text: str) -> None:
        write(sys.stderr, json_line("info", LAUNCHER, text))

    def update(self, rows: Sequence[PeerRow]) -> None:
        if self._pace.due(rows):
            self.note(progress(rows))
