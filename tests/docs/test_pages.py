"""Tables that say what the code says."""

from __future__ import annotations

import re
import tomllib
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from pkgutil import resolve_name
from types import ModuleType

import pytest

import swarm
from swarm import _plugin
from swarm.config import SETTINGS, former
from swarm.config.arguments import OBJECTS
from swarm.plugins.hookspecs import Register
from swarm.versions import PROTOCOLS

ROOT = Path(__file__).parents[2]
PARAMETERS = ("parameter", "default", "variable", "agree", "meaning")


@pytest.fixture(scope="module")
def tables() -> ModuleType:
    """The script that writes the tables of the page."""
    spec = spec_from_file_location("tables", Path(__file__).with_name("tables.py"))
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def parameters(doc):
    return {row[0]: row[1:] for row in doc("parameters.md").table(*PARAMETERS)}


def test_every_setting_is_described_in_its_order(parameters) -> None:
    assert tuple(parameters) == tuple(SETTINGS)


def test_the_rows_are_those_of_the_table_of_settings(tables) -> None:
    page = tables.PAGE.read_text(encoding="utf-8")
    assert page == tables.written(page), "run: python tests/docs/tables.py"


def test_a_changed_row_is_written_again_and_nothing_else(tables) -> None:
    page = tables.PAGE.read_text(encoding="utf-8")
    changed = page.replace("| `rank` | none |", "| `rank` | 7 |").replace("`logging.Logger`", "logger")
    assert changed != page
    assert tables.written(changed) == page


def test_settings_that_must_agree_are_marked(parameters) -> None:
    marked = {name for name, (_, _, agree, _) in parameters.items() if agree == "yes"}
    assert marked == {name for name, row in SETTINGS.items() if row.agree == "yes"}


def test_the_objects_of_the_script_are_described(doc) -> None:
    assert {name for name, _ in doc("parameters.md").table("argument", "meaning")} == set(OBJECTS)


def test_every_argument_of_the_callback_is_described(doc, parameters) -> None:
    described = {*parameters, *(name for name, _ in doc("parameters.md").table("argument", "meaning"))}
    launchers = {name for name, row in SETTINGS.items() if row.no_argument}
    assert described - launchers == set(swarm.SwarmCallback.__signature__.parameters)


def test_the_spellings_of_hpe_are_those_accepted(doc) -> None:
    assert doc("coming-from-hpe.md").table("HPE 1.x and 2.x", "here") == list(former.HPE.items())


def test_the_former_names_are_those_accepted(doc) -> None:
    assert doc("parameters.md").table("before", "now") == list(former.SETTINGS.items())


def test_the_rooms_are_those_that_the_contract_holds_in_its_order(doc) -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (layers,) = [contract["layers"] for contract in contracts if contract["type"] == "layers"]
    held = [room.strip() for layer in layers for room in layer.replace("|", ":").split(":")]
    assert [room for room, _ in doc("architecture.md").table("room", "does")] == held


def test_the_modules_of_the_consensus_are_in_its_table() -> None:
    room = ROOT / "swarm" / "consensus"
    named = re.findall(r"``(\w+)``", swarm.consensus.__doc__ or "")
    assert sorted(named) == sorted(path.stem for path in room.glob("*.py") if path.stem != "__init__")


def test_the_files_that_a_change_touches_are_there(doc) -> None:
    rows = doc("architecture.md").table("change", "where")
    named = {name for _, cell in rows for name in re.findall(r"[\w/]+(?:\.py|\.proto|/)(?!\w)", cell)}
    assert len(named) > 20
    assert not {name for name in named if not ((ROOT / "swarm" / name).exists() or (ROOT / name).exists())}


def test_settings_that_the_callbacks_of_a_process_share_are_named(doc) -> None:
    text = " ".join((ROOT / "docs" / "parameters.md").read_text().split())
    (sentence,) = re.findall(r"So ([^.]*) must be the same for all callbacks of a process", text)
    assert set(re.findall(r"`(\w+)`", sentence)) == {name for name, row in SETTINGS.items() if row.of_process}


def test_the_versions_of_the_protocol_are_those_of_the_code(doc) -> None:
    table = doc("versions.md").table("protocol", "releases of Swarm", "understands from", "new in it")
    assert table == [
        (str(number), protocol.releases, str(protocol.understands), protocol.adds)
        for number, protocol in PROTOCOLS.items()
    ]


def test_what_a_plugin_can_register_is_described(doc) -> None:
    described = {method.split("(")[0] for method, _, _ in doc("hooks.md").table("method", "adds", "chosen by")}
    methods = {f"register.{name}" for name, value in vars(Register).items() if callable(value) and name[0] != "_"}
    assert described == methods


def test_the_tests_that_a_page_names_are_there(doc) -> None:
    table = doc("operating.md").table("failure", "what happens", "tests")
    named = [name.strip("`") for _, _, cell in table for name in cell.split(", ")]
    assert len(table) == 10
    assert [name for name in named if not (ROOT / "tests" / name).exists()] == []


def test_the_dependencies_are_those_declared(doc) -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    described = [name for name, _ in doc("decisions/0003-grpc.md").table("distribution", "for")]
    assert described == [requirement.split(">=")[0] for requirement in declared]


def test_the_parts_behind_each_seam_are_those_registered(doc) -> None:
    built_in = Register()
    _plugin.swarm_register(built_in)
    kinds = (built_in.merge_rules, built_in.codecs, built_in.sync_policies, built_in.transports, built_in.discoveries)
    table = doc("architecture.md").table("seam", "built in", "contract")
    assert [set(names.split(", ")) for _, names, _ in table] == [set(kind) for kind in kinds]
    named = [name for seam, _, contract in table for name in (seam, contract)]
    assert all(isinstance(resolve_name(name), type) for name in named)
