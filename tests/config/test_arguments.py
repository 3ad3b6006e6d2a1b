from __future__ import annotations

import logging
import os
import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_type_hints

import pytest

import swarm
from swarm.config import SETTINGS, Settings
from swarm.config.arguments import OBJECTS, Arguments, CallbackArguments, parse_arguments
from swarm.errors import ConfigurationError, UnknownArgumentError
from swarm.proxy import Proxy


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("sync_intervall", "sync_interval"),
        ("syncFreqency", "sync_interval"),
        ("MIN_PEERS", "min_peers"),
        ("val_dta", "val_data"),
        ("membersip", "discovery"),
    ],
)
def test_an_unknown_keyword_names_the_nearest(name: str, nearest: str) -> None:
    with pytest.raises(UnknownArgumentError, match=f"no argument '{name}': did you mean '{nearest}'") as caught:
        parse_arguments({name: 1})
    assert isinstance(caught.value, TypeError)
    assert isinstance(caught.value, ValueError)


def test_an_unknown_keyword_names_those_that_have_one_of_its_words() -> None:
    with pytest.raises(UnknownArgumentError, match="'loss': did you mean 'loss_function' or 'loss_function_args'"):
        parse_arguments({"loss": 1})


def test_an_unknown_keyword_that_resembles_none_is_answered_with_all() -> None:
    with pytest.raises(UnknownArgumentError, match="'zzz'; known are advertise, .*world_size"):
        parse_arguments({"zzz": 1})


def test_every_argument_is_declared_for_type_checkers_with_the_type_of_its_setting() -> None:
    """A list may be any sequence or text, a path may be text, and everything may be left to the other sources."""
    given = {
        tuple[str, ...]: tuple[str, ...] | list[str] | str | None,
        Path | None: str | os.PathLike[str] | None,
        Proxy | None: str | Proxy | None,
    }
    settings, objects = get_type_hints(Settings), get_type_hints(CallbackArguments)
    settings |= {"agree": Mapping[str, Any]}
    expected = {name: given.get(settings[name], settings[name] | None) for name in SETTINGS} | {
        name: objects[name] for name in OBJECTS
    }
    del expected["data_dir"]
    expected["samples"] = Any
    assert get_type_hints(Arguments) == expected
    assert not Arguments.__required_keys__


def test_help_describes_every_argument_and_the_signature_gives_its_default() -> None:
    described = swarm.SwarmCallback.__doc__.partition("Args:")[2]
    parameters = swarm.SwarmCallback.__signature__.parameters
    assert re.findall(r"^ {4}(\w+): ", described, re.MULTILINE) == list(parameters) == list(Arguments.__annotations__)
    assert {name: each.default for name, each in parameters.items() if name in SETTINGS} == {
        name: SETTINGS[name].default for name in parameters if name in SETTINGS
    }
    assert "min_peers: least number of peers, this one included, that a round needs. Default: majority" in described
    sections = re.split(r"^ {4}(?=\w)", described, flags=re.MULTILINE)[1:]
    agreed = {
        text.partition(":")[0] for text in sections if "Must be the same on every peer." in " ".join(text.split())
    }
    assert agreed == {name for name, row in SETTINGS.items() if row.agree == "yes"}
    assert "](" not in described
    assert max(map(len, described.splitlines())) <= 120


def test_the_directory_of_the_data_is_refused_and_where_to_give_it_is_said() -> None:
    with pytest.raises(UnknownArgumentError, match="data_dir is no argument .* DATA_DIR.*`swarm run --data-dir`"):
        parse_arguments({"data_dir": "data"})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"sync_policy": "validation"}, "sync_policy='validation' .* give val_data"),
        ({"loss_function_args": {}}, "loss_function given as a class or its name"),
        ({"metric_function": "Accuracy", "metric_function_args": 3}, "metric_function_args=3 is not allowed"),
        ({"logger": "swarm"}, "logger='swarm' is not allowed: allowed is a logging.Logger"),
    ],
)
def test_contradicting_objects_are_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        parse_arguments(arguments)


def test_arguments_need_no_swarm_and_travel_to_spawned_processes() -> None:
    arguments = parse_arguments({"sync_interval": 3, "val_data": ([1], [2]), "logger": logging.getLogger("ward")})
    assert pickle.loads(pickle.dumps(arguments)) == arguments
    with pytest.raises(ConfigurationError, match="no swarm is configured"):
        arguments.settings.require_swarm()


@pytest.mark.parametrize(("given", "expected"), [(None, "KERAS"), ("tf", "TF")])
def test_a_callbacks_own_platform_beats_the_environment(
    monkeypatch: pytest.MonkeyPatch, given: str | None, expected: str
) -> None:
    monkeypatch.setenv("SWARM_ML_PLATFORM", "PYTORCH")
    assert parse_arguments({"ml_platform": given}, platforms=("KERAS", "TF")).settings.ml_platform == expected


def test_a_platform_that_the_callback_does_not_serve_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="ml_platform='PYTORCH' is not served .*: allowed is KERAS or TF"):
        parse_arguments({"ml_platform": "pytorch"}, platforms=("KERAS", "TF"))


def test_the_environment_is_read_when_the_callback_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWARM_SYNC_INTERVAL", "5")
    arguments = parse_arguments({})
    monkeypatch.setenv("SWARM_SYNC_INTERVAL", "6")
    assert arguments.settings.sync_interval == 5
