"""The most memory that a stretch of code has used. Only Linux tells; elsewhere nothing counts as oversized."""

from __future__ import annotations

import resource
import sys
from pathlib import Path

_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")
_KIB = 1024


def reset_peak() -> int:
    """Start to measure; the bytes that are resident now, or 0 where they are not known."""
    try:
        _RESET.write_bytes(b"5")
    except OSError:
        return 0
    return _bytes("VmRSS")


def peak() -> int:
    """The most bytes that were resident since ``reset_peak``."""
    return _bytes("VmHWM")


def highest(status: Path = _STATUS) -> int:
    """The most bytes that a process has had resident since its start or since ``reset_peak``; 0 if it is not known."""
    found = _bytes("VmHWM", status)
    if found or status is not _STATUS:
        return found
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * _KIB


def _bytes(key: str, status: Path = _STATUS) -> int:
    try:
        lines = status.read_text().splitlines()
    except OSError:
        return 0
    return next((_KIB * int(line.split()[1]) for line in lines if line.startswith(key)), 0)
