"""Which lines of Swarm an input reaches."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress
from types import CodeType, FrameType, TracebackType
from typing import Any, Self

import swarm

_ROOT = swarm.__path__[0]
Line = tuple[CodeType, int]


class Coverage:
    """A context in which the lines of Swarm's modules that this thread executes are collected.

    It makes code several times slower. So only some of the inputs are traced.
    """

    def __init__(self) -> None:
        self.lines: set[Line] = set()
        self._ours: dict[CodeType, bool] = {}
        self._before: Any = None

    def __enter__(self) -> Self:
        self.lines = set()
        self._before = sys.gettrace()
        sys.settrace(self._begin)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        sys.settrace(self._before)

    def _begin(self, frame: FrameType, _event: str, _value: Any) -> Callable[..., Any] | None:
        code = frame.f_code
        with suppress(KeyError):
            return self._line if self._ours[code] else None
        self._ours[code] = code.co_filename.startswith(_ROOT)
        return self._line if self._ours[code] else None

    def _line(self, frame: FrameType, event: str, _value: Any) -> Callable[..., Any]:
        if event == "line":
            self.lines.add((frame.f_code, frame.f_lineno))
        return self._line
