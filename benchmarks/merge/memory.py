"""Resident memory of this process, from the kernel (Linux)."""

from __future__ import annotations

from pathlib import Path

_SELF = Path("/proc/self")


def resident() -> int:
    """Bytes resident now."""
    return _status("VmRSS")


def forget_peak() -> None:
    """Let ``peak`` count from now on."""
    (_SELF / "clear_refs").write_text("5", encoding="ascii")


def peak() -> int:
    """The most bytes that were resident since ``forget_peak``."""
    return _status("VmHWM")


def _status(name: str) -> int:
    for line in (_SELF / "status").read_text(encoding="ascii").splitlines():
        key, _, value = line.partition(":")
        if key == name:
            return int(value.removesuffix("kB")) * 1024
    raise OSError(f"/proc/self/status of this system has no {name}")
