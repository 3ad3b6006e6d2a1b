"""The command: train for a long time under faults, and look at what grows."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from pathlib import Path

from benchmarks.fleet.arguments import number
from benchmarks.fleet.processes import Training
from benchmarks.soak.run import soak
from benchmarks.soak.summary import record

HIDDEN = 32
MODEL_BYTES = 4 * (784 * HIDDEN + HIDDEN + HIDDEN * 10 + 10)


def main() -> None:
    """Do it; the last line of ``--json`` holds every figure."""
    options = _arguments()
    training = Training(
        peers=options.peers,
        seed=options.seed,
        hidden=HIDDEN,
        sync_interval=4,
        pause=options.pause,
        failure_timeout=options.failure_timeout,
        settings={"checkpoint_seconds": 1},
    )
    spared = options.peers // 2
    directory = Path(tempfile.mkdtemp(prefix="swarm-soak-"))
    soaked = soak(
        training,
        directory,
        seconds=60 * options.minutes,
        fault_every=options.fault_every,
        spared=spared,
        tell=_tell,
    )
    for oddity in (oddities := [*soaked.hangs, *soaked.diverged]):
        _tell(oddity)
    if oddities:
        _tell(f"journals and logs are kept in {directory}")
    else:
        shutil.rmtree(directory)
    result = record(training, soaked, minutes=options.minutes, model_bytes=MODEL_BYTES, spared=spared)
    if options.json:
        print(json.dumps(result))
    else:
        print("\n".join(f"{name:<18}{json.dumps(value)}" for name, value in result.items()))


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one line of JSON instead of a list")
    parser.add_argument("--minutes", type=float, default=20.0, help="(default 20)")
    parser.add_argument("--fault-every", type=float, default=6.0, help="mean seconds between faults (default 6)")
    parser.add_argument("--peers", type=number(3), default=4, help="(default 4)")
    parser.add_argument("--seed", type=int, default=0, help="of data, weights and faults (default 0)")
    parser.add_argument("--pause", type=float, default=0.015, help="seconds added to every batch (default 0.015)")
    parser.add_argument("--failure-timeout", type=float, default=2.0, help="of the peers, in seconds (default 2)")
    return parser.parse_args()


if __name__ == "__main__":
    main()
