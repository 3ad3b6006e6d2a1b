"""The example of a plugin holds its own test, and is found by a training once it is installed."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

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
    installed = install(tmp_path_factory.mktemp("installed"))
    first, second = run(
        "heart.py", patients, "--merge-method", "trimmed_mean", peers=2, variables={"PYTHONPATH": str(installed)}
    )
    assert first["digest"] == second["digest"]
    assert first["metrics"]["swarm_rounds"] >= 2


@pytest.mark.timeout(120)
def test_its_own_test_passes() -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(PLUGIN), str(PLUGIN)]
    done = subprocess.run(command, cwd=PLUGIN, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
