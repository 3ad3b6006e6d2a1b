"""Files for targets that read files: in memory where the system has a place for them, since a disk is slow.

They are removed when the process ends.
"""

from __future__ import annotations

import os
import tempfile
from functools import cache
from pathlib import Path

_IN_MEMORY = Path("/dev/shm")


@cache
def folder(name: str) -> Path:
    """An empty directory of this process."""
    made = Path(_root().name, name)
    made.mkdir(parents=True)
    return made


@cache
def _root() -> tempfile.TemporaryDirectory[str]:
    place = _IN_MEMORY if os.access(_IN_MEMORY, os.W_OK) else None
    return tempfile.TemporaryDirectory(prefix="swarm-fuzz-", dir=place)
