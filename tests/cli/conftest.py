from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Swarm = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def user_environment() -> dict[str, str]:
    """The environment of a user who has set nothing for Swarm."""
    hidden = ("SWARM_", "DATA_DIR", "MODEL_DIR", "SCRATCH_DIR", "SLURM_", "JOB_COMPLETION_INDEX", "RANK")
    return {name: value for name, value in os.environ.items() if not name.startswith(hidden)}


@pytest.fixture
def swarm(tmp_path: Path, user_environment: dict[str, str]) -> Swarm:
    """Runs the command in an empty directory, in a process of its own."""

    def run(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "swarm.cli", *arguments],
            cwd=tmp_path,
            env={**user_environment, **variables},
            capture_output=True,
            text=True,
            timeout=110,
            check=False,
        )

    return run


@pytest.fixture
def python() -> str:
    return sys.executable
