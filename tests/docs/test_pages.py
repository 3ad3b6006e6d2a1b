"""Tables that say what the code says."""

from __future__ import annotations

import tomllib
from pathlib import Path
from pkgutil import resolve_name

import pytest

import swarm
from swarm import _plugin
from swarm.config import SETTINGS, Settings
from swarm.config.arguments import OBJECTS
from swarm.config.hpe import SPELLINGS
from swarm.config.settings import DEFAULTS
from swarm.plugins.hookspecs import Register

ROOT = Path(__file__).parents[2]
PARAMETERS = ("parameter", "default", "variable", "agree", "meaning")
COMPUTED = {
    "min_peers": "majority of world_size or members, else 2; 1 with loopback",
    "name": "peer-<rank>, else the host's name",
}
"""Defaults that depend on other settings."""


def shown(value: object) -> str:
    """A default as the page writes it."""
    if value is None or value == ():
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else f"{value:g}"


@pytest.fixture
def parameters(doc):
    return {row[0]: row[1:] for row in doc("parameters.md").table(*PARAMETERS)}


def test_every_setting_is_described_in_its_order(parameters) -> None:
    assert tuple(parameters) == SETTINGS


@pytest.mark.parametrize("name", SETTINGS)
def test_a_setting_has_its_default_and_its_variable(parameters, name) -> None:
    default, variable, _, meaning = parameters[name]
    assert default == COMPUTED.get(name, shown(DEFAULTS[name]))
    assert variable == f"SWARM_{name.upper()}"
    assert meaning


def test_settings_that_must_agree_are_marked(parameters) -> None:
    marked = {name for name, (_, _, agree, _) in parameters.items() if agree == "yes"}
    assert marked == {name for name, _ in Settings().agreed()}


def test_the_objects_of_the_script_are_described(doc) -> None:
    assert {name for name, _ in doc("parameters.md").table("argument", "meaning")} == set(OBJECTS)


def test_every_argument_of_the_callback_is_described(doc, parameters) -> None:
    described = {*parameters, *(name for name, _ in doc("parameters.md").table("argument", "meaning"))}
    assert described == set(swarm.SwarmCallback.__signature__.parameters)


def test_the_spellings_of_hpe_are_those_accepted(doc) -> None:
    assert doc("coming-from-hpe.md").table("HPE 1.x and 2.x", "here") == list(SPELLINGS.items())


def test_the_rooms_are_those_that_the_contract_holds_in_its_order(doc) -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (layers,) = [contract["layers"] for contract in contracts if contract["type"] == "layers"]
    held = [room.strip() for layer in layers for room in layer.replace("|", ":").split(":")]
    assert [room for room, _ in doc("architecture.md").table("room", "does")] == held


def test_what_a_plugin_can_register_is_described(doc) -> None:
    described = {method.split("(")[0] for method, _, _ in doc("hooks.md").table("method", "adds", "chosen by")}
    methods = {f"register.{name}" for name in vars(Register) if not name.startswith("_")}
    assert described == methods


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
