"""What a page shows in a fenced block is true: Python runs, commands exist, files can be read."""

from __future__ import annotations

import os
import re
import shlex
import sys
import tomllib
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from unittest.mock import patch

import pytest
import torch
import typer
from sybil import Example, Sybil
from sybil.parsers.markdown import CodeBlockParser, PythonCodeBlockParser, SkipParser

import swarm
from swarm.cli.app import app
from swarm.config import resolve

ROOT = Path(__file__).parents[2]
LANGUAGES = {"python", "diff", "console", "toml", "json", "text", "mermaid"}
"""Those that are checked here, and the two that only show."""
ASSIGNMENT = re.compile(r"(\w+)=(.*)")
PROJECTS = [
    tomllib.loads(path.read_text(encoding="utf-8"))["project"]
    for path in (ROOT / "pyproject.toml", *ROOT.glob("plugins/*/pyproject.toml"))
]
PLUGINS = [project["name"] for project in PROJECTS if project["name"] != "swarm-learning"]
EXTRAS = {project["name"]: project.get("optional-dependencies", {}).keys() for project in PROJECTS}
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
ELSEWHERE = {"sbatch", "torchrun", "cd", "curl", "export", "git", "ls", "openssl", "source"}
"""Programs that are not ours to check."""


def test_every_block_has_a_language_that_is_checked(page) -> None:
    assert [f"{page.name}:{block.line}" for block in page.blocks() if block.language not in LANGUAGES] == []


@pytest.mark.usefixtures("elsewhere", "hpe_client", "torchrun")
def test_code_runs(page_with_code) -> None:
    """From top to bottom, in one namespace; both sides of a diff."""
    parsers = [PythonCodeBlockParser(), CodeBlockParser("diff", run_both_sides), SkipParser()]
    for example in Sybil(parsers=parsers).parse(page_with_code.path).examples():
        example.evaluate()


def script_of_the_reader() -> dict[str, object]:
    """What a diff may take for granted."""
    return {
        "__name__": "example",
        "epochs": 1,
        "loader": [(torch.ones(2, 4), torch.zeros(2, dtype=torch.int64))],
        "loss_function": torch.nn.CrossEntropyLoss(),
        "make_model": lambda: torch.nn.Linear(4, 2),
    }


def run_both_sides(example: Example) -> None:
    """The side before may import HPE's client, which ``hpe_client`` makes ours: only its import has to change."""
    for dropped in "+-":
        side = "\n".join(line[1:] for line in example.parsed.splitlines() if not line.startswith(dropped))
        code = compile("\n" * example.line + side, f"<{example.path}>", "exec")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            exec(code, script_of_the_reader())


@pytest.fixture
def torchrun() -> Iterator[None]:
    """What torchrun says to the only process that it has started; a Trainer opens a process group for it."""
    variables = {"RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0"}
    with patch.dict(os.environ, variables):
        yield
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


@pytest.fixture
def hpe_client(monkeypatch) -> None:
    """HPE's client, whose callback is ours."""
    for name in ("swarmlearning", "swarmlearning.pyt", "swarmlearning.tf"):
        client = ModuleType(name)
        client.SwarmCallback = swarm.SwarmCallback
        monkeypatch.setitem(sys.modules, name, client)


def test_commands_exist_with_their_options(page) -> None:
    problems = [
        f"{page.name}:{block.line}: {line}: {problem}"
        for block in page.blocks("console")
        for line in block.source.splitlines()
        if line.startswith("$ ") and (problem := problem_of(line.removeprefix("$ ")))
    ]
    assert problems == []


def test_what_is_installed_by_name_can_be_installed_from_a_checkout(page) -> None:
    """Until the first release nothing is on PyPI. The page on installation has the two ways one after the other."""
    lines = [line for block in page.blocks("console") for line in block.source.splitlines()]
    if page.name != "docs/install.md":
        assert [line for line in lines if (way := in_a_checkout(line)) and f"# in a checkout: {way}" not in line] == []


