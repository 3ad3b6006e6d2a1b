"""Splits the output of a peer into lines."""

from __future__ import annotations

_LONGEST = 64 * 1024


class LineBuffer:
    """Splits a stream of bytes into lines, as a terminal shows them.

    For a progress bar, which returns to the start of its line, only the last state of each line is kept.
    """

    def __init__(self) -> None:
        self._pending = b""

    def feed(self, data: bytes) -> list[str]:
        """The lines that ``data`` completes, without their ends."""
        *complete, pending = (self._pending + data).split(b"\n")
        if len(pending) > _LONGEST:
            overwritten, _, visible = pending[:-1].rpartition(b"\r")
            if overwritten:
                pending = visible + pending[-1:]
            else:
                complete.append(pending)
                pending = b""
        self._pending = pending
        return [_visible(line) for line in complete]

    def rest(self) -> list[str]:
        """The last line, if it has no line end."""
        pending, self._pending = self._pending, b""
        return [_visible(pending)] if pending else []


def _visible(line: bytes) -> str:
    return line.rstrip(b"\r").rpartition(b"\r")[2].decode(errors="replace")
