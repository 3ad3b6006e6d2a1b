from __future__ import annotations

import logging
import subprocess
import sys
import threading
from importlib.metadata import entry_points

import pytest

from swarm.errors import ConfigurationError
from swarm_mlflow import _plugin
from swarm_mlflow.desk import Desk
from swarm_mlflow.settings import Settings

from .happened import closed, finished, joined, started

STORE = {"MLFLOW_TRACKING_URI": "sqlite:////store/mlflow.db"}


@pytest.fixture
def plugin(monkeypatch):
    for name in ("_desks", "_books", "_met"):
        monkeypatch.setattr(_plugin, name, type(getattr(_plugin, name))())
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return _plugin


def test_events_become_a_run(plugin, monkeypatch, store, client, experiment):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    monkeypatch.setenv("SWARM_MLFLOW_EXPERIMENT", experiment)
    plugin.swarm_peer_joined(joined(("codec", "int8")))
    plugin.swarm_session_started(started())
    plugin.swarm_round_finished(finished(1, loss=0.5))
    plugin.swarm_session_closed(closed())
    number = client.get_experiment_by_name(experiment).experiment_id
    found = {run.info.run_name: run for run in client.search_runs([number])}
    assert set(found) == {"heart", "berlin"}
    assert found["berlin"].data.params["codec"] == "int8", "met before the session started here"
    assert found["berlin"].data.metrics["swarm/val_loss"] == 0.5
    assert found["berlin"].info.status == found["heart"].info.status == "FINISHED"


def test_a_store_that_answers_after_the_wait_still_gets_everything(
    plugin, monkeypatch, store, client, experiment, caplog
):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    monkeypatch.setenv("SWARM_MLFLOW_EXPERIMENT", experiment)
    monkeypatch.setenv("SWARM_MLFLOW_WAIT", "0.01")
    answers = threading.Event()
    plugin._desk().put(answers.wait)
    plugin.swarm_session_started(started())
    plugin.swarm_round_finished(finished(1, loss=0.5))
    plugin.swarm_session_closed(closed())
    assert "not everything is in MLflow" in caplog.text
    answers.set()
    assert plugin._desk().drain(60)
    number = client.get_experiment_by_name(experiment).experiment_id
    (run,) = client.search_runs([number], "attributes.run_name = 'berlin'")
    assert (run.info.status, run.data.metrics["swarm/val_loss"]) == ("FINISHED", 0.5)
    assert not plugin._books


def test_without_a_store_nothing_happens(plugin):
    plugin.swarm_session_started(started())
    plugin.swarm_round_finished(finished())
    plugin.swarm_session_closed(closed())
    assert not plugin._desks


def test_a_store_that_fails_harms_nothing_and_is_named_once(plugin, monkeypatch, tmp_path, caplog):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "store").as_uri())
    monkeypatch.delenv("MLFLOW_ALLOW_FILE_STORE", raising=False)  # MLflow then refuses a store in a directory
    with caplog.at_level(logging.WARNING, "swarm.mlflow"):
        plugin.swarm_session_started(started())
        plugin.swarm_round_finished(finished())
        plugin.swarm_session_closed(closed())
    assert [record.message.partition(":")[0] for record in caplog.records] == [
        "MLflow did not take an event, and it is lost"
    ]


def test_the_end_waits_no_longer_than_set():
    desk, hold = Desk(), threading.Event()
    desk.put(hold.wait)
    assert not desk.drain(0.01)
    hold.set()
    assert desk.drain(60)


def test_work_is_done_in_order_and_an_error_does_not_end_it(caplog):
    desk, done = Desk(), []
    for work in (lambda: done.append(1), lambda: 1 / 0, lambda: 1 / 0, lambda: done.append(2), lambda: 1 / 0):
        desk.put(work)
    with caplog.at_level(logging.WARNING, "swarm.mlflow"):
        assert desk.drain(60)
    assert done == [1, 2]
    assert len(caplog.records) == 2, "once for each time that it begins to fail"


def test_variables_are_read():
    assert Settings.of({}) is None
    assert Settings.of(STORE) == Settings(STORE["MLFLOW_TRACKING_URI"])
    own = {"SWARM_MLFLOW_EXPERIMENT": "hearts", "SWARM_MLFLOW_MODELS": "false", "SWARM_MLFLOW_WAIT": "5"}
    assert Settings.of(STORE | own) == Settings(STORE["MLFLOW_TRACKING_URI"], "hearts", models=False, wait=5.0)
    assert Settings.of(STORE | {"MLFLOW_EXPERIMENT_NAME": "theirs"}).experiment == "theirs"


@pytest.mark.parametrize(
    ("name", "value"),
    [("SWARM_MLFLOW_MODEL", "true"), ("SWARM_MLFLOW_MODELS", "some"), ("SWARM_MLFLOW_WAIT", "nan")],
)
def test_a_bad_variable_is_refused_by_name(name, value):
    with pytest.raises(ConfigurationError, match=name):
        Settings.of(STORE | {name: value})


def test_a_password_of_the_store_is_in_no_text():
    assert "SECRET" not in repr(Settings("https://user:SECRET@mlflow.example"))


def test_the_entry_point_names_the_hooks():
    (entry,) = entry_points(group="swarm", name="mlflow")
    assert entry.load() is _plugin


def test_finding_the_plugin_loads_no_mlflow():
    program = "import sys, swarm_mlflow._plugin; sys.exit('mlflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False, timeout=100).returncode == 0
