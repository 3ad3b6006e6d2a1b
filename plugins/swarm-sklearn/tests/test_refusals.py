from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from sklearn.cluster import KMeans, MiniBatchKMeans
from sklearn.decomposition import IncrementalPCA
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.linear_model import LogisticRegression, SGDClassifier, SGDOneClassSVM, SGDRegressor
from sklearn.naive_bayes import CategoricalNB, GaussianNB, MultinomialNB
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, OneClassSVM

from swarm import SwarmCallback
from swarm.errors import ConfigurationError, IncompatiblePeerError
from swarm.testing.swarm import together
from swarm_sklearn import SwarmTrainer, initialise

CENTRES = np.zeros((2, 4))


@pytest.mark.parametrize(
    ("estimator", "message"),
    [
        (RandomForestClassifier(), "RandomForestClassifier cannot.*no partial_fit: use SGDClassifier"),
        (SGDClassifier, r"given the class SGDClassifier: give an instance, such as SGDClassifier\(\.\.\.\)"),
        (RandomForestRegressor(), "no partial_fit: use SGDRegressor or MLPRegressor"),
        (SVC(), "SVC cannot be trained in a swarm.*hinge"),
        (OneClassSVM(), "OneClassSVM cannot be trained in a swarm.*use SGDOneClassSVM"),
        (LogisticRegression(), "log_loss"),
        (KMeans(), "use MiniBatchKMeans"),
        (IncrementalPCA(), "what it learns cannot be merged: allowed are SGDClassifier,.*MiniBatchKMeans"),
        (make_pipeline(StandardScaler(), SGDClassifier()), "give the last one"),
        (StandardScaler(), "swarm.pool"),
        (SGDClassifier(average=True), "average=True of SGDClassifier is not possible in a swarm"),
        (SGDOneClassSVM(average=10), "average=10 of SGDOneClassSVM is not possible in a swarm"),
        (CategoricalNB(), "min_categories=None.*the same at every site"),
        (SGDRegressor(early_stopping=True), "early_stopping=True"),
        (SGDClassifier(class_weight="balanced"), "class_weight='balanced'"),
        (MLPClassifier(solver="lbfgs"), "solver='lbfgs'.*'adam' and 'sgd'"),
        (MLPClassifier(early_stopping=True), "early_stopping=True"),
        (MiniBatchKMeans(reassignment_ratio=0), "init='k-means\\+\\+'.*every site would receive"),
        (MiniBatchKMeans(2, init=CENTRES), "reassignment_ratio=0.01"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_cannot_be_merged_is_refused_with_what_to_use(estimator, message):
    with pytest.raises(ConfigurationError, match=message):
        SwarmTrainer(estimator)


@pytest.mark.parametrize(
    ("estimator", "settings", "message"),
    [
        (SGDClassifier(), {"optimizer_state": "reset"}, "optimizer_state='reset' is not possible"),
        (SGDClassifier(), {"proximal": 0.1}, "shows its gradients to no callback"),
        (SGDClassifier(), {"merge_method": "sum"}, "merge_method='sum' is for counts"),
        (CategoricalNB(min_categories=3), {"node_weightage": 3}, "node_weightage=3.*every sample"),
        (GaussianNB(), {"merge_method": "coordmedian"}, "merge_method='coordmedian' is not possible"),
        (GaussianNB(), {"node_weightage": 3}, "node_weightage=3.*every sample"),
        (GaussianNB(), {"node_weightage": "samples", "samples": 9}, "node_weightage='samples'"),
        (GaussianNB(), {"outer": "nesterov"}, "outer='nesterov'"),
        (GaussianNB(), {"codec": "int8"}, "codec='int8'"),
        (GaussianNB(), {"train_until": "all"}, "train_until='all'"),
        (MultinomialNB(), {"local": ["class_count_"]}, "local="),
        (SGDClassifier(), {"val_data": [1, 2, 3]}, "val_data is a list: allowed is \\(x, y\\)"),
        (SGDClassifier(), {"val_data": (np.zeros((0, 4)), [])}, "no samples"),
        (SGDRegressor(), {"val_data": (np.zeros((3, 4)), np.zeros(2))}, "val_data is not possible: .*inconsistent"),
    ],
)
def test_settings_that_contradict_an_estimator_are_refused(estimator, settings, message):
    with pytest.raises(ConfigurationError, match=message):
        SwarmTrainer(estimator, **settings)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"epochs": 2}, "epochs=2 is not possible with GaussianNB"),
        ({"epochs": 0}, "epochs=0"),
        ({"batch_size": 2.5}, "batch_size=2.5"),
        ({"classes": [0, 1]}, "y contains 2, which is not in classes"),
        ({"classes": [0]}, "two or more different classes"),
        ({"classes": [0, 1, 1, 2]}, "two or more different classes"),
    ],
)
def test_arguments_of_fit_are_checked_before_the_swarm_is_joined(patients, arguments, message):
    with pytest.raises(ConfigurationError, match=message):
        SwarmTrainer(GaussianNB(), peers=["127.0.0.1:1"]).fit(*patients, **arguments)


