from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from swarm.cli.program import locate, search_path
from swarm.errors import CommandNotFoundError

PATH = os.defpath


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """A directory with a script, and another one to work in."""
    directory = tmp_path / "model"
    directory.mkdir()
    (directory / "train.py").touch()
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    return directory


def located(*command, directory):
    return locate([sys.executable, *command], PATH, [directory])[1:]


def test_a_script_of_the_working_directory_comes_first(elsewhere):
    Path("train.py").touch()

    assert located("train.py", directory=elsewhere) == ["train.py"]


@pytest.mark.parametrize("options", [(), ("-u",), ("-X", "dev", "-W", "ignore")])
def test_a_script_is_found_behind_options(elsewhere, options):
    found = located(*options, "train.py", "train.py", directory=elsewhere)

    assert found == [*options, str(elsewhere / "train.py"), "train.py"]


@pytest.mark.parametrize("command", [("-m", "train.py"), ("-c", "train.py"), ("other.py",), ("-u",)])
def test_what_is_no_script_of_that_directory_stays(elsewhere, command):
    assert located(*command, directory=elsewhere) == list(command)


def test_a_program_with_a_relative_path_is_found_too(elsewhere):
    program = elsewhere / "bin" / "train"
    program.parent.mkdir()
    program.touch(mode=0o755)

    assert locate(["bin/train"], PATH, [elsewhere]) == [str(program)]


def test_a_script_as_a_command_is_told_how_to_start_it():
    with pytest.raises(CommandNotFoundError, match=r"start it with `python train\.py`"):
        locate(["train.py"], PATH)


def test_a_file_that_is_not_executable_is_said(tmp_path):
    (tmp_path / "train").touch(mode=0o644)

    with pytest.raises(CommandNotFoundError, match="cannot be executed"):
        locate([str(tmp_path / "train")], PATH)


def test_an_activated_environment_is_respected():
    assert search_path({"PATH": "/bin", "VIRTUAL_ENV": "/somewhere"}) == "/bin"


def test_without_one_python_is_the_one_that_knows_swarm(monkeypatch):
    monkeypatch.setattr(sys, "prefix", "/opt/environment")
    monkeypatch.setattr(sys, "executable", "/opt/environment/bin/python")

    assert search_path({"PATH": "/bin"}) == "/opt/environment/bin:/bin"
