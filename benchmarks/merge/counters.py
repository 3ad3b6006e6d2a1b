"""What the kernel counts (Linux): bytes through an interface, resident memory of this process."""

from __future__ import annotations

import ctypes
import fcntl
import os
import socket
import struct
from pathlib import Path
from typing import NamedTuple

_NEW_USER, _NEW_NET = 0x10000000, 0x40000000
_SET_FLAGS, _UP = 0x8914, 1
_SELF = Path("/proc/self")


class Count(NamedTuple):
    """Bytes that went through an interface, headers included."""

    received: int
    sent: int


def take_private_loopback() -> bool:
    """Move this process, and the processes that it starts, to a network namespace of their own.

    Their loopback interface then has no other traffic. Returns False, and does nothing, where the system does not allow
    it. Without root, the process must have one thread only.
    """
    library = ctypes.CDLL(None, use_errno=True)
    if library.unshare(_NEW_NET) and library.unshare(_NEW_USER | _NEW_NET):
        return False
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, _SET_FLAGS, struct.pack("16sh14x", b"lo", _UP))
    return True


def count(interface: str, pid: int | None = None) -> Count:
    """The counters of an interface, as process ``pid`` (by default this one) sees it."""
    table = Path(f"/proc/{os.getpid() if pid is None else pid}/net/dev").read_text(encoding="ascii")
    for line in table.splitlines():
        name, _, values = line.partition(":")
        if name.strip() == interface:
            numbers = values.split()
            return Count(int(numbers[0]), int(numbers[8]))
    raise OSError(f"there is no interface {interface}")


def resident() -> int:
    """Bytes resident now."""
    return _status("VmRSS")


def reset_peak() -> None:
    """Let ``peak`` count from now on."""
    (_SELF / "clear_refs").write_text("5", encoding="ascii")


def peak() -> int:
    """The most bytes that were resident since ``reset_peak``."""
    return _status("VmHWM")


def _status(name: str) -> int:
    for line in (_SELF / "status").read_text(encoding="ascii").splitlines():
        key, _, value = line.partition(":")
        if key == name:
            return int(value.removesuffix("kB")) * 1024
    raise OSError(f"/proc/self/status of this system has no {name}")
