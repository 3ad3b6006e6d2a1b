"""The training loop of a run: which code runs it, in which thread, and whether it is still running."""

from __future__ import annotations

import sys
import threading
from dataclasses import dataclass
from types import CodeType, FrameType


@dataclass(frozen=True, slots=True)
class Loop:
    """The call that a training loop runs in.

    A finished call stays in memory for as long as somebody keeps the traceback of its error. So this class looks at
    the stack of the thread. It keeps no reference to the frame, because that would keep the frame's variables alive.
    """

    thread: int
    code: CodeType
    instruction: int
    """Where in ``code`` the run began."""
    address: int
    """``id`` of the frame. Another frame may get it later."""

    @classmethod
    def at(cls, frame: FrameType) -> Loop:
        """The loop in ``frame``, which the current thread is executing."""
        return cls(threading.get_ident(), frame.f_code, frame.f_lasti, id(frame))

    @classmethod
    def outside(cls, packages: tuple[str, ...]) -> Loop:
        """The loop in the innermost frame of the current thread whose module is in none of ``packages``."""
        frame = sys._getframe(1)  # noqa: SLF001 - the stack is all there is
        while frame.f_back is not None and _package(frame) in packages:
            frame = frame.f_back
        return cls.at(frame)

    @property
    def running(self) -> bool:
        """Whether the call has neither returned nor raised."""
        frame = sys._current_frames().get(self.thread)  # noqa: SLF001 - the public way to see another thread's stack
        while frame is not None:
            if id(frame) == self.address and frame.f_code is self.code:
                return True
            frame = frame.f_back
        return False


def _package(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", "")).partition(".")[0]
