"""A process that gives changed inputs to decoders: ``python -m benchmarks.fuzz.decoders``.

Each order says for how many seconds, with which seed, and to which targets of ``tests.fuzz``.
"""

from __future__ import annotations

import base64
import resource
import signal
import sys
import time
import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from benchmarks.harness.workers import connect
from tests.fuzz import inputs
from tests.fuzz.memory import highest
from tests.fuzz.targets import TARGETS
from tests.fuzz.trial import Finding, InterruptedInputError, Trial, quiet

SLICE = 0.5
"""Seconds for one target before the next one has its turn."""
STUCK = 20.0
"""Seconds for one batch, after which the input that runs is interrupted."""
ADDRESS_SPACE = 16 << 30
"""Bytes that this process may reserve. An input that makes a decoder reserve more gets a MemoryError."""


def main() -> None:
    """Answer each order with its figures."""
    orders, answer = connect()
    quiet()
    warnings.filterwarnings("error", module="swarm")
    # cryptography's, which name their caller, of a certificate that it reads nevertheless
    warnings.filterwarnings("ignore", category=UserWarning, module=r"swarm\.identity\.certificates")
    signal.signal(signal.SIGALRM, _interrupt)
    with suppress(ValueError):  # the limit is lower already
        resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, resource.getrlimit(resource.RLIMIT_AS)[1]))
    for order in orders:
        answer(fuzz(order["targets"], order["seconds"], order["seed"]))


def fuzz(names: Sequence[str], seconds: float, seed: int) -> dict[str, Any]:
    """Give inputs to the targets in turn; the figures of each."""
    trials = [Trial(TARGETS[name], list(inputs.entries(name).values()), seed) for name in names]
    spent = dict.fromkeys(names, 0.0)
    begun = time.monotonic()
    for trial in trials:
        _limited(trial, trial.replay)
    while time.monotonic() - begun < seconds:
        for trial in trials:
            started = time.monotonic()
            print(f"{trial.target.name} after {trial.executions} inputs of seed {seed}", file=sys.stderr, flush=True)
            turn_ends = min(started + SLICE, begun + seconds)
            while (now := time.monotonic()) < turn_ends:
                _limited(trial, trial.run)
            spent[trial.target.name] += now - started
    return {
        "seconds": time.monotonic() - begun,
        "max_rss": max(highest(), *(trial.peak for trial in trials)),
        "targets": {
            trial.target.name: {
                "executions": trial.executions,
                "seconds": spent[trial.target.name],
                "counts": dict(trial.counts),
                "lines": len(trial.reached),
            }
            for trial in trials
        },
        "findings": [as_record(finding) for trial in trials for finding in trial.findings],
    }


def as_record(finding: Finding) -> Mapping[str, str]:
    """A finding as JSON."""
    return {
        "name": finding.name,
        "target": finding.target,
        "kind": finding.kind,
        "what": finding.what,
        "data": base64.b64encode(finding.data).decode(),
    }


def _limited(trial: Trial, work: Any) -> None:
    signal.setitimer(signal.ITIMER_REAL, STUCK, STUCK)
    try:
        work()
    except InterruptedInputError:  # between two inputs
        print(f"{trial.target.name}: a batch took more than {STUCK:g} s", file=sys.stderr, flush=True)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _interrupt(_number: int, _frame: object) -> None:
    raise InterruptedInputError


if __name__ == "__main__":
    main()
