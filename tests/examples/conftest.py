"""What the tests of the examples share: a little data, and a way to run a script."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from swarm.demo import digits, hospitals
from swarm.demo.sites import write

EXAMPLES = Path(__file__).parents[2] / "examples"
BATCHES = ("--epochs", "1", "--steps", "16", "--sync-interval", "8")

Run = Callable[..., list[dict[str, Any]]]
"""Runs an example, alone or with several peers, and gives the result of each."""


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Digits for two peers."""
    directory = tmp_path_factory.mktemp("images")
    write(digits.load(peers=2, seed=0), directory)
    return directory


@pytest.fixture(scope="session")
def patients(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Patients of four hospitals."""
    directory = tmp_path_factory.mktemp("patients")
    write(hospitals.load(seed=0), directory)
    return directory


@pytest.fixture
def run(tmp_path: Path) -> Run:
    def run(
        script: str, data: Path, *options: str, peers: int = 1, variables: Mapping[str, str] | None = None
    ) -> list[dict[str, Any]]:
        command = [sys.executable, str(EXAMPLES / script), *BATCHES, *options]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("SWARM_")}
        environment |= {"OMP_NUM_THREADS": "1", **(variables or {})}
        if peers > 1:
            paths = ["--data-dir", str(data), "--model-dir", str(tmp_path)]
            command = [sys.executable, "-m", "swarm.cli", "up", "-n", str(peers), *paths, "--", *command]
        else:
            environment |= {"SWARM_LOOPBACK": "true", "DATA_DIR": str(data), "MODEL_DIR": str(tmp_path / "peer-0")}
        done = subprocess.run(
            command,
            cwd=tmp_path,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=150,
            check=False,
        )
        assert done.returncode == 0, done.stdout
        assert any(f"test {score} " in done.stdout for score in ("accuracy", "R²"))
        return [json.loads((tmp_path / f"peer-{rank}" / "result.json").read_text()) for rank in range(peers)]

    return run
