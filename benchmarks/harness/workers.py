"""Processes that a benchmark starts and controls: one line of JSON is an order, one line of JSON its answer."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

ROOT = Path(__file__).parents[2]
"""The directory in which ``python -m benchmarks...`` runs."""
LEAVING = 60.0
"""Seconds in which a process must end after its standard input is closed; then it is killed."""


class Workers:
    """Processes of one module. Leaving it as a context manager ends all of them and removes their directory."""

    def __init__(
        self,
        module: str,
        count: int = 1,
        *,
        environment: Mapping[str, str],
        prefix: Callable[[int], Sequence[str]] = lambda _: (),
        deadline: float = 300.0,
    ) -> None:
        """Start the processes.

        Args:
            module: calls ``connect``.
            count: how many processes.
            environment: of all of them.
            prefix: by rank, the words of the command before Python.
            deadline: seconds in which all must answer an order.
        """
        self._module = module
        self._deadline = deadline
        self._late = False
        self._temporary = tempfile.TemporaryDirectory(prefix="swarm-benchmark-")
        self.directory = Path(self._temporary.name)
        """For files that the processes share."""
        self._processes: list[subprocess.Popen[str]] = []
        try:
            for rank in range(count):
                self._processes.append(self._started([*prefix(rank), sys.executable, "-m", module], rank, environment))
        except BaseException:
            self._end(kill=True)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end(kill=error is not None)

    def all(self, do: str, **arguments: Any) -> list[Any]:
        """Give all processes the same order, named ``do``; returns their answers, by rank. Raises as ``each``."""
        return self.each([{"do": do, **arguments}] * len(self._processes))

    def each(self, orders: Sequence[Mapping[str, Any]]) -> list[Any]:
        """Give each process its order; returns their answers, by rank.

        Raises:
            RuntimeError: a process ended, or did not answer before the deadline. The message has the end of its log.
        """
        self.send(orders)
        alarm = threading.Timer(self._deadline, self._give_up)
        alarm.start()
        try:
            return [self._answer(rank) for rank in range(len(self._processes))]
        finally:
            alarm.cancel()

    def send(self, orders: Sequence[Mapping[str, Any]]) -> None:
        """Give each process its order, and wait for no answer.

        Raises:
            RuntimeError: a process has ended.
        """
        for rank, (process, order) in enumerate(zip(self._processes, orders, strict=True)):
            assert process.stdin  # noqa: S101  (a pipe, see _started)
            try:
                process.stdin.write(json.dumps(order) + "\n")
                process.stdin.flush()
            except BrokenPipeError:
                raise RuntimeError(self._failure(rank)) from None

    def close(self) -> None:
        """Close the standard input of all processes: no more orders come."""
        for process in self._processes:
            if process.stdin:
                with suppress(BrokenPipeError):  # it has ended, and an order was not read
                    process.stdin.close()

    def pid(self, rank: int) -> int:
        """The process number."""
        return self._processes[rank].pid

    def log(self, rank: int) -> str:
        """The end of what a process printed."""
        return (self.directory / f"{rank}.log").read_text(encoding="utf-8", errors="replace")[-4000:]

    def _started(self, command: Sequence[str], rank: int, environment: Mapping[str, str]) -> subprocess.Popen[str]:
        with (self.directory / f"{rank}.log").open("wb") as log:
            return subprocess.Popen(
                command,
                cwd=ROOT,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,  # Ctrl-C reaches this process alone, which then ends the others
            )

    def _answer(self, rank: int) -> Any:
        pipe = self._processes[rank].stdout
        if not (line := pipe.readline() if pipe else ""):
            raise RuntimeError(self._failure(rank))
        return json.loads(line)

    def _failure(self, rank: int) -> str:
        code = self._exit_code(rank)
        ended = f"did not answer within {self._deadline:g} s" if self._late else f"ended with exit code {code}"
        return f"process {rank} of {self._module} {ended}:\n{self.log(rank)}"

    def _give_up(self) -> None:
        """Kill all processes, which ends the wait for their answers."""
        self._late = True
        for process in self._processes:
            process.kill()

    def _end(self, *, kill: bool) -> None:
        if kill:
            for process in self._processes:
                process.kill()
        self.close()
        for rank, process in enumerate(self._processes):
            self._exit_code(rank)
            if process.stdout:
                process.stdout.close()
        self._temporary.cleanup()

    def _exit_code(self, rank: int) -> int:
        process = self._processes[rank]
        try:
            return process.wait(LEAVING)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()


def connect() -> tuple[Iterator[dict[str, Any]], Callable[[Any], None]]:
    """In a process of ``Workers``: the orders as they come, and the function that answers one.

    What anything else prints, libraries in C included, goes to standard error from now on.
    """
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def answer(value: Any) -> None:
        print(json.dumps(value), file=answers, flush=True)

    return map(json.loads, sys.stdin), answer


def user_environment() -> dict[str, str]:
    """This process's environment without settings of Swarm."""
    return {name: value for name, value in os.environ.items() if not name.startswith("SWARM_")}
