"""Scripts in the style of HPE Swarm Learning 2.x, started by ``swarm up``: they end well, with one model."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.timeout(180)
@pytest.mark.parametrize("framework", ["torch", "keras"])
def test_two_peers_end_with_one_model(framework: str, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    pytest.importorskip(framework)
    script = Path(__file__).with_name(f"hpe_{framework}.py")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SWARM_")}
    environment |= {"OMP_NUM_THREADS": "1", "KERAS_BACKEND": "torch"}
    up = (sys.executable, "-m", "swarm.cli", "up", "-n", "2", "--model-dir", str(tmp_path), "--")
    ended = subprocess.run(
        [*up, sys.executable, str(script)],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=150,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout
    assert "all 2 peers ended well" in ended.stdout
    digests = dict(re.findall(r"^(peer-\d) +\| DIGEST (\w+)$", ended.stdout, re.MULTILINE))
    assert digests.keys() == {"peer-0", "peer-1"}
    assert len({*digests.values()}) == 1, ended.stdout
