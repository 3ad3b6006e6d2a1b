"""Mistakes that no drawn schedule has shown, and the tests of the consensus that notice them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

CONSENSUS = Path(__file__).parents[1] / "consensus"


def require_noticed(mutant: str, file: str, name: str) -> None:
    """Fail unless the tests called ``name`` in a file of the consensus's tests fail under a mutant."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", CONSENSUS / file, "-k", name]
    environment = {**os.environ, "MISTAKE": mutant}
    result = subprocess.run(
        command, cwd=CONSENSUS.parents[1], env=environment, capture_output=True, check=False, text=True
    )
    assert result.returncode == pytest.ExitCode.TESTS_FAILED, result.stdout
