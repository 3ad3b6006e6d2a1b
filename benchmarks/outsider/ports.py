"""The ports on which a process listens (Linux)."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path

_LINE = re.compile(r"^ *\d+: [0-9A-F]+:([0-9A-F]{4}) [0-9A-F:]+ 0A(?: +\S+){5} +(\d+)", re.MULTILINE)
"""A socket that listens: its port and its inode."""
_INODE = re.compile(r"socket:\[(\d+)\]")


def listening(pid: int) -> set[int]:
    """The TCP ports of process ``pid``."""
    inodes = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):
            if match := _INODE.match(str(entry.readlink())):
                inodes.add(match[1])
    tables = "".join(Path(f"/proc/{pid}/net/{name}").read_text() for name in ("tcp", "tcp6"))
    return {int(port, 16) for port, inode in _LINE.findall(tables) if inode in inodes}
