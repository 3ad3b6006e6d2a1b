"""One local peer as a child process: started, read from, and ended together with whatever it started."""

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
"""The peer's standard input is at first the watchdog's pipe: it is watched before the first line of its program runs,
so there is no instant at which the death of the launcher leaves it behind."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerSpec:
    """What to start for one peer."""

    name: str
    rank: int
    command: Sequence[str]
    environment: Mapping[str, str]


class Watchdog:
    """The process that outlives the launcher just long enough to end its peers."""

    def __init__(self, rendezvous: Path, kill_after: float) -> None:
        command = [sys.executable, "-I", "-S", watchdog.__file__, str(rendezvous), str(kill_after)]
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
        """Where process groups are registered."""
        assert self._process.stdin is not None  # noqa: S101 - opened above
        return self._process.stdin

    def forget(self, group: int) -> None:
        """Watch this process group no longer."""
        with contextlib.suppress(BrokenPipeError):
            self.pipe.write(b"-%d\n" % group)

    def close(self) -> None:
        """End it; it removes the rendezvous directory."""
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
        """For a selector."""
        return self._pipe.fileno()

    @property
    def closed(self) -> bool:
        """Whether nothing more can come."""
        return self._pipe.closed

    def read(self) -> list[str]:
        """The lines that came; closes itself at the end of the output."""
        data = self._read()
        if data == b"":
            return self.close()
        return self._buffer.feed(data) if data else []

    def drain(self) -> list[str]:
        """The lines that are there by now, whoever may still hold the other end; closes it."""
        lines = []
        while not self.closed and (data := self._read()):
            lines += self._buffer.feed(data)
        return lines + self.close()

    def close(self) -> list[str]:
        """Close it; the last line, where it had no end."""
        if self.closed:
            return []
        self._pipe.close()
        return self._buffer.rest()

    def _read(self) -> bytes | None:
        """What is there, ``None`` where that is nothing yet."""
        try:
            return os.read(self._pipe.fileno(), _CHUNK)
        except BlockingIOError:
            return None


class PeerProcess:
    """A running peer, which leads a process group of its own."""

    def __init__(self, spec: PeerSpec, guard: Watchdog) -> None:
        self.spec = spec
        self.exit_code: int | None = None
        """Of the peer itself, negative for the signal that ended it; ``None`` while it runs."""
        self.gone = False
        """Whether nothing of its process group is left."""
        self.was_killed = False
        """Whether it had to be killed because it did not end when asked."""
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
        """Ask its whole group to end, within ``kill_after`` seconds."""
        if not self.gone and self._deadline is None:
            self._deadline = time.monotonic() + kill_after
            self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """End its whole group now."""
        if not self.gone:
            self._signal(signal.SIGKILL)
            self.was_killed |= self.exit_code is None

    def abandon(self) -> None:
        """End it without looking at it any further, where the launcher itself fails."""
        if not self.gone:
            self.kill()
            self._process.wait()
            self._guard.forget(self._process.pid)
        for stream in self.streams:
            stream.close()

    def check(self, kill_after: float) -> bool:
        """Look how it is, ending what it left behind and what overstays; whether the peer itself ended just now."""
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
        """Whether its group was there to be signalled."""
        try:
            os.killpg(self._process.pid, number)
        except (ProcessLookupError, PermissionError):
            return False
        return True
