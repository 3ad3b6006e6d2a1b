"""A site that stops and resumes ends as if nothing had stopped it."""

from __future__ import annotations

import re
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from sklearn.base import clone, is_classifier
from sklearn.cluster import MiniBatchKMeans
from sklearn.linear_model import Perceptron, SGDClassifier, SGDOneClassSVM, SGDRegressor
from sklearn.neural_network import MLPClassifier, MLPRegressor

from swarm import SwarmCallback
from swarm_sklearn import SwarmTrainer, initialise
from swarm_sklearn.estimators import family_of

PAGE = Path(__file__).parents[3] / "docs" / "resume.md"
EPOCHS, BATCHES = 4, 10
PROBE = 2
"""Rows of which a copy of the estimator learns, which makes its attributes; batches have more."""


class PowerCutError(Exception):
    pass


@pytest.fixture
def site(tmp_path):
    return {
        "rendezvous": tmp_path / "rendezvous", "min_peers": 1, "world_size": 1, "name": "ada", "model_dir": tmp_path,
        "checkpoint_seconds": 0, "failure_timeout": 1.0, "sync_interval": 2,
    }  # fmt: skip


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(80, 3))
    return x, x @ np.array([1.0, 2.0, 3.0])


ESTIMATORS = {
    "invscaling": SGDRegressor(random_state=0),
    "optimal": SGDClassifier(random_state=0),
    "perceptron": Perceptron(random_state=0),
    "one class": SGDOneClassSVM(random_state=0),
    "adam": MLPClassifier((4,), random_state=0),
    "velocities": MLPRegressor(hidden_layer_sizes=(4,), solver="sgd", learning_rate="invscaling", random_state=0),
    "adaptive": MLPRegressor(
        hidden_layer_sizes=(4,), solver="sgd", learning_rate="adaptive", n_iter_no_change=1, tol=1.0, random_state=0
    ),
    "clusters": MiniBatchKMeans(2, init=np.eye(2, 3), n_init=1, reassignment_ratio=0, random_state=0),
}


def train(estimator, data, site, *, resume=False, stop_after=None):
    """With ``SwarmTrainer``; the estimator learns ``stop_after`` batches."""

    learnt = 0

    class Stopped(type(estimator)):
        def partial_fit(self, *arrays, **more):
            nonlocal learnt
            if len(arrays[0]) > PROBE:
                learnt += 1
                if learnt - 1 == stop_after:
                    raise PowerCutError
            return super().partial_fit(*arrays, **more)

    stopped = Stopped(**estimator.get_params())
    x, y = data
    y = (y > 0).astype(int) if is_classifier(estimator) else y
    trainer = SwarmTrainer(stopped, resume=resume, **site)
    return trainer.fit(x, y, epochs=EPOCHS, batch_size=len(x) // BATCHES)


@pytest.mark.parametrize("kind", ESTIMATORS)
def test_a_resumed_fit_ends_as_if_nothing_had_stopped_it(data, site, tmp_path, kind) -> None:
    estimator = ESTIMATORS[kind]
    whole = train(clone(estimator), data, site | {"model_dir": tmp_path / "whole"})
    with pytest.raises(PowerCutError):
        train(clone(estimator), data, site, stop_after=27)  # the checkpoint is after 26 batches, in the third epoch
    again = train(clone(estimator), data, site, resume=True)
    one, other = (family_of(each) for each in (again, whole))
    for here, there in zip(one.tensors(), other.tensors(), strict=True):
        np.testing.assert_array_equal(here.values, there.values, err_msg=here.name)
    assert plain(one.own_state()) == plain(other.own_state())


def plain(state):
    """Arrays as lists, which can be compared."""
    if isinstance(state, dict):
        return {key: plain(value) for key, value in state.items()}
    if isinstance(state, list):
        return [plain(value) for value in state]
    return state.tolist() if isinstance(state, np.ndarray) else state


def test_a_loop_of_ones_own_gets_its_schedule_back(data, site) -> None:
    x, y = data

    def run(*, resume, stop_after=None):
        model = SGDRegressor(random_state=0)
        initialise(model, x, y)
        swarm = SwarmCallback(model=model, resume=resume, **site)
        swarm.on_train_begin()
        began, skip = model.t_, swarm.resumed.epoch_batches
        done = swarm.resumed.batches
        for _ in swarm.epochs(EPOCHS):
            for rows in islice(np.array_split(np.arange(80), BATCHES), skip, None):
                if done == stop_after:
                    swarm.abort("power cut")
                    return began, model.t_
                model.partial_fit(x[rows], y[rows])
                swarm.on_batch_end()
                done += 1
            skip = 0
        swarm.on_train_end()
        return began, model.t_

    assert run(resume=False, stop_after=26) == (1.0, 1.0 + 26 * 8)
    assert run(resume=True) == (1.0 + 26 * 8, 1.0 + EPOCHS * 80)


def test_another_solver_begins_anew_with_a_warning(data, site, caplog) -> None:
    with pytest.raises(PowerCutError):
        train(ESTIMATORS["velocities"], data, site, stop_after=4)
    before = "solver was 'sgd' when the checkpoint was written, and is 'adam' now"
    train(clone(ESTIMATORS["velocities"]).set_params(solver="adam"), data, site, resume=True)
    assert before in caplog.text


def test_the_recipes_end_as_if_nothing_had_stopped_them(site, tmp_path, monkeypatch) -> None:
    """Those of docs/resume.md."""
    section = re.search(r"^## scikit-learn\n(.*?)^## ", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    blocks = re.findall(r"^```python\n(.*?)^```", section[1], re.MULTILINE | re.DOTALL)
    assert len(blocks) == 2
    partial_fit, learnt = SGDRegressor.partial_fit, []

    def counted(self, x, y):
        if len(x) > PROBE:
            if len(learnt) == stop:
                raise PowerCutError
            learnt.append(x.tolist())
        return partial_fit(self, x, y)

    monkeypatch.setattr(SGDRegressor, "partial_fit", counted)
    for name, value in site.items():
        monkeypatch.setenv(f"SWARM_{name.upper()}", str(value))
    monkeypatch.setenv("SWARM_RESUME", "true")
    models = {}
    for place, stops in (("whole", [None]), ("stopped", [13, None])):
        monkeypatch.setenv("SWARM_MODEL_DIR", str(tmp_path / place))
        models[place] = []
        names = {}
        for block in blocks:
            for stop in stops:  # noqa: B007 - counted() reads it
                learnt.clear()
                try:
                    exec(block, names)
                except PowerCutError:
                    names.get("callback", names["trainer"].callback).abort()
            models[place].append((names["estimator"].coef_.tolist(), names["estimator"].t_, learnt[-1]))
    assert models["stopped"] == models["whole"]
    assert models["whole"][0][1] == 1.0 + 3 * 64
