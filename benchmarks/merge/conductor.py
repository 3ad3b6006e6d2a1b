"""Starts peers and tells all of them what to do, so that they come to every round together."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from benchmarks.merge.plan import Plan
from swarm.cli.environment import ONE_THREAD

ROOT = Path(__file__).parents[2]
DEADLINE = 300.0
"""Seconds for one order."""
LEAVING = 20.0
"""Seconds for a process to end."""

Place = Mapping[str, object]
"""Settings that say where a peer is."""


class Conductor:
    """The peers of one run. Leaving it as a context manager ends every process that it started."""

    def __init__(
        self,
        plan: Plan,
        *,
        gloo: bool,
        place: Callable[[int], Place] = lambda _: {"listen": "127.0.0.1:0"},
        prefix: Callable[[int], Sequence[str]] = lambda _: (),
    ) -> None:
        """Start the peers.

        Args:
            plan: what they merge.
            gloo: whether they form a group of gloo's too.
            place: by rank, settings that say where a peer is, beside the directory in which they find each other.
            prefix: by rank, words of the command that starts a peer, ahead of Python.
        """
        self._directory = tempfile.TemporaryDirectory(prefix="swarm-merge-")
        root = Path(self._directory.name)
        self._logs = [root / f"{plan.name(rank)}.log" for rank in range(plan.peers)]
        self._processes: list[subprocess.Popen[str]] = []
        store = str(root / "store") if gloo else None
        try:
            for rank, log in enumerate(self._logs):
                self._processes.append(_started(prefix(rank), log))
                where = {"rendezvous": str(root / "rendezvous"), **place(rank)}
                self._say(rank, {"plan": asdict(plan), "rank": rank, "place": where, "store": store})
            self._heard()
        except BaseException:
            self._kill()
            self._end()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self._kill()
        self._end()

    def all(self, do: str, **arguments: Any) -> list[dict[str, Any]]:
        """Give every peer an order, and return what they answer, by rank.

        Raises:
            RuntimeError: a peer could not do it, or not in time.
        """
        for rank in range(len(self._processes)):
            self._say(rank, {"do": do, **arguments})
        return self._heard()

    def pid(self, rank: int) -> int:
        """Of a peer's process."""
        return self._processes[rank].pid

    def _say(self, rank: int, message: Mapping[str, Any]) -> None:
        pipe = self._processes[rank].stdin
        if pipe is None:
            raise RuntimeError("a peer has no standard input")
        try:
            pipe.write(json.dumps(message) + "\n")
            pipe.flush()
        except BrokenPipeError:
            raise RuntimeError(self._failure(rank)) from None

    def _heard(self) -> list[dict[str, Any]]:
        """One answer of each; peers that take too long are killed, which ends the wait for them."""
        alarm = threading.Timer(DEADLINE, self._kill)
        alarm.start()
        try:
            return [self._answer(rank) for rank in range(len(self._processes))]
        finally:
            alarm.cancel()

    def _answer(self, rank: int) -> dict[str, Any]:
        pipe = self._processes[rank].stdout
        line = pipe.readline() if pipe else ""
        if not line:
            raise RuntimeError(self._failure(rank))
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _failure(self, rank: int) -> str:
        log = self._logs[rank].read_text(encoding="utf-8", errors="replace")
        return f"peer {rank} could not go on:\n{log[-4000:]}"

    def _kill(self) -> None:
        for process in self._processes:
            process.kill()

    def _end(self) -> None:
        for process in self._processes:
            for pipe in (process.stdin, process.stdout):
                if pipe:
                    pipe.close()
        for process in self._processes:
            try:
                process.wait(LEAVING)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._directory.cleanup()


def _started(prefix: Sequence[str], log: Path) -> subprocess.Popen[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SWARM_")}
    with log.open("wb") as file:
        return subprocess.Popen(  # noqa: S603  (this very package)
            [*prefix, sys.executable, "-m", "benchmarks.merge.peer"],
            cwd=ROOT,
            env={**environment, **ONE_THREAD},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=file,
            text=True,
            start_new_session=True,
        )
