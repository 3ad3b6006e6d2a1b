"""A program that trains two models at once, as a GAN does: a session for each, in one process."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np

from swarm.config import resolve
from swarm.session import Session
from swarm.tensors.state import ModelState
from swarm.testing.swarm import ArrayModel

SESSIONS = ("generator", "discriminator")


def main(batches: int, pause: float, seed: int, hold: str = "") -> None:
    """``hold`` is a file for which training waits."""
    rng = np.random.default_rng(seed)
    models = {name: ArrayModel({name: rng.normal(size=2000).astype(np.float32)}) for name in SESSIONS}
    sessions = {
        name: Session(resolve({"model_name": name, "sync_interval": 4}).settings, model)
        for name, model in models.items()
    }
    for name, session in sessions.items():
        session.begin()
        print("BEGUN", name, session.status()["address"], flush=True)
    while hold and not Path(hold).exists():
        time.sleep(0.01)
    for name in SESSIONS:  # the second one goes on when the first one has ended
        for _ in range(batches):
            time.sleep(pause)
            for each in SESSIONS[SESSIONS.index(name) :]:
                models[each].arrays[each] += rng.normal(size=2000).astype(np.float32)
                sessions[each].advance()
        sessions[name].end()
        state = ModelState.empty(models[name].schema())
        models[name].read(state)
        rounds = sessions[name].metrics()["swarm_rounds"]
        print("ENDED", name, f"{rounds:.0f}", state.digest(), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]), *sys.argv[4:])
