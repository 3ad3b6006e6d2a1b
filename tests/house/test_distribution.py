from __future__ import annotations

import tomllib
from importlib.metadata import distribution, entry_points
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("swarm", "swarm_keras", "swarm_lightning")


@pytest.fixture(scope="module")
def project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@pytest.mark.parametrize(
    ("name", "module"),
    [("swarm", "swarm._plugin"), ("keras", "swarm_keras._plugin"), ("lightning", "swarm_lightning._plugin")],
)
def test_integrations_are_found_by_entry_point(name, module):
    (entry,) = entry_points(group="swarm", name=name)
    assert entry.load().__name__ == module


def test_the_command_is_installed():
    (entry,) = entry_points(group="console_scripts", name="swarm")
    assert callable(entry.load())


def test_extras_are_those_promised():
    assert set(distribution("swarm-learning").metadata.get_all("Provides-Extra")) == {
        "torch",
        "keras",
        "lightning",
        "demo",
        "dev",
    }


@pytest.mark.parametrize("package", PACKAGES)
def test_packages_are_typed(package):
    assert (ROOT / package / "py.typed").is_file()


def test_the_licence_is_apache_2(project):
    assert project["license"] == "Apache-2.0"
    text = (ROOT / "LICENSE").read_text()
    assert "Apache License" in text
    assert "END OF TERMS AND CONDITIONS" in text


def test_protobuf_has_no_upper_bound(project):
    (requirement,) = [line for line in project["dependencies"] if line.startswith("protobuf")]
    assert requirement == "protobuf>=6.31.1"


def test_the_changelog_knows_this_version_or_is_unreleased(project):
    headings = [line for line in (ROOT / "CHANGELOG.md").read_text().splitlines() if line.startswith("## ")]
    assert any(project["version"] in line or "Unreleased" in line for line in headings)


def test_every_constraint_is_exact():
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    assert lines
    assert [line for line in lines if line.count("==") != 1] == []
