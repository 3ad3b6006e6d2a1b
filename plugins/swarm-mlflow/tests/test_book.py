"""What is in a real store of MLflow after a session."""

from __future__ import annotations

import numpy as np
import pytest
from mlflow.entities import ViewType
from mlflow.models import Model
from safetensors.numpy import load_file, save_file

import swarm_mlflow
from swarm.records import Best, Outcome, RoundFailed, RoundReport
from swarm_mlflow import models
from swarm_mlflow.book import PATIENCE, Book

from .happened import closed, finished, joined, started

NESTED = "mlflow.parentRunId"


@pytest.fixture
def book(client, experiment):
    """The book of one site of a session that has just begun."""

    def begin(peer="berlin", *, keep=False, **about):
        return Book(client, experiment, started(peer, **about), 1000, keep=keep)

    return begin


@pytest.fixture
def runs(client, experiment):
    """By name, the runs that there are."""

    def found():
        number = client.get_experiment_by_name(experiment).experiment_id
        return {run.info.run_name: run for run in client.search_runs([number], run_view_type=ViewType.ALL)}

    return found


def test_the_runs_of_the_sites_are_nested_in_one_of_the_session(book, runs):
    rome, berlin = book("rome"), book("berlin")
    rome.finished(finished(1), 2000)
    berlin.finished(finished(1), 2000)
    rome.finished(finished(2), 3000)
    found = runs()
    assert set(found) == {"heart", "rome", "berlin"}
    session = found["heart"].info.run_id
    assert found["rome"].data.tags[NESTED] == found["berlin"].data.tags[NESTED] == session
    assert NESTED not in found["heart"].data.tags

    rome.closed(closed(), 4000)
    assert (runs()["rome"].info.status, runs()["heart"].info.status) == ("FINISHED", "RUNNING")
    berlin.closed(closed(), 5000)
    assert (runs()["heart"].info.status, runs()["heart"].info.end_time) == ("FINISHED", 5000)


def test_a_site_with_a_store_of_its_own_makes_the_run_of_the_session(book, runs):
    rome = book("rome")
    for number in range(1, PATIENCE + 1):
        rome.finished(finished(number), 2000)
        assert "heart" not in runs(), "the first of the group may be late"
    rome.finished(finished(PATIENCE + 1), 2000)
    assert runs()["rome"].data.tags[NESTED] == runs()["heart"].info.run_id


def test_a_short_training_has_it_at_the_end(book, runs):
    rome = book("rome")
    rome.finished(finished(1), 2000)
    rome.closed(closed(lineage="ab12"), 3000)
    assert runs()["rome"].data.tags[NESTED] == runs()["heart"].info.run_id
    assert runs()["heart"].info.status == "FINISHED"


def test_another_training_of_the_same_name_has_another_run(book, runs, client):
    for lineage in ("ab12", "cd34"):
        berlin = book("berlin")
        berlin.finished(finished(1, lineage=lineage), 2000)
        berlin.closed(closed(), 3000)
    number = runs()["berlin"].info.experiment_id
    sessions = client.search_runs([number], "tags.`swarm.part` = 'session'")
    assert {run.data.tags["swarm.lineage"] for run in sessions} == {"ab12", "cd34"}


def test_figures_of_a_round_have_its_number_as_step(book, runs, client):
    berlin = book(round=4, loss=0.9, metrics={"accuracy": 0.5})
    berlin.finished(finished(5, loss=0.5, own_loss=0.75, metrics={"accuracy": 0.75}, bytes_sent=9, waited=1.5), 2000)
    berlin.finished(finished(6, loss=0.25, steps={"berlin": 8, "rome": 4}, refused={"rome": "too far"}), 3000)
    run = runs()["berlin"]
    history = client.get_metric_history(run.info.run_id, "swarm/val_loss")
    assert [(each.step, each.value, each.timestamp) for each in history] == [
        (4, 0.9, 1000),
        (5, 0.5, 2000),
        (6, 0.25, 3000),
    ]
    last = run.data.metrics
    assert (last["swarm/own_val_loss"], last["swarm/accuracy"], last["swarm/bytes_sent"]) == (0.75, 0.75, 0)
    assert (last["swarm/peers"], last["swarm/refused"], last["swarm/batches"]) == (2, 1, 8)


def test_what_did_not_become_a_round_is_counted(book, runs):
    berlin = book()
    skipped = RoundReport(outcome=Outcome.SKIPPED, round=2)
    berlin.failed(RoundFailed(session="heart", round=2, reason="late"), 2000)
    berlin.failed(RoundFailed(session="heart", round=2, reason="no quorum", report=skipped), 3000)
    assert runs()["berlin"].data.metrics["swarm/failures"] == 2


def test_settings_that_all_agree_on_are_parameters(book, runs):
    berlin = book()
    berlin.joined(joined(("merge_method", "mean"), ("sync_interval", "8")))
    berlin.joined(joined(("merge_method", "other"), ("codec", "exact")))
    assert runs()["berlin"].data.params == {
        "session": "heart",
        "site": "berlin",
        "first_round": "0",
        "merge_method": "mean",
        "sync_interval": "8",
        "codec": "exact",
    }


@pytest.fixture
def no_signature(monkeypatch):
    monkeypatch.setattr(models, "_signatures", [])


def logged(client, run, name, tmp_path):
    return Model.load(client.download_artifacts(run.info.run_id, f"{name}/MLmodel", str(tmp_path)))


def test_closing_and_best_model_are_models_of_mlflow(book, runs, client, tmp_path, no_signature):
    for name in ("final", "best"):
        save_file({"w": np.full(3, len(name), np.float32)}, tmp_path / f"{name}.safetensors")
    swarm_mlflow.signature(np.zeros((2, 4), np.float32), np.zeros((2, 3), np.float32))
    best = Best(round=1, digest="d0", score=0.25)
    files = {"result": tmp_path / "final.safetensors", "best": best, "best_file": tmp_path / "best.safetensors"}
    book(keep=True).closed(closed(round=2, **files), 3000)
    run = runs()["berlin"]
    for name, value, about in (
        ("closing", 5.0, {"round": 2, "digest": "d1", "closing": True}),
        ("best", 4.0, {"round": 1, "digest": "d0", "score": 0.25}),
    ):
        model = logged(client, run, name, tmp_path / f"of-{name}")
        assert model.flavors["swarm"].items() >= about.items()
        assert model.signature.inputs.inputs[0].shape == (-1, 4)
        assert model.signature.outputs.inputs[0].shape == (-1, 3)
        assert model.run_id == run.info.run_id
        weights = client.download_artifacts(run.info.run_id, f"{name}/model.safetensors", str(tmp_path / f"of-{name}"))
        assert load_file(weights)["w"].tolist() == [value] * 3


def test_without_a_signature_a_model_is_logged_without_one(book, runs, client, tmp_path, no_signature):
    save_file({"w": np.zeros(3, np.float32)}, tmp_path / "own.safetensors")
    book(keep=True).closed(closed(closing=False, reason="stopped", result=tmp_path / "own.safetensors"), 3000)
    run = runs()["berlin"]
    assert logged(client, run, "last", tmp_path / "of-last").signature is None
    assert (run.info.status, run.data.tags["swarm.reason"]) == ("FAILED", "stopped")


def test_models_are_left_out_if_so_chosen(book, runs, client, tmp_path):
    save_file({"w": np.zeros(3, np.float32)}, tmp_path / "final.safetensors")
    book(keep=False).closed(closed(result=tmp_path / "final.safetensors"), 3000)
    assert not client.list_artifacts(runs()["berlin"].info.run_id)
