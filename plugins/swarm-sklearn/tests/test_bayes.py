from __future__ import annotations

import numpy as np
import pytest
from sklearn.naive_bayes import BernoulliNB, ComplementNB, GaussianNB, MultinomialNB

from swarm_sklearn import SwarmTrainer, initialise
from swarm_sklearn.bayes import Gaussian

DISCRETE = [MultinomialNB(alpha=0.7), ComplementNB(norm=True), BernoulliNB(binarize=2.0)]
LEARNT = {
    "GaussianNB": ("theta_", "var_", "class_count_", "class_prior_", "epsilon_"),
    "MultinomialNB": ("feature_log_prob_", "class_log_prior_", "class_count_", "feature_count_"),
}


def new(estimator):
    return type(estimator)(**estimator.get_params())


def counts(part):
    x, y = part
    return np.floor(np.abs(x - 40)), y


def require_equal(fitted, pooled, rtol=1e-12):
    for name in LEARNT.get(type(pooled).__name__, LEARNT["MultinomialNB"]):
        np.testing.assert_allclose(getattr(fitted, name), getattr(pooled, name), rtol=rtol, err_msg=name)


@pytest.mark.parametrize("overlap", [False, True], ids=["blocking", "overlap"])
@pytest.mark.parametrize("estimator", DISCRETE, ids=lambda each: type(each).__name__)
def test_counts_of_a_swarm_are_those_of_all_data(hospitals, two_parts, patients, estimator, overlap):
    parts = [counts(part) for part in two_parts]
    fitted = hospitals.fit([new(estimator) for _ in parts], parts, classes=[0, 1, 2], overlap=overlap)
    pooled = new(estimator).fit(*counts(patients))
    for each in fitted:
        require_equal(each, pooled, rtol=1e-13)


@pytest.mark.parametrize("far", [0, 1e6], ids=["near", "far"])
@pytest.mark.parametrize("smoothing", [1e-9, 0.5])
def test_a_gaussian_of_a_swarm_is_that_of_all_data(hospitals, two_parts, patients, smoothing, far):
    parts = [(x + far, y) for x, y in two_parts]
    fitted = hospitals.fit([GaussianNB(var_smoothing=smoothing) for _ in parts], parts, classes=[0, 1, 2])
    pooled = GaussianNB(var_smoothing=smoothing).fit(patients[0] + far, patients[1])
    for each in fitted:
        require_equal(each, pooled, rtol=1e-11 if not far else 1e-8)
    assert fitted[0].var_.tobytes() == fitted[1].var_.tobytes()


def test_each_batch_has_the_smoothing_of_its_own_and_no_rest_of_others(patients):
    x, y = patients
    estimator = GaussianNB(var_smoothing=0.5)
    initialise(estimator, x, classes=[0, 1, 2])
    family = Gaussian(estimator)
    for rows in np.array_split(np.arange(len(y)), 9):
        estimator.partial_fit(x[rows], y[rows])
        family.batch_trained()
    plain = GaussianNB(var_smoothing=0.0).fit(x, y)
    np.testing.assert_allclose(estimator.var_ - estimator.epsilon_, plain.var_, rtol=1e-12)


@pytest.mark.parametrize("estimator", [GaussianNB(var_smoothing=0.5), *DISCRETE], ids=lambda each: type(each).__name__)
def test_a_site_alone_learns_what_fit_does(patients, estimator):
    data = patients if isinstance(estimator, GaussianNB) else counts(patients)
    fitted = SwarmTrainer(new(estimator), loopback=True).fit(*data, batch_size=7)
    require_equal(fitted, new(estimator).fit(*data), rtol=1e-11)


@pytest.mark.parametrize("estimator", [GaussianNB(), *DISCRETE], ids=lambda each: type(each).__name__)
def test_before_the_first_sample_all_classes_are_as_likely(patients, estimator):
    estimator = new(estimator)
    initialise(estimator, counts(patients)[0], classes=["a", "b", "c", "d"])
    assert not estimator.class_count_.any()
    np.testing.assert_allclose(estimator.predict_proba(counts(patients)[0]), 0.25)
