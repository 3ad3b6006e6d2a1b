"""The example of a plugin holds its own test, and is found by a training once it is installed."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

Run = Callable[..., list[dict[str, Any]]]
PLUGIN = Path(__file__).parents[2] / "examples" / "custom_merge_plugin"


def install(directory: Path) -> Path:
    """Put the plugin into a directory as pip would, so far as Swarm can see it."""
    project = tomllib.loads((PLUGIN / "pyproject.toml").read_text())["project"]
    for module in PLUGIN.glob("swarm_*.py"):
        shutil.copy2(module, directory)
    information = directory / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    information.mkdir()
    heading = f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    (information / "METADATA").write_text(heading)
    points = project["entry-points"]["swarm"]
    (information / "entry_points.txt").write_text(
        "\n".join(["[swarm]", *(f"{name} = {module}" for name, module in points.items())])
    )
    return directory


@pytest.mark.timeout(180)
def test_hospitals_merge_by_the_installed_rule(
    run: Run, patients: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Five, as the rule needs, each with the patients of the first one."""
    path = os.pathsep.join(
        [str(install(tmp_path_factory.mktemp("installed"))), *filter(None, [os.environ.get("PYTHONPATH")])]
    )
    options = ("heart.py", patients / "peer-0", "--merge-method", "multikrum")
    results = run(*options, peers=5, variables={"PYTHONPATH": path})
    assert len({result["digest"] for result in results}) == 1
    assert results[0]["metrics"]["swarm_rounds"] >= 2


def test_it_gives_the_values_of_byzfl() -> None:
    spec = importlib.util.spec_from_file_location("multikrum", PLUGIN / "swarm_multikrum.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    cases = json.loads((PLUGIN.parents[1] / "tests" / "merge" / "byzfl_values.json").read_text())
    compared = 0
    for case in cases:
        vectors = np.array(case["vectors"])
        if case["bad"] == (len(vectors) - 3) // 2 > 0:
            merged = module.MultiKrum().merge(list(vectors), [1] * len(vectors))
            np.testing.assert_allclose(merged, case["values"]["multikrum"], rtol=1e-9)
            compared += 1
    assert compared == 2


@pytest.mark.timeout(120)
def test_its_own_test_passes() -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(PLUGIN), str(PLUGIN)]
    done = subprocess.run(command, cwd=PLUGIN, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