def test_other_arguments_are_checked(patients):
    x, y = patients
    with pytest.raises(ConfigurationError, match="model= was given"):
        SwarmTrainer(GaussianNB(), model=GaussianNB())
    with pytest.raises(ConfigurationError, match="is no classifier"):
        SwarmTrainer(SGDRegressor(), loopback=True).fit(x, y, classes=[0, 1])
    with pytest.raises(ConfigurationError, match="classes is missing"):
        initialise(SGDClassifier(), x)
    with pytest.raises(ConfigurationError, match="one label a sample"):
        initialise(SGDClassifier(), x, np.zeros((120, 2)))
    with pytest.raises(ConfigurationError, match="call swarm_sklearn.initialise"):
        SwarmCallback(model=SGDClassifier(), loopback=True).on_train_begin()
    with pytest.raises(ConfigurationError, match="needs model=, a scikit-learn estimator"):
        SwarmCallback(ml_platform="SKLEARN")
    with pytest.raises(ConfigurationError, match=r"agree\['classes'\] is \[0, 1\], but that of the estimator"):
        SwarmTrainer(GaussianNB(), loopback=True, agree={"classes": [0, 1]}).fit(x, y)


def test_a_refused_classifier_keeps_what_it_had_learnt(patients):
    x, y = patients
    estimator = SGDClassifier(random_state=0).fit(x, y)
    with pytest.raises(ConfigurationError):
        initialise(estimator, x, y, classes=[0, 1])
    assert estimator.coef_.any()


@pytest.mark.parametrize(
    ("other", "change", "message"),
    [
        (GaussianNB(), lambda x, y: (x, np.minimum(y, 1)), r"agree\['classes'\]"),
        (GaussianNB(var_smoothing=0.1), lambda x, y: (x, y), r"agree\['estimator.var_smoothing'\]"),
        (MultinomialNB(), lambda x, y: (x, y), "agree|tensor"),
        (
            GaussianNB(),
            lambda x, y: (x[:, :3], y),
            r"float64\[3, 4\].*float64\[3, 3\]|float64\[3, 3\].*float64\[3, 4\]",
        ),
    ],
    ids=["classes", "parameter", "estimator", "features"],
)
def test_a_site_that_differs_is_refused_by_name(hospitals, patients, other, change, message):
    x, y = patients
    settings = {"world_size": 2, "start_timeout": 20.0}
    first = hospitals.trainer("ada", GaussianNB(), **settings)
    second = hospitals.trainer("bob", other, **settings)

    def refused(trainer, data):
        with pytest.raises(IncompatiblePeerError, match=message):
            trainer.fit(*data)

    together(partial(refused, first, (x, y)), partial(refused, second, change(x, y)))
