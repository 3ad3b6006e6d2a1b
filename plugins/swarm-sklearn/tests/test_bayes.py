from __future__ import annotations

import numpy as np
import pytest
from sklearn.naive_bayes import BernoulliNB, CategoricalNB, ComplementNB, GaussianNB, MultinomialNB

from swarm import SwarmCallback
from swarm.errors import ConfigurationError, IncompatiblePeerError
from swarm.testing.swarm import together
from swarm_sklearn import SwarmTrainer, initialise
from swarm_sklearn.bayes import Gaussian

CATEGORIES = [8, 10, 5, 14]
"""More than the samples have."""
DISCRETE = [
    MultinomialNB(alpha=0.7),
    ComplementNB(norm=True),
    BernoulliNB(binarize=2.0),
    CategoricalNB(alpha=0.7, min_categories=CATEGORIES),
]
LEARNT = {
    "GaussianNB": ("theta_", "var_", "class_count_", "class_prior_", "epsilon_"),
    "MultinomialNB": ("feature_log_prob_", "class_log_prior_", "class_count_", "feature_count_"),
    "CategoricalNB": ("feature_log_prob_", "class_log_prior_", "class_count_", "category_count_"),
}


def new(estimator):
    return type(estimator)(**estimator.get_params())


def counts(part):
    x, y = part
    return np.floor(np.abs(x - 40)), y


def require_equal(fitted, pooled, rtol=1e-12):
    for name in LEARNT.get(type(pooled).__name__, LEARNT["MultinomialNB"]):
        found, expected = getattr(fitted, name), getattr(pooled, name)
        pairs = zip(found, expected, strict=True) if isinstance(found, list) else [(found, expected)]
        for one, other in pairs:
            np.testing.assert_allclose(one, other, rtol=rtol, err_msg=name)


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


def test_a_category_beyond_those_of_all_sites_is_refused_where_it_occurs(patients):
    x, y = counts(patients)
    feature, most = 3, int(x[:, 3].max())
    few = CategoricalNB(min_categories=[*CATEGORIES[:3], most])
    message = f"feature {feature} has category {most} here, and min_categories allows those from 0 to {most - 1}"
    trainer = SwarmTrainer(few, loopback=True)
    with pytest.raises(ConfigurationError, match=message):
        trainer.fit(x, y)
    below = x[:, 3] < most
    initialise(few, x[below], classes=[0, 1, 2])
    callback = SwarmCallback(model=few, loopback=True)
    callback.on_train_begin()
    few.partial_fit(x[below], y[below])
    callback.on_batch_end()
    few.partial_fit(x[~below], y[~below])
    with pytest.raises(ConfigurationError, match=message):
        callback.on_batch_end()


def test_sites_that_count_other_categories_are_refused(hospitals, patients):
    settings = {"world_size": 2, "start_timeout": 20.0}
    sites = {"ada": 14, "bob": 15}

    def refused(name):
        estimator = CategoricalNB(min_categories=sites[name])
        with pytest.raises(IncompatiblePeerError, match=r"category_count_.*float64\[3, 1[45]\]"):
            hospitals.trainer(name, estimator, **settings).fit(*counts(patients))

    together(*(lambda name=name: refused(name) for name in sites))


def test_categories_of_a_data_frame(hospitals, two_parts, patients):
    frame = pytest.importorskip("pandas").DataFrame
    parts = [(frame(x.astype(int), columns=list("abcd")), y) for x, y in map(counts, two_parts)]
    fitted = hospitals.fit([CategoricalNB(min_categories=14) for _ in parts], parts, classes=[0, 1, 2])
    for each in fitted:
        require_equal(each, CategoricalNB(min_categories=14).fit(*counts(patients)))
