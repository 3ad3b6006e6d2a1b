"""What a process and a directory take up, from ``/proc`` and the file system."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One look at a peer."""

    at: float
    pid: int
    memory: float
    """Resident memory in bytes."""
    threads: float
    descriptors: float
    disk: float
    """Bytes of its MODEL_DIR."""


def sample(at: float, pid: int, directory: Path) -> Sample | None:
    """Look at a process and its MODEL_DIR now; None where the process is over."""
    process = Path(f"/proc/{pid}")
    try:
        pages = int((process / "statm").read_text().split()[1])
        threads = len(os.listdir(process / "task"))  # noqa: PTH208 - numbers, not paths
        descriptors = len(os.listdir(process / "fd"))  # noqa: PTH208
    except OSError:
        return None
    if not pages:  # killed, and not yet waited for
        return None
    return Sample(at=at, pid=pid, memory=pages * _PAGE, threads=threads, descriptors=descriptors, disk=size(directory))


def size(directory: Path) -> int:
    """Bytes of all files below ``directory``; 0 where it does not exist."""
    total = 0
    for path in directory.rglob("*"):
        with suppress(FileNotFoundError):  # replaced meanwhile
            if path.is_file():
                total += path.stat().st_size
    return total
