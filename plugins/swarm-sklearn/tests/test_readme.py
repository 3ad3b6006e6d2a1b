"""The commands and programs of the README."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
from sklearn.cluster import MiniBatchKMeans
from sklearn.linear_model import SGDClassifier

import swarm

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def test_the_programs_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SWARM_LOOPBACK", "true")
    monkeypatch.setenv("SWARM_MODEL_DIR", "models")
    names = {"np": np, "swarm": swarm, "estimator": SGDClassifier(), "MiniBatchKMeans": MiniBatchKMeans}
    assert len(BLOCKS) == 4
    for block in BLOCKS:
        exec(block, names)
    assert names["estimator"].coef_.any()
    assert names["model"].coef_.tolist() == names["estimator"].coef_.tolist()
    assert names["clusters"]._counts.sum() == 5 * 200


def test_the_command_trains_four_sites_to_one_model(tmp_path):
    (tmp_path / "train.py").write_text(BLOCKS[0])
    (command,) = re.findall(r"^\$ (swarm up .*)$", README, re.MULTILINE)
    program, *arguments = shlex.split(command)
    assert program == "swarm"
    ended = subprocess.run(
        [sys.executable, "-m", "swarm.cli", *arguments[:-2], sys.executable, "train.py"],
        cwd=tmp_path,
        env={name: value for name, value in os.environ.items() if not name.startswith("SWARM_")},
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    scores = re.findall(r"site (\d): accuracy ([\d.]+)", ended.stdout)
    assert sorted(site for site, _ in scores) == ["0", "1", "2", "3"]
    assert len({score for _, score in scores}) == 1
    models = [path.read_bytes() for path in tmp_path.glob("models/peer-*/swarm-final.safetensors")]
    assert len(models) == 4
    assert len({*models}) == 1
