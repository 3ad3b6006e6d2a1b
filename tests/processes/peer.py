"""One peer as a user's program: trains a small NumPy model for so many batches and tells how far it is.

``peer.py BATCHES PAUSE [NEWEST OLDEST]``: the last two are the versions of the protocol that it names.
"""

from __future__ import annotations

import sys
import time

import numpy as np

from swarm.config import resolve
from swarm.session import Session
from swarm.session.platform import Platform
from swarm.tensors.state import ModelState, TensorKind
from swarm.testing.swarm import ArrayModel
from swarm.versions import Versions


def main(batches: int, pause: float, *versions: int) -> None:
    settings = resolve({"sync_interval": 4}).settings
    rng = np.random.default_rng(sum(settings.name.encode()))
    model = ArrayModel({"w": rng.normal(size=20000).astype(np.float32), "n": np.array(0)}, {"n": TensorKind.COUNTER})
    platform = Platform(versions=Versions(*versions, "another release")) if versions else None
    session = Session(settings, model, platform=platform)
    session.begin()
    print("BEGUN", flush=True)
    try:
        for _ in range(batches):
            model.arrays["w"] += rng.normal(size=20000).astype(np.float32)
            model.arrays["n"] += 1
            time.sleep(pause)
            report = session.advance()
            if report is not None:
                print("ROUND", report.round, report.outcome, *report.group, flush=True)
        print("ENDING", flush=True)
        session.end()
    except BaseException as error:
        session.abort(f"it was ended by {type(error).__name__}")
        raise
    state = ModelState.empty(model.schema())
    model.read(state)
    print("DIGEST", state.digest(), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]), *map(int, sys.argv[3:]))
