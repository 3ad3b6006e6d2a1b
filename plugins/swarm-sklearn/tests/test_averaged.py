from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse
from sklearn import linear_model
from sklearn.linear_model import Perceptron, SGDClassifier, SGDOneClassSVM, SGDRegressor
from sklearn.neural_network import MLPClassifier, MLPRegressor

from swarm.tensors import ModelState
from swarm_sklearn import initialise
from swarm_sklearn.estimators import family_of
from swarm_sklearn.port import SklearnPort

CLASSIFIERS = [
    SGDClassifier(loss="log_loss", random_state=0),
    Perceptron(random_state=0),
    MLPClassifier((5,), random_state=0),
    MLPClassifier((5, 3), solver="sgd", random_state=0),
]
REGRESSORS = [SGDRegressor(random_state=0), MLPRegressor(hidden_layer_sizes=(4,), random_state=0)]
for name, group in {"PassiveAggressiveClassifier": CLASSIFIERS, "PassiveAggressiveRegressor": REGRESSORS}.items():
    if hasattr(linear_model, name):  # deprecated
        group.append(getattr(linear_model, name)(random_state=0))
EVERY = [*CLASSIFIERS, *REGRESSORS, SGDOneClassSVM(nu=0.2, random_state=0)]


def new(estimator):
    return type(estimator)(**estimator.get_params())


def values(estimator):
    return {name: values.copy() for name, values, _ in family_of(estimator).tensors()}


def standardised(part):
    x, y = part
    return (x - 41) / 3, y


@pytest.mark.parametrize("estimator", EVERY, ids=lambda each: type(each).__name__)
def test_sites_of_different_sizes_end_with_one_model(hospitals, two_parts, estimator):
    parts = [standardised(part) for part in two_parts]
    classes = [0, 1, 2] if estimator in CLASSIFIERS else None
    first, second = hospitals.fit([new(estimator) for _ in parts], parts, classes=classes, epochs=2)
    for name, array in values(first).items():
        assert array.tobytes() == values(second)[name].tobytes(), name
        assert array.any(), name
    x, _ = standardised(two_parts[1])
    assert (first.predict(x) == second.predict(x)).all()


@pytest.mark.parametrize("estimator", EVERY, ids=lambda each: type(each).__name__)
def test_the_initial_state_trains_as_scikit_learn_does(patients, estimator):
    x, y = standardised(patients)
    classes = {"classes": [0, 1, 2]} if estimator in CLASSIFIERS else {}
    ours, theirs = new(estimator), new(estimator)
    initialise(ours, x[50:], y[50:], **classes)
    for rows in (slice(0, 30), slice(30, 70), slice(70, 120)):
        ours.partial_fit(x[rows], y[rows])
        theirs.partial_fit(x[rows], y[rows], **classes)
    for name, array in values(theirs).items():
        np.testing.assert_allclose(values(ours)[name], array, rtol=1e-12)  # BLAS rounds by the alignment of memory
    assert ours.t_ == theirs.t_
    assert ours.n_iter_ == theirs.n_iter_


def test_the_initial_state_of_a_linear_model_is_zero_and_of_a_network_random(patients):
    x, _ = standardised(patients)
    linear, network = SGDClassifier(), MLPClassifier((5,), random_state=1)
    for estimator in (linear, network):
        initialise(estimator, x, classes=[0, 1, 2])
    assert not linear.coef_.any()
    assert not linear.intercept_.any()
    assert all(array.any() for array in network.coefs_)
    assert not hasattr(network, "_optimizer")


@pytest.mark.parametrize("estimator", EVERY, ids=lambda each: type(each).__name__)
def test_training_goes_on_from_written_weights(patients, estimator):
    x, y = standardised(patients)
    estimator = new(estimator)
    initialise(estimator, x, y)
    estimator.partial_fit(x, y)
    port = SklearnPort(family_of(estimator))
    state = ModelState.empty(port.schema())
    port.read(state)
    for segment in state.segments.values():
        segment[...] = 5.0
    port.write(state)
    assert all((array == 5.0).all() for array in values(estimator).values())
    estimator.partial_fit(x[:1], y[:1])
    assert all((abs(array - 5.0) < 4.5).any() for array in values(estimator).values())


def test_two_classes_and_a_sparse_matrix(hospitals, patients):
    x, y = standardised(patients)
    parts = [(sparse.csr_matrix(x[rows]), np.where(y[rows] > 0, "ill", "well")) for rows in (slice(60), slice(60, 120))]
    first, second = hospitals.fit([SGDClassifier(random_state=0) for _ in parts], parts, epochs=2)
    assert first.coef_.shape == (1, 4)
    assert first.coef_.tobytes() == second.coef_.tobytes()
    assert first.classes_.tolist() == ["ill", "well"]


def test_local_tensors_stay_at_their_site(hospitals, patients):
    x, y = standardised(patients)
    parts = [(x[:60], y[:60]), (x[60:], y[60:])]
    first, second = hospitals.fit([SGDClassifier(random_state=0) for _ in parts], parts, local=["intercept_"])
    assert first.coef_.tobytes() == second.coef_.tobytes()
    assert first.intercept_.tolist() != second.intercept_.tolist()


def test_an_outlier_of_the_swarm_is_one_of_all_data(hospitals):
    rng = np.random.default_rng(2)
    usual = rng.normal(3, 1, (600, 2))
    parts = [(usual[:300],), (usual[300:],)]
    nu = 0.2
    sites = [SGDOneClassSVM(nu=nu, random_state=0) for _ in parts]
    first, second = hospitals.fit(sites, parts, epochs=20, batch_size=30)
    pooled = SGDOneClassSVM(nu=nu, random_state=0, max_iter=20, tol=None).fit(usual)
    assert first.offset_.tobytes() == second.offset_.tobytes()
    assert (first.predict(usual) == pooled.predict(usual)).mean() > 0.95
    assert 0.05 < np.mean(first.predict(usual) < 0) < nu
    assert (first.predict(-usual) < 0).all()
