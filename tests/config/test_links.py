"""Variables that Kubernetes and Docker set for a service called swarm."""

from __future__ import annotations

import logging
import os
import subprocess
import sys

import pytest

from swarm.config import is_link, resolve
from swarm.errors import ConfigurationError

KUBERNETES = {
    "SWARM_SERVICE_HOST": "10.0.0.1",
    "SWARM_SERVICE_PORT": "80",
    "SWARM_SERVICE_PORT_HTTP": "80",
    "SWARM_PORT": "tcp://10.0.0.1:80",
    "SWARM_PORT_80_TCP": "tcp://10.0.0.1:80",
    "SWARM_PORT_80_TCP_PROTO": "tcp",
    "SWARM_PORT_80_TCP_PORT": "80",
    "SWARM_PORT_80_TCP_ADDR": "10.0.0.1",
}
ANOTHER_NAME = {
    "SWARM_FOO_SERVICE_HOST": "fd00::1",
    "SWARM_FOO_SERVICE_PORT_MY_GRPC": "7700",
    "SWARM_FOO_PORT": "udp://[fd00::1]:53",
    "SWARM_FOO_PORT_53_UDP": "udp://[fd00::1]:53",
    "SWARM_FOO_PORT_443_SCTP_ADDR": "fd00::1",
}
DOCKER = {
    "SWARM_NAME": "/web/swarm",
    "SWARM_PORT_8080_TCP_START": "tcp://172.17.0.5:8080",
    "SWARM_PORT_8080_TCP_PORT_END": "8081",
    "SWARM_ENV_PASSWORD": "secret\nof two lines",
}
LIKE_SETTINGS = {
    "SWARM_DATA_PORT": "tcp://10.0.0.1:80",
    "SWARM_MODEL_NAME": "/web/swarm_model",
    "SWARM_LANE_SERVICE_HOST": "10.0.0.1",
}


@pytest.fixture
def place(tmp_path):
    return tmp_path


@pytest.mark.parametrize("links", [KUBERNETES, ANOTHER_NAME, DOCKER, LIKE_SETTINGS])
def test_the_variables_of_service_links_are_ignored(place, links) -> None:
    found = resolve(environment=links | {"SWARM_SYNC_INTERVAL": "3"}, directory=place)
    assert found.settings.sync_interval == 3
    assert {name for name, origin in found.origins.items() if origin != "default"} == {"sync_interval"}


def test_they_are_named_in_one_line_and_once(place, caplog) -> None:
    caplog.set_level(logging.INFO, "swarm")
    environment = {f"SWARM_ONCE{variable.removeprefix('SWARM')}": text for variable, text in KUBERNETES.items()}
    for _ in range(2):
        resolve(environment=environment, directory=place)
    (record,) = caplog.records
    assert record.levelname == "INFO"
    assert record.getMessage().startswith("ignored SWARM_ONCE_PORT, SWARM_ONCE_PORT_80_TCP, ")
    assert "and 5 more: Kubernetes or Docker sets them" in record.getMessage()


def test_the_line_is_shown_where_the_launcher_asks_for_the_log(place) -> None:
    found = subprocess.run(
        [sys.executable, "-c", "from swarm.config import resolve; resolve()"],
        cwd=place,
        env={"PYTHONPATH": os.environ.get("PYTHONPATH", ""), "SWARM_LOG": "info", **KUBERNETES},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "INFO swarm: ignored SWARM_PORT, " in found.stderr


def test_a_few_are_all_named(place, caplog) -> None:
    caplog.set_level(logging.INFO, "swarm")
    resolve(environment={f"SWARM_FEW{number}_SERVICE_HOST": "10.0.0.1" for number in range(3)}, directory=place)
    (record,) = caplog.records
    named = "SWARM_FEW0_SERVICE_HOST, SWARM_FEW1_SERVICE_HOST, SWARM_FEW2_SERVICE_HOST"
    assert record.getMessage().startswith(f"ignored {named}: Kubernetes or Docker")


@pytest.mark.parametrize(
    ("variable", "text", "message"),
    [
        ("SWARM_SYNC_INTERVALL", "3", "did you mean 'SWARM_SYNC_INTERVAL'"),
        ("SWARM_DATAS_PORT", "7000", "did you mean 'SWARM_DATA_PORT'"),
        ("SWARM_PORT", "7000", "there is no setting for the variable SWARM_PORT"),
        ("SWARM_MODELL_NAME", "heart", "did you mean 'SWARM_MODEL_NAME'"),
        ("SWARM_LISTEN_HOST", "10.0.0.1", "there is no setting for the variable SWARM_LISTEN_HOST"),
        ("SWARM_DATA_PORT", "7000x", "data_port='7000x'"),
        ("SWARM_NAME", "web/swarm", "name='web/swarm'"),
    ],
)
def test_what_only_resembles_a_link_is_still_an_error(place, variable, text, message) -> None:
    with pytest.raises(ConfigurationError, match=message):
        resolve(environment={variable: text}, directory=place)


def test_an_empty_variable_of_a_setting_is_no_link(place, caplog) -> None:
    caplog.set_level(logging.INFO, "swarm")
    assert resolve(environment={"SWARM_DATA_PORT": ""}, directory=place).settings.data_port == 0
    assert caplog.records == []
    assert is_link("SWARM_ANY_PORT", "", setting=False)


def test_settings_of_these_names_keep_their_meaning(place) -> None:
    settings = resolve(environment={"SWARM_NAME": "web", "SWARM_DATA_PORT": "7000"}, directory=place).settings
    assert (settings.name, settings.data_port) == ("web", 7000)
