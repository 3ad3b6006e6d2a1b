"""Runs a host on this machine, and ends it with all its peers whatever happens."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import selectors
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import FrameType
from typing import Any

from swarm.cli.environment import ONE_THREAD
from swarm.cli.process import PeerProcess, PeerSpec, Watchdog
from swarm.errors import ConfigurationError
from swarm.simulate.outcome import Run, quality
from swarm.simulate.plan import PeerEnd, Plan

KILL_AFTER = 5.0
"""Seconds in which peers that have to end may do so by themselves."""
_TICK = 0.1
_RENDEZVOUS = "rendezvous"
"""Directory in that of a run, where its peers meet; it ends with them."""
_SHOWN_LINES = 5


def run(
    plan: Plan,
    *,
    timeout: float,
    metric: str | None = None,
    finished: Callable[[int], None] = lambda _number: None,
    environment: Mapping[str, str] | None = None,
) -> Run:
    """Train with all peers of a plan in processes of this machine.

    Args:
        plan: what to train.
        timeout: seconds after which the peers are ended.
        metric: the figure that says how good a model is; None: the first that is there.
        finished: called with the number of each round that the first peer has loaded.
        environment: of the processes; that of this one by default.

    Raises:
        ConfigurationError: there can be no directory for the sockets of the peers.
    """
    clear(plan)
    rendezvous = Path(plan.directory, _RENDEZVOUS)
    rendezvous.mkdir(parents=True)
    with contextlib.ExitStack() as stack:
        stack.callback(clear, plan)
        for rank in range(plan.peers):
            plan.peer_directory(rank).mkdir(parents=True, exist_ok=True)
            plan.log(rank).unlink(missing_ok=True)
        file = rendezvous / "plan.json"
        file.write_text(plan.text(), encoding="utf-8")
        sockets = sockets_of(plan)
        try:
            sockets.mkdir(mode=0o700)
        except OSError as error:
            raise ConfigurationError(
                f"{sockets} cannot be created ({error.strerror}): remove it, or set TMPDIR to a directory of your own"
            ) from error
        guard = Watchdog(KILL_AFTER, rendezvous, sockets)
        stack.callback(guard.close)
        command = [sys.executable, "-m", "swarm.simulate.host", str(file), str(rendezvous), str(sockets)]
        given = os.environ if environment is None else environment
        host = PeerProcess(
            PeerSpec(name="host", rank=0, command=command, environment={**ONE_THREAD, "SWARM_LOG": "info", **given}),
            guard,
        )
        stack.callback(host.abandon)
        return _followed(plan, host, timeout, metric, finished)


def clear(plan: Plan) -> None:
    """Remove where the peers of a run meet, also what one that was killed has left."""
    for directory in (Path(plan.directory, _RENDEZVOUS), sockets_of(plan)):
        shutil.rmtree(directory, ignore_errors=True)


def sockets_of(plan: Plan) -> Path:
    """The directory for the sockets of the peers, the same for a run of the same directory.

    It is a temporary one, since the path of a socket may have about a hundred characters only.
    """
    name = hashlib.sha256(os.fsencode(plan.directory)).hexdigest()[:16]
    return Path(tempfile.gettempdir(), f"swarm-{name}")


def _followed(
    plan: Plan, host: PeerProcess, timeout: float, metric: str | None, finished: Callable[[int], None]
) -> Run:
    ends: dict[int, PeerEnd] = {}
    cost: dict[str, Any] = {}
    errors: list[str] = []
    began = time.monotonic()
    problem = ""

    def take(lines: list[str], *, is_error: bool) -> None:
        for line in lines:
            told = None if is_error else _told(line)
            if told is None:
                errors.append(line)
            elif "round" in told:
                finished(told["round"])
            elif "end" in told:
                end = PeerEnd(**told["end"])
                ends.setdefault(end.rank, end)
            else:
                cost.update(told)

    with selectors.DefaultSelector() as selector:
        for stream in host.streams:
            selector.register(stream, selectors.EVENT_READ, stream)
        while not host.gone:
            for key, _ in selector.select(_TICK):
                take(key.data.read(), is_error=key.data.is_error)
                if key.data.closed:
                    selector.unregister(key.data)
            if not problem and time.monotonic() - began > timeout:
                missing = [f"peer-{rank}" for rank in range(plan.peers) if rank not in ends]
                who = ", ".join(missing) if ends else f"all {plan.peers} peers"
                problem = f"{who} did not end within {timeout:g} s"
                host.stop(KILL_AFTER)
            host.check(KILL_AFTER)
        for stream in host.streams:
            if not stream.closed:
                take(stream.drain(), is_error=stream.is_error)
    if not cost and not problem and not any(end.failure for end in ends.values()):
        last = "\n".join(errors[-_SHOWN_LINES:])
        problem = last.removeprefix("swarm: ") or f"the peers ended with exit code {host.exit_code}"
    found = {rank: quality(end.metrics, plan.log(rank), metric) for rank, end in ends.items() if not end.failure}
    return Run(
        ends=[ends[rank] for rank in sorted(ends)],
        qualities={rank: each for rank, each in found.items() if each is not None},
        seconds=cost.get("seconds", time.monotonic() - began),
        mebibytes=cost.get("mebibytes"),
        problem=problem,
    )


def _told(line: str) -> dict[str, Any] | None:
    try:
        told = json.loads(line)
    except ValueError:
        return None
    return told if isinstance(told, dict) else None


@contextlib.contextmanager
def ended_by_signals() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end this process as Ctrl-C does, so that it ends its peers first."""

    def end(number: int, _frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
