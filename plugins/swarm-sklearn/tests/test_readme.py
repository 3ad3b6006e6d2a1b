"""The commands and programs of the README."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from sklearn.cluster import MiniBatchKMeans
from sklearn.linear_model import SGDClassifier

import swarm

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


def test_the_programs_run(patients, tmp_path, monkeypatch):
    x, y = patients
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SWARM_LOOPBACK", "true")
    monkeypatch.setenv("SWARM_MODEL_DIR", "models")
    names = {
        "x": (x - 41) / 3,
        "y": np.minimum(y, 1),
        "np": np,
        "swarm": swarm,
        "estimator": SGDClassifier(),
        "MiniBatchKMeans": MiniBatchKMeans,
    }
    blocks = re.findall(r"^```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    assert len(blocks) == 4
    for block in blocks:
        exec(block, names)
    assert names["estimator"].coef_.any()
    assert names["model"].coef_.tolist() == names["estimator"].coef_.tolist()
    assert names["clusters"]._counts.sum() == 5 * 120


def test_the_command_names_a_script_and_its_options():
    (command,) = re.findall(r"^\$ swarm up .*-- python (\S+)", README, re.MULTILINE)
    script = Path(__file__).parents[3] / command
    assert script.is_file()
    assert "--model" in script.read_text(encoding="utf-8")
