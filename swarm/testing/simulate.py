"""``python -m swarm.testing.simulate``: runs the simulation, which is in the source tree only."""

from __future__ import annotations

import runpy
import sys

if __name__ == "__main__":
    try:
        runpy.run_module("tests.simulator", run_name="__main__", alter_sys=True)
    except ModuleNotFoundError as error:
        if error.name not in {"tests", "tests.simulator", "greenlet"}:
            raise
        sys.exit(f"{error}: run this in a checkout of Swarm, with its extra `dev` installed")
