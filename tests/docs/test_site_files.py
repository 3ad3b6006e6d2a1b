"""The files in ``examples/site`` that start one site: their commands and variables are Swarm's."""

from __future__ import annotations

import configparser
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import typer

from swarm.cli.app import app
from swarm.config import resolve

SITE = Path(__file__).parents[2] / "examples" / "site"


def parses(words: list[str]) -> bool:
    """Whether ``swarm`` with these words is a command with options that exist."""
    group = typer.main.get_command(app)
    context = group.make_context("swarm", words)
    name, command, rest = group.resolve_command(context, [*context._protected_args, *context.args])
    command.make_context(name, rest, parent=context)
    return True


def test_the_commands_of_the_service_exist() -> None:
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str
    unit.read(SITE / "swarm.service")
    service = unit["Service"]
    for line in (service["ExecStartPre"], service["ExecStart"]):
        program, *words = line.removeprefix("-").split()
        assert program.endswith("/bin/swarm")
        assert parses(words)
    assert "--resume" in service["ExecStart"]
    assert service["ReadWritePaths"] == service["WorkingDirectory"]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd here")
def test_systemd_understands_the_service(tmp_path: Path) -> None:
    text = (SITE / "swarm.service").read_text(encoding="utf-8").replace("/srv/swarm/.venv/bin/swarm", "/bin/true")
    (tmp_path / "swarm.service").write_text(text, encoding="utf-8")
    done = subprocess.run(
        ["systemd-analyze", "verify", tmp_path / "swarm.service"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_image_starts_the_peer_without_a_shell_and_with_settings_that_exist() -> None:
    text = (SITE / "Dockerfile").read_text(encoding="utf-8")
    entry, command = (
        json.loads(re.search(rf"^{name} (\[.*\])$", text, re.MULTILINE)[1]) for name in ("ENTRYPOINT", "CMD")
    )
    assert parses([*entry, *command][1:])
    variables = dict(re.findall(r"(SWARM_\w+)=(\S+)", re.search(r"^ENV (.*)$", text, re.MULTILINE)[1]))
    settings = resolve(environment={**variables, "SWARM_INSECURE": "true"}, directory=SITE).settings
    published = re.search(r"^EXPOSE (.*)$", text, re.MULTILINE)[1].split()
    assert published == [settings.listen.rpartition(":")[2], str(settings.data_port)]


def test_the_recipe_of_apptainer_starts_the_peer() -> None:
    text = (SITE / "swarm.def").read_text(encoding="utf-8")
    line = re.search(r"^ +exec swarm (.*)$", text, re.MULTILINE)[1]
    assert parses([*line.replace(' "$@"', "").split(), "python", "train.py"])
    assert {"%post", "%environment", "%runscript", "%test"} <= set(re.findall(r"^%\w+", text, re.MULTILINE))
