"""The training loop of a run: which code runs it, in which thread, and whether it is still running."""

from __future__ import annotations

import inspect
import sys
import threading
from dataclasses import dataclass
from types import CodeType, FrameType

HOOKS = frozenset({"on_batch_end", "on_train_batch_end", "on_epoch_end", "on_train_end"})
"""What a training loop calls, besides ``on_train_begin``, which a function that prepares the training may call."""
_PAUSING = inspect.CO_GENERATOR | inspect.CO_COROUTINE | inspect.CO_ITERABLE_COROUTINE | inspect.CO_ASYNC_GENERATOR


@dataclass(frozen=True, slots=True)
class Loop:
    """The call that a training loop runs in.

    A finished call stays in memory for as long as somebody keeps the traceback of its error. So this class looks at
    the stack of the thread. It keeps no reference to the frame, because that would keep the frame's variables alive.
    """

    thread: int
    code: CodeType | None = None
    """None where it is not known which call that is."""
    instruction: int = 0
    """Where in ``code`` the run began."""
    address: int = 0
    """``id`` of the frame. Another frame may get it later."""

    @classmethod
    def at(cls, frame: FrameType) -> Loop:
        """The loop in ``frame``, which the current thread is executing."""
        return cls(threading.get_ident(), frame.f_code, frame.f_lasti, id(frame))

    @classmethod
    def here(cls) -> Loop:
        """The innermost call of the current thread whose code calls some of ``HOOKS``.

        Not known if there is none, as where a class has a method for each hook. A generator does not count: it may be
        left for the time of the training, as that of a context manager is.
        """
        frame: FrameType | None = sys._getframe(1)  # noqa: SLF001 - the stack is all there is
        while frame is not None:
            if not HOOKS.isdisjoint(frame.f_code.co_names) and not _may_pause(frame):
                return cls.at(frame)
            frame = frame.f_back
        return cls.unknown()

    @classmethod
    def unknown(cls) -> Loop:
        """Some loop in the current thread."""
        return cls(threading.get_ident())

    @property
    def running(self) -> bool:
        """Whether the call has neither returned nor raised, as far as can be seen from here."""
        frame = sys._current_frames().get(self.thread)  # noqa: SLF001 - the public way to see another thread's stack
        last = None
        while frame is not None:
            if self.code is None or (id(frame) == self.address and frame.f_code is self.code):
                return True
            last, frame = frame, frame.f_back
        # The thread runs on meanwhile. A generator that yields has no caller any more: the rest was not seen.
        return last is not None and _may_pause(last)


def _may_pause(frame: FrameType) -> bool:
    """Whether the call can be left and entered again, as that of a generator or coroutine can."""
    return bool(frame.f_code.co_flags & _PAUSING)
