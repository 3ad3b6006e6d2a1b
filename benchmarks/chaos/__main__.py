"""The command: train under faults, train without, and compare."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.chaos.run import disturbed, undisturbed
from benchmarks.chaos.summary import record
from benchmarks.fleet.arguments import number
from benchmarks.fleet.faults import Kind, plan
from benchmarks.fleet.processes import Training
from benchmarks.fleet.sockets import can_cut


def main() -> None:
    """Do it; the last line of ``--json`` holds every figure."""
    options = _arguments()
    training = Training(
        peers=options.peers,
        seed=options.seed,
        hidden=128,
        sync_interval=4,
        pause=options.pause,
        failure_timeout=options.failure_timeout,
        with_workers=options.peers // 2,
    )
    quarter = -(-options.kills // 4)
    counts = {
        Kind.KILL: options.kills,
        Kind.FREEZE: quarter if options.freezes is None else options.freezes,
        Kind.DISCONNECT: quarter if options.disconnects is None else options.disconnects,
    }
    if not can_cut(os.getpid()):
        _tell("connections of other processes cannot be cut here: disconnects are left out")
        counts[Kind.DISCONNECT] = 0
    faults = plan(counts, dict.fromkeys(counts, training.names), options.seed)
    directory = Path(tempfile.mkdtemp(prefix="swarm-chaos-"))
    faulty = disturbed(training, directory / "faulty", faults, _tell)
    _tell(f"the same without faults, for {faulty.rounds} rounds")
    quiet = undisturbed(training.at_full_speed(), directory / "quiet", faulty.rounds)
    oddities = [*faulty.hangs, *quiet.hangs, *faulty.diverged, *quiet.diverged, *faulty.errors, *quiet.errors]
    for oddity in oddities:
        _tell(oddity)
    if oddities:
        _tell(f"journals and logs are kept in {directory}")
    else:
        shutil.rmtree(directory)
    result = record(training, faulty, quiet)
    print(json.dumps(result) if options.json else _shown(result))


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _shown(result: Mapping[str, Any]) -> str:
    return "\n".join(f"{name:<24}{json.dumps(value)}" for name, value in result.items())


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.chaos", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one line of JSON instead of a list")
    parser.add_argument("--kills", type=number(0), default=40, help="peers killed and started again (default 40)")
    parser.add_argument("--freezes", type=number(0), help="peers frozen (default: a quarter of the kills)")
    parser.add_argument("--disconnects", type=number(0), help="peers cut off (default: a quarter of the kills)")
    parser.add_argument("--peers", type=number(3), default=4, help="(default 4)")
    parser.add_argument("--seed", type=int, default=0, help="of data, weights and faults (default 0)")
    parser.add_argument("--pause", type=float, default=0.04, help="seconds added to every batch (default 0.04)")
    parser.add_argument("--failure-timeout", type=float, default=3.0, help="of the peers, in seconds (default 3)")
    return parser.parse_args()


if __name__ == "__main__":
    main()
