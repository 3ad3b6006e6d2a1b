from __future__ import annotations

import re
import subprocess
import sys
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
        "onnx",
        "simulation",
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


def unknown_version(changelog: str, version: str) -> str | None:
    """Why a changelog does not say what is in ``version``; None where it does."""
    sections = re.split(r"^## \[?([\w.]+)\]?.*$", changelog, flags=re.MULTILINE)[1:]
    entries = dict(zip(sections[::2], sections[1::2], strict=True))
    released = [name for name in entries if name != "Unreleased"]
    name = version if version in released else "Unreleased"
    if name == "Unreleased" and any(parts(version) <= parts(other) for other in released):
        return f"version {version} has no section, and is not newer than {', '.join(released)}"
    if not re.search(r"^- \S", entries.get(name, ""), re.MULTILINE):
        return f"nothing is listed under {name}, which version {version} belongs to"
    return None


def parts(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


def test_the_changelog_knows_this_version_or_is_unreleased(project):
    assert unknown_version((ROOT / "CHANGELOG.md").read_text(), project["version"]) is None


@pytest.mark.parametrize(
    ("changelog", "version", "known"),
    [
        ("## [Unreleased]\n\n- Something.\n", "0.1.0", True),
        ("## [Unreleased]\n\n## [0.1.0] - 2025-01-01\n\n- Something.\n", "0.1.0", True),
        ("## [Unreleased]\n\n- New.\n\n## [0.1.0] - 2025-01-01\n\n- Old.\n", "0.2.0", True),
        ("## [Unreleased]\n\n### Added\n", "0.1.0", False),
        ("## [Unreleased]\n\n- New.\n\n## [0.2.0] - 2025-01-01\n\n- Old.\n", "0.1.0", False),
        ("## [Unreleased]\n\n## [0.1.0] - 2025-01-01\n\n- Old.\n", "0.2.0", False),
        ("## [Unreleased]\n\n- New.\n\n## [0.1.0] - 2025-01-01\n", "0.1.0", False),
        ("# Changelog\n", "0.1.0", False),
    ],
)
def test_a_changelog_that_does_not_know_the_version_is_found(changelog, version, known):
    assert (unknown_version(changelog, version) is None) is known


def test_every_constraint_is_exact():
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    assert lines
    assert [line for line in lines if line.count("==") != 1] == []


def test_all_versions_are_the_same_and_another_tag_is_refused():
    check = [sys.executable, ROOT / ".ci" / "versions.py"]
    assert subprocess.run(check, check=False).returncode == 0
    refused = subprocess.run([*check, "v9.9.9"], capture_output=True, text=True, check=False)
    assert refused.returncode == 1
    assert "the tag v9.9.9: 9.9.9" in refused.stdout
