"""The peers of a script: processes that are forked from one which has loaded the script's libraries.

So the libraries are in memory once, and loaded once. A fork copies only the thread that calls it, so this process has
one thread: it never starts gRPC, and libraries that start a thread when they are imported are left to the peers.
"""

from __future__ import annotations

import ast
import atexit
import contextlib
import gc
import importlib
import os
import runpy
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from importlib.machinery import PathFinder
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from swarm.callback.base import BaseCallback
from swarm.cli.directories import Directories, with_scratch
from swarm.cli.environment import local_place, of_peer
from swarm.config.trial import try_out
from swarm.session.wiring import Network
from swarm.simulate.failures import of_error, of_status
from swarm.simulate.memory import with_forked
from swarm.simulate.plan import AFTER_A_FAILURE, CALM, PeerEnd, Plan
from swarm.simulate.recorder import Recorder
from swarm.storage.session_records import DIRECTORY
from swarm.transport.local import LocalTransport
from swarm.transport.shared import SharedAddress

if TYPE_CHECKING:
    from swarm.config import Settings
    from swarm.plugins import PluginRegistry
    from swarm.session.session import NetworkFactory

_TICK = 0.05
_BETWEEN_MEASUREMENTS = 1.0
_LOADED = ("swarm", "swarm.session", "swarm.transport.grpc")
"""Of Swarm, needed by every peer."""


def libraries(script: Path) -> list[str]:
    """The installed modules that a script imports in its outermost lines; not those beside it."""
    try:
        tree = ast.parse(script.read_bytes(), str(script))
    except (SyntaxError, ValueError):
        return []  # each peer will say so
    names = [
        name
        for statement in tree.body
        for name in _imported(statement)
        if not PathFinder.find_spec(name.partition(".")[0], [str(script.parent)])
    ]
    return list(dict.fromkeys(names))


def preload(script: Path, without: tuple[str, ...] = ()) -> str | None:
    """Load the libraries of a script, and what Swarm needs.

    Args:
        script: of the peers.
        without: modules to leave to the peers.

    Returns:
        The module that has started a thread, with which this process must not fork; None: there is none.
    """
    warm = False
    for name in (*_LOADED, *libraries(script)):
        if name in without:
            continue
        try:
            importlib.import_module(name)
            if "torch" in sys.modules and not warm:
                warm = True
                importlib.import_module("swarm.pytorch.preload").preload()
        except Exception:  # noqa: BLE001, S112 - each peer imports it again, and says what is wrong
            continue
        if _threads() > 1:
            return name
    gc.collect()
    gc.freeze()  # a collection in a peer would otherwise copy what it shares
    return None


def run(
    plan: Plan, rendezvous: Path, sockets: Path, finished: Callable[[int], None], ended: Callable[[PeerEnd], None]
) -> float | None:
    """Fork all peers, and wait until all have ended or one has failed.

    In a peer this does not return: the process ends with the script.

    Args:
        plan: of a script.
        rendezvous: where the peers meet.
        sockets: for those of the peers; its path is short, and only this user may enter it.
        finished: called in the first peer with the number of each round that it has loaded.
        ended: called in each peer that ends by itself, and here for each that does not.

    Returns:
        The most memory of all peers together, in MiB; None where the system does not tell.
    """
    (rendezvous / DIRECTORY).mkdir(exist_ok=True)
    return _wait(_fork(plan, rendezvous, sockets, finished, ended), ended)


def _fork(
    plan: Plan, rendezvous: Path, sockets: Path, finished: Callable[[int], None], ended: Callable[[PeerEnd], None]
) -> dict[int, int]:
    """The rank of each process."""
    data = Path(plan.data_dir) if plan.data_dir else None
    ranks = Directories(data=data, model=Path(plan.directory)).of_ranks(plan.peers)
    ranks_of: dict[int, int] = {}
    for rank, directories in enumerate(ranks):
        complete = with_scratch(directories)
        complete.prepare()
        environment = of_peer(os.environ, local_place(rank, plan.peers, rendezvous), complete)
        if (pid := os.fork()) == 0:
            _peer(plan, rank, rendezvous, sockets, environment, finished if rank == 0 else _nothing, ended)
        ranks_of[pid] = rank
    return ranks_of


