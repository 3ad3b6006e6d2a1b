"""A host: the process with all peers of one swarm. ``python -m swarm.simulate.host PLAN RENDEZVOUS SOCKETS``.

It prints one line of JSON for each thing that it tells. The peers of a script are forked from it and print such lines
too: each line is written at once, so that none is mixed with another.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from swarm.errors import SwarmError
from swarm.simulate import memory
from swarm.simulate.plan import PeerEnd, Plan, cost_line, end_line, round_line
from swarm.text import printable

_WITHOUT = "--without"


def main(words: list[str]) -> None:
    """Train with all peers of a plan."""
    plan = Plan.read(Path(words[0]).read_text(encoding="utf-8"))
    rendezvous, sockets = map(Path, words[1:3])
    without = tuple(words[words.index(_WITHOUT) + 1 :] if _WITHOUT in words else ())
    told = os.dup(1)
    os.dup2(2, 1)  # whatever else is printed

    def tell(line: str) -> None:
        os.write(told, f"{line}\n".encode())

    def finished(number: int) -> None:
        tell(round_line(number))

    def ended(end: PeerEnd) -> None:
        tell(end_line(end))

    if not plan.is_task:
        from swarm.simulate.forked import preload

        if (threaded := preload(Path(plan.program), without)) is not None:
            # a new process, since threads cannot be taken back
            os.dup2(told, 1)
            own = [sys.executable, "-m", "swarm.simulate.host", *words[:3]]
            os.execv(sys.executable, [*own, _WITHOUT, *without, threaded])  # noqa: S606 - this very program
    began = time.monotonic()
    try:
        if plan.is_task:
            from swarm.simulate.threads import run as run_threads

            run_threads(plan, finished, ended)
            used: float | None = memory.own()
        else:
            from swarm.simulate.forked import run as run_forked

            used = run_forked(plan, rendezvous, sockets, finished, ended)
    except SwarmError as error:
        sys.exit(f"swarm: {printable(str(error))}")
    tell(cost_line(time.monotonic() - began, used))
    sys.stderr.flush()
    os._exit(0)  # without waiting for threads and peers that are left: whoever started this process ends them


if __name__ == "__main__":
    main(sys.argv[1:])
