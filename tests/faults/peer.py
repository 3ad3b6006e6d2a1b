"""One peer as a user's program: trains a small NumPy model until it is told to stop, and may be harmed from within.

The tensor ``steps`` counts: each batch of a peer adds 1 to the peer's own element of it, so what is merged of whom can
be read off the model.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import harm
import numpy as np

import swarm
from swarm.config import resolve
from swarm.plugins import PluginRegistry
from swarm.records import Outcome, RoundFinished
from swarm.session import Session
from swarm.tensors.state import ModelState, TensorKind
from swarm.testing.swarm import ArrayModel

NAMES = ("ada", "bob", "cyd", "dan")
LONGEST = 120.0
"""Seconds of training, should whoever started it be gone."""


def tell(*words: object) -> None:
    """Print a line at once: lines of other threads come between the words that ``print`` writes."""
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


class Teller:
    """Tells of every round, those after the training too."""

    @swarm.hookimpl
    def swarm_round_finished(self, event: RoundFinished) -> None:
        """Who was in it, and whose weights."""
        report = event.report
        tell("ROUND", report.round, report.outcome, *report.group)
        tell("FROM", report.round, *report.contributors)


def main(options: argparse.Namespace) -> None:
    """Train until there is a file of this peer's name, or one for everyone, in the directory ``stop``."""
    settings = resolve({"sync_interval": 4}).settings
    rng = np.random.default_rng(list(f"{settings.model_name} {settings.name}".encode()))
    w = rng.normal(size=options.size).astype(options.dtype)
    kinds = {"n": TensorKind.COUNTER}
    model = ArrayModel({"w": w, "n": np.array(0), "steps": np.zeros(len(NAMES))}, kinds)
    registry = PluginRegistry(settings.disabled_plugins, {"teller": Teller()})
    session = Session(settings, model, plugins=registry, network=harm.network(options.die, options.token))
    session.begin()
    tell("BEGUN")
    steps, deadline = 0, time.monotonic() + LONGEST
    try:
        while not any((options.stop / name).exists() for name in ("everyone", settings.name)):
            model.arrays["w"] += rng.normal(size=options.size).astype(options.dtype)
            model.arrays["n"] += 1
            model.arrays["steps"][NAMES.index(settings.name)] += 1
            steps += 1
            if time.monotonic() > deadline:
                raise TimeoutError("nobody told this peer to stop")
            if steps == options.poison_at:
                model.arrays["w"][0] = options.poison
            time.sleep(options.pause)
            report = session.advance()
            if report is not None and report.outcome is Outcome.SKIPPED:
                tell("SKIPPED", report.round, report.reason)
        tell("ENDING", steps)
        session.end()
    except BaseException as error:
        session.abort(f"it was ended by {type(error).__name__}")
        raise
    state = ModelState.empty(model.schema())
    model.read(state)
    tell("MERGED", *(f"{name}={held:.6f}" for name, held in zip(NAMES, model.arrays["steps"], strict=True)))
    tell("DIGEST", state.digest())


def arguments() -> argparse.Namespace:
    """How it trains, and what befalls it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--stop", type=Path, required=True)
    parser.add_argument("--pause", type=float, default=0.02, help="seconds that a batch takes")
    parser.add_argument("--size", type=int, default=20000)
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--poison", type=float, default=0.0, help="a value that gets into the weights")
    parser.add_argument("--poison-at", type=int, default=0, help="at which batch")
    parser.add_argument("--claim", type=float, default=0.0, help="by how far it says that its weights move at most")
    parser.add_argument("--die", default="", help="a message of harm.MOMENTS, which is its last")
    parser.add_argument("--token", type=Path, help="a file that one of several victims takes, and dies")
    parser.add_argument("--slow-disk", type=float, default=0.0, help="seconds that every write takes")
    parser.add_argument("--jumping-clock", action="store_true")
    parser.add_argument("--line-every", type=float, default=0.0, help="seconds between the lines of a long wait")
    return parser.parse_args()


if __name__ == "__main__":
    given = arguments()
    harm.disk(given.slow_disk)
    if given.claim:
        harm.lie(given.claim)
    if given.jumping_clock:
        harm.clock()
    if given.line_every:
        harm.talkative(given.line_every)
    main(given)
