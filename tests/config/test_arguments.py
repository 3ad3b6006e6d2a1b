from __future__ import annotations

import logging
import pickle
import re

import pytest

import swarm
from swarm.callback import Arguments, parse_arguments
from swarm.config import SETTINGS
from swarm.config.arguments import OBJECTS
from swarm.errors import ConfigurationError, UnknownArgumentError


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("sync_intervall", "sync_interval"),
        ("syncFreqency", "sync_interval"),
        ("MIN_PEERS", "min_peers"),
        ("val_dta", "val_data"),
    ],
)
def test_an_unknown_keyword_names_the_nearest(name: str, nearest: str) -> None:
    with pytest.raises(UnknownArgumentError, match=f"no argument '{name}': did you mean '{nearest}'") as caught:
        parse_arguments({name: 1})
    assert isinstance(caught.value, TypeError)
    assert isinstance(caught.value, ValueError)


def test_every_argument_is_declared_and_documented() -> None:
    declared = list(Arguments.__annotations__)
    assert set(declared) == {*SETTINGS, *OBJECTS}
    described = swarm.SwarmCallback.__doc__.partition("Args:")[2].partition("Raises:")[0]
    assert re.findall(r"^\s{8}(\w+): ", described, re.MULTILINE) == declared


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"use_adaptive_sync": True}, "use_adaptive_sync=True .* give val_data"),
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


def test_the_environment_is_read_when_the_callback_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWARM_SYNC_INTERVAL", "5")
    arguments = parse_arguments({})
    monkeypatch.setenv("SWARM_SYNC_INTERVAL", "6")
    assert arguments.settings.sync_interval == 5
