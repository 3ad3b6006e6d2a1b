"""One local peer as a child process, which is ended together with the processes that it started."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from swarm.cli import watchdog
from swarm.cli.lines import LineBuffer

_CHUNK = 64 * 1024

_REGISTER_AND_RUN = 'echo "$$" >&0 && exec "$@" </dev/null'
"""The peer's standard input is at first the watchdog's pipe. So the peer is registered before its program starts, and
is ended even if the launcher is killed during the start."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerSpec:
    """The command and environment of one peer."""

    name: str
    rank: int
    command: Sequence[str]
    environment: Mapping[str, str]


class Watchdog:
    """The process that ends the peers if the launcher ends, and then removes directories."""

    def __init__(self, kill_after: float, *directories: Path) -> None:
        command = [sys.executable, "-I", "-S", watchdog.__file__, str(kill_after), *map(str, directories)]
        self._process = subprocess.Popen(
            command,
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    @property
    def pipe(self) -> IO[bytes]:
        """The pipe through which process groups are registered."""
        assert self._process.stdin is not None  # noqa: S101 - opened above
        return self._process.stdin

    def forget(self, group: int) -> None:
        """Unregister a process group."""
        with contextlib.suppress(BrokenPipeError):
            self.pipe.write(b"-%d\n" % group)

    def close(self) -> None:
        """End the watchdog, which removes the directories."""
        self.pipe.close()
        self._process.wait()


class Stream:
    """One of the two outputs of a peer."""

    def __init__(self, pipe: IO[bytes], *, is_error: bool) -> None:
        os.set_blocking(pipe.fileno(), False)
        self.is_error = is_error
        self._pipe = pipe
        self._buffer = LineBuffer()

    def fileno(self) -> int:
        """The file descriptor, for a selector."""
        return self._pipe.fileno()

    @property
    def closed(self) -> bool:
        """Whether the output has ended."""
        return self._pipe.closed

    def read(self) -> list[str]:
        """The new lines; closes the stream at the end of the output."""
        data = self._read()
        if data == b"":
            return self.close()
        return self._buffer.feed(data) if data else []

    def available(self) -> list[str]:
        """The complete lines that are there by now; closes the stream at the end of the output."""
        lines: list[str] = []
        while not self.closed and (data := self._read()) is not None:
            lines += self._buffer.feed(data) if data else self.close()
        return lines

    def drain(self) -> list[str]:
        """The available lines, even if another process still has the pipe open; closes the stream."""
        return self.available() + self.close()

    def close(self) -> list[str]:
        """Close the stream and return the last line if it has no line end."""
        if self.closed:
            return []
        self._pipe.close()
        return self._buffer.rest()

    def _read(self) -> bytes | None:
        """The available bytes; ``None`` if there are none yet."""
        try:
            return os.read(self._pipe.fileno(), _CHUNK)
        except BlockingIOError:
            return None


class PeerProcess:
    """A running peer, the leader of its own process group."""

    def __init__(self, spec: PeerSpec, guard: Watchdog) -> None:
        self.spec = spec
        self.exit_code: int | None = None
        """Exit code of the peer, negative for a signal; ``None`` while it runs."""
        self.gone = False
        """Whether all processes of its group have ended."""
        self.was_killed = False
        """Whether it was killed because it did not end after SIGTERM."""
        self._deadline: float | None = None
        self._guard = guard
        self._process = subprocess.Popen(
            ["/bin/sh", "-c", _REGISTER_AND_RUN, "sh", *spec.command],
            env=dict(spec.environment),
            stdin=guard.pipe,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            process_group=0,
        )
        assert self._process.stdout is not None  # noqa: S101 - opened above
        assert self._process.stderr is not None  # noqa: S101 - opened above
        self.streams = (
            Stream(self._process.stdout, is_error=False),
            Stream(self._process.stderr, is_error=True),
        )

    def stop(self, kill_after: float) -> None:
        """Send SIGTERM to its whole group; it is killed after ``kill_after`` seconds."""
        if not self.gone and self._deadline is None:
            self._deadline = time.monotonic() + kill_after
            self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """Kill its whole group."""
        if not self.gone:
            self._signal(signal.SIGKILL)
            self.was_killed |= self.exit_code is None

    def abandon(self) -> None:
        """Kill the peer and wait for it; used if the launcher itself fails."""
        if not self.gone:
            self.kill()
            self._process.wait()
            self._guard.forget(self._process.pid)
        for stream in self.streams:
            stream.close()

    def check(self, kill_after: float) -> bool:
        """Update the state, end remaining processes of the group, and return whether the peer has just ended."""
        just_ended = self.exit_code is None and self._process.poll() is not None
        if just_ended:
            self.exit_code = self._process.returncode
            self.stop(kill_after)
        overdue = self._deadline is not None and time.monotonic() >= self._deadline
        if overdue:
            self.kill()
        if self.exit_code is not None and not self.gone and (overdue or not self._signal(0)):
            self.gone = True
            self._guard.forget(self._process.pid)
        return just_ended

    def _signal(self, number: int) -> bool:
        """Send a signal to the group; return whether the group exists."""
        try:
            os.killpg(self._process.pid, number)
        except (ProcessLookupError, PermissionError):
            return False
        return True