def _wait(left: dict[int, int], ended: Callable[[PeerEnd], None]) -> float | None:
    most, until, next_look = None, float("inf"), 0.0
    while left and time.monotonic() < until:
        if time.monotonic() >= next_look:
            next_look = time.monotonic() + _BETWEEN_MEASUREMENTS
            now = with_forked(left)
            most = now if most is None or now is None else max(most, now)
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            time.sleep(_TICK)
            continue
        rank, code = left.pop(pid, None), os.waitstatus_to_exitcode(status)
        if rank is None:
            continue  # a process that a library started
        if code not in (0, TOLD):
            ended(PeerEnd(rank=rank, metrics={}, failure=of_status(code)))
        if code:
            until = min(until, time.monotonic() + AFTER_A_FAILURE)
    return most


TOLD = 113
"""The exit code of a peer that has told why it failed."""


def _peer(
    plan: Plan,
    rank: int,
    rendezvous: Path,
    sockets: Path,
    environment: Mapping[str, str],
    finished: Callable[[int], None],
    ended: Callable[[PeerEnd], None],
) -> NoReturn:
    """Run the script as the main program."""
    _print_to(plan.log(rank))
    os.environ.clear()
    os.environ.update(environment)
    try_out(
        {
            **CALM,
            **plan.choice,
            "name": f"peer-{rank}",
            "rank": rank,
            "world_size": plan.peers,
            "rendezvous": rendezvous,
            "listen": "127.0.0.1:0",
            "peers": (),
            "members": (),
            "loopback": False,
            "insecure": True,  # the peers are this user's, on this machine
            "resume": False,
            "model_dir": plan.peer_directory(rank),
        }
    )
    recorder = Recorder(finished)
    BaseCallback.session_factory = staticmethod(recorder.factory(_over_sockets(sockets)))
    script = Path(plan.program)
    sys.argv = [str(script), *plan.arguments]
    sys.path[0] = str(script.parent)
    failure = ""
    try:
        runpy.run_path(str(script), run_name="__main__")
    except SystemExit as error:
        failure = of_error(error, script) if error.code not in (None, 0) else ""
        if isinstance(error.code, str):
            sys.stderr.write(f"{error.code}\n")
    except BaseException as error:  # noqa: BLE001 - told as the end of this peer
        sys.excepthook(type(error), error, error.__traceback__)
        failure = of_error(error, script)
    _finalize()
    ended(PeerEnd(rank=rank, metrics=recorder.metrics(), failure=failure))
    os._exit(TOLD if failure else 0)


def _over_sockets(directory: Path) -> NetworkFactory:
    """Connects the peers by sockets in a directory: 64 of them need 4,032 connections."""
    network = SharedAddress()

    def meeting(settings: Settings, plugins: PluginRegistry) -> Network:
        transport = LocalTransport(directory)
        view = network.view(settings.model_name, transport, {})
        return Network(view, [plugins.discovery("directory")(settings)])

    return meeting


def _finalize() -> None:
    """What the interpreter does at its end, without taking all modules apart, which would copy what peers share."""
    threading._shutdown()  # type: ignore[attr-defined]  # noqa: SLF001 - as multiprocessing does in its children
    atexit._run_exitfuncs()  # noqa: SLF001 - the same
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()


def _print_to(log: Path) -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)


def _imported(statement: ast.stmt) -> Iterator[str]:
    if isinstance(statement, ast.Import):
        yield from (alias.name for alias in statement.names)
    elif isinstance(statement, ast.ImportFrom) and statement.module and not statement.level:
        yield statement.module


def _threads() -> int:
    """Threads of this process, those that Python does not know included where the system tells."""
    try:
        return len(os.listdir("/proc/self/task"))  # noqa: PTH208 - only their number
    except OSError:
        return threading.active_count()


def _nothing(_round: int) -> None:
    pass
