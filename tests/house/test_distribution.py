from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import distribution, entry_points
from pathlib import Path

import pytest
from packaging.requirements import Requirement

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


def test_every_constraint_is_exact():
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    assert lines
    assert [line for line in lines if line.count("==") != 1] == []


@pytest.fixture
def release(tmp_path):
    """What the check says of a repository with this changelog, of which this was built; "" where it passes."""

    def check(changelog: str, *built: str, tag: str = "v0.2.0", cited: str = "version: 0.2.0\n") -> str:
        (tmp_path / ".ci").mkdir()
        shutil.copy(ROOT / ".ci" / "versions.py", tmp_path / ".ci")
        (tmp_path / "CITATION.cff").write_text(f"cff-version: 1.2.0\n{cited}")
        (tmp_path / "CHANGELOG.md").write_text(changelog)
        (tmp_path / "dist").mkdir()
        for name in built:
            (tmp_path / "dist" / name).touch()
        command = [sys.executable, tmp_path / ".ci" / "versions.py", tag, *([tmp_path / "dist"] if built else [])]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert bool(done.stdout) is bool(done.returncode)
        return done.stdout + done.stderr

    return check


LISTED = "# Changelog\n\n## [Unreleased]\n\n## [0.2.0] - 2025-01-01\n\n### Added\n\n- New.\n\n## [0.1.0]\n\n- Old.\n"


def test_a_release_is_listed_cited_and_built_from_its_tag(release):
    assert not release(LISTED, "swarm_learning-0.2.0-cp311-abi3-linux_x86_64.whl", "swarm_learning-0.2.0.tar.gz")


@pytest.mark.parametrize(
    "changelog",
    [
        "# Changelog\n",
        "## [Unreleased]\n\n- New.\n\n## [0.1.0] - 2025-01-01\n\n- Old.\n",
        "## [0.2.0] - 2025-01-01\n\n### Added\n\n## [0.1.0] - 2025-01-01\n\n- Old.\n",
        "## [0.2.0.1] - 2025-01-01\n\n- New.\n",
    ],
)
def test_a_release_of_which_the_changelog_says_nothing_is_refused(release, changelog):
    assert release(changelog) == (
        'CHANGELOG.md lists nothing under "## [0.2.0]": make "Unreleased" that, with the date\n'
    )


@pytest.mark.parametrize(("cited", "said"), [("version: 0.1.0\n", "0.1.0"), ("", "none")])
def test_a_release_with_another_citation_is_refused(release, cited, said):
    assert release(LISTED, cited=cited) == f"CITATION.cff has the version {said}: make it 0.2.0\n"


@pytest.mark.parametrize("tag", ["0.2.0", "v0.2", "version-0.2.0", "v0.2.0-1"])
def test_a_tag_that_is_no_version_is_refused(release, tag):
    assert release(LISTED, tag=tag) == f"the tag {tag!r} is not vX.Y.Z\n"


def test_distributions_that_were_built_without_the_tag_are_refused(release):
    said = release(LISTED, "swarm_learning-0.2.0.tar.gz", "swarm_nats-0.1.0.dev9+1a2b3c4-py3-none-any.whl")
    assert said.startswith("swarm_nats-0.1.0.dev9+1a2b3c4-py3-none-any.whl is not of 0.2.0: build it in a clone")
    assert said.count("\n") == 1


def test_nothing_built_is_refused(release, tmp_path):
    assert "there is nothing built in" in release(LISTED, "notes.txt")


def test_every_distribution_takes_its_version_from_the_tag_in_the_same_way():
    projects = [ROOT / "pyproject.toml", *sorted(ROOT.glob("plugins/*/pyproject.toml"))]
    read = [tomllib.loads(path.read_text()) for path in projects]
    assert len(read) > 1
    assert all(found["project"]["dynamic"] == ["version"] for found in read)
    assert all("versioningit>=3.3" in found["build-system"]["requires"] for found in read)
    assert all(found["tool"]["versioningit"] == read[0]["tool"]["versioningit"] for found in read)


@pytest.fixture
def clone(tmp_path):
    """A repository of two commits with this pyproject.toml: runs git in it, and says which version is built there."""
    versioningit = pytest.importorskip("versioningit", reason="make .venv/.dev installs it")

    def git(*command: str) -> None:
        identity = ["-c", "user.name=Ada", "-c", "user.email=ada@example.org", "-c", "commit.gpgsign=false"]
        subprocess.run(["git", *identity, *command], cwd=tmp_path, check=True, capture_output=True)

    git("init")
    git("commit", "--allow-empty", "-m", "first")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    git("add", ".")
    git("commit", "-m", "second")
    return git, lambda: versioningit.get_version(tmp_path)


def test_a_tag_is_the_version(clone):
    git, version = clone
    assert re.fullmatch(r"0\.1\.0\.dev1\+[0-9a-f]{7,}", version())
    git("tag", "v0.2.0")
    git("tag", "something-else")
    assert version() == "0.2.0"
    git("commit", "--allow-empty", "-m", "third")
    assert re.fullmatch(r"0\.3\.0\.dev1\+[0-9a-f]{7,}", version())


def test_a_clone_of_one_commit_has_a_version_that_the_plugins_accept(clone, tmp_path):
    git, _ = clone
    git("clone", "--depth", "1", tmp_path.as_uri(), "shallow")
    built = pytest.importorskip("versioningit").get_version(tmp_path / "shallow")
    assert built == "0.1.0.dev0"
    plugin = tomllib.loads((ROOT / "plugins" / "swarm-nats" / "pyproject.toml").read_text())["project"]
    (needed,) = [Requirement(line) for line in plugin["dependencies"] if line.startswith("swarm-learning")]
    assert built in needed.specifier


def test_a_copy_without_git_has_a_version(clone, tmp_path):
    _, version = clone
    shutil.rmtree(tmp_path / ".git")
    assert version() == "0.1.0.dev0"
    (tmp_path / "PKG-INFO").write_text("Metadata-Version: 2.4\nName: swarm-learning\nVersion: 0.2.0\n")
    assert version() == "0.2.0"