def in_a_checkout(line: str) -> str | None:
    """How to install in a checkout what a command installs by its name; None where it installs nothing of ours."""
    shown = line.partition("#")[0].strip().removeprefix("$ ")
    if not shown.startswith("pip install "):
        return None
    way = re.sub(r"(?<![\w./-])swarm-learning\b", ".", shown)
    way = re.sub(rf"(?<![\w./-])({'|'.join(PLUGINS)})\b", r"./plugins/\1", way)
    return way if way != shown else None


@pytest.mark.parametrize(
    ("line", "way"),
    [
        ("$ pip install 'swarm-learning[torch]'  # or another", "pip install '.[torch]'"),
        ("$ pip install swarm-transformers peft", "pip install ./plugins/swarm-transformers peft"),
        ("$ pip install ./plugins/swarm-nats", None),
        ("$ swarm config", None),
    ],
)
def test_the_way_in_a_checkout(line, way) -> None:
    assert in_a_checkout(line) == way


def test_settings_in_files_are_allowed(page, tmp_path) -> None:
    for block in page.blocks("toml"):
        if "swarm" in tomllib.loads(block.source):
            (tmp_path / "swarm.toml").write_text(block.source)
            assert resolve(environment={}, directory=tmp_path).settings


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("swarm up -n 4 -- python train.py", None),
        ("SWARM_SYNC_INTERVAL=8 swarm config", None),
        ("make test", None),
        ("pip install 'swarm-learning[keras]'", None),
        ("swarm up --npeers 4 -- python train.py", "No such option"),
        ("swarm invent", "No such command"),
        ("SWARM_SYNC_INTERVALL=8 swarm config", "no setting"),
        ("swarm up -- python examples/nothing.py", "is not there"),
        ("make coffee", "no target"),
        ("pip install 'swarm-learning[tea]'", "no extra"),
        ("pip install 'swarm-opentelemetry[otlp]'", None),
        ("pip install 'swarm-opentelemetry[torch]'", "no extra"),
        ("brew install swarm", "not checked"),
    ],
)
def test_a_wrong_command_is_noticed(line, problem) -> None:
    found = problem_of(line)
    assert found is None if problem is None else problem in str(found)


def problem_of(line: str) -> str | None:
    """What is wrong with a command that a page shows; None where nothing is."""
    environment = {}
    words = shlex.split(line.partition("|")[0], comments=True)
    while words and (assignment := ASSIGNMENT.fullmatch(words[0])):
        environment[assignment[1]] = assignment[2]
        words.pop(0)
    try:
        resolve(environment=environment, directory=Path(os.devnull).parent)
        return _problem_of_program(*words)
    except Exception as error:  # noqa: BLE001 - whatever the command would complain of
        return str(error)


def _problem_of_program(program: str, *words: str) -> str | None:
    missing = [word for word in words if re.match(r"\.?/?(examples|plugins)/", word) and not (ROOT / word).exists()]
    if missing:
        return f"{missing[0]} is not there"
    match program:
        case "swarm":
            return _problem_of_swarm(list(words))
        case "make":
            unknown = [word for word in words if "=" not in word and word not in TARGETS]
            return f"no target {unknown[0]}" if unknown else None
        case "pip":
            asked = [found.groups() for word in words if (found := re.search(r"([\w-]+)\[(.*)\]", word))]
            extras = {(name, extra) for name, group in asked for extra in group.split(",")}
            unknown = sorted(extra for name, extra in extras if extra not in EXTRAS.get(name, ()))
            return f"no extra {unknown[0]}" if unknown else None
        case "python" | "pytest" | ".venv/bin/pytest":
            return None
        case _:
            return None if program in ELSEWHERE else f"{program} is not checked"


def _problem_of_swarm(words: list[str]) -> str | None:
    group = typer.main.get_command(app)
    if set(words) & {"--help", "-h", "--version"}:
        return None
    context = group.make_context("swarm", words)
    name, command, rest = group.resolve_command(context, [*context._protected_args, *context.args])
    command.make_context(name, rest, parent=context)
    return None
