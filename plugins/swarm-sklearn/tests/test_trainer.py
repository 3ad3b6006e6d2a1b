from __future__ import annotations

import threading
from collections import Counter
from functools import partial

import numpy as np
import pytest
from sklearn.base import clone, is_classifier
from sklearn.cluster import MiniBatchKMeans
from sklearn.linear_model import PassiveAggressiveRegressor, SGDClassifier, SGDOneClassSVM, SGDRegressor
from sklearn.naive_bayes import GaussianNB, MultinomialNB
from sklearn.neural_network import MLPClassifier, MLPRegressor

from swarm import SwarmCallback
from swarm.errors import ModelError, SwarmError
from swarm.storage.stop_request import ask
from swarm.testing.swarm import together
from swarm_sklearn import SklearnCallback, SwarmTrainer, initialise, load_weights
from swarm_sklearn.estimators import family_of


def test_a_loop_of_ones_own_makes_the_four_calls(patients):
    x, y = patients
    estimator = GaussianNB()
    initialise(estimator, x, classes=[0, 1, 2])
    callback = SwarmCallback(model=estimator, loopback=True, sync_interval=2)
    assert isinstance(callback, SklearnCallback)
    assert isinstance(callback, SwarmCallback)
    callback.on_train_begin()
    for rows in np.array_split(np.arange(120), 5):
        estimator.partial_fit(x[rows], y[rows])
        callback.on_batch_end()
    callback.on_epoch_end(0)
    callback.on_train_end()
    assert estimator.class_count_.sum() == 120


def test_every_sample_is_used_once_an_epoch_in_an_order_that_the_seed_gives(patients):
    x, _ = patients
    seen = []

    class Recorder(SGDRegressor):
        def partial_fit(self, X, y):  # noqa: N803 - as its base names it
            seen.append(y.copy())
            return super().partial_fit(X, y)

    trainer = SwarmTrainer(Recorder(), loopback=True)
    target = np.arange(120.0)
    trainer.fit(x, target, epochs=2, batch_size=50, seed=3)
    first, batches = seen[0], seen[1:]
    assert first.tolist() == [0.0]  # of a copy, whose weights are not used
    assert [len(batch) for batch in batches] == [50, 50, 20] * 2
    epochs = [np.concatenate(batches[:3]), np.concatenate(batches[3:])]
    assert all(sorted(epoch) == target.tolist() for epoch in epochs)
    assert epochs[0].tolist() != epochs[1].tolist()
    del seen[:]
    trainer.fit(x, target, epochs=2, batch_size=50, seed=3)
    assert np.concatenate(seen[1:]).tolist() == np.concatenate(batches).tolist()


@pytest.mark.parametrize(
    "estimator",
    [
        SGDClassifier(random_state=0),
        MLPClassifier((5,), random_state=0),
        GaussianNB(),
        MultinomialNB(),
        SGDOneClassSVM(random_state=0),
        MiniBatchKMeans(2, init=np.repeat([[40.0], [44.0]], 4, axis=1), n_init=1, reassignment_ratio=0, random_state=0),
    ],
    ids=lambda each: type(each).__name__,
)
def test_samples_of_single_precision(hospitals, two_parts, estimator):
    parts = [(x.astype(np.float32), y) for x, y in two_parts]
    classes = [0, 1, 2] if is_classifier(estimator) else None
    first, second = hospitals.fit([clone(estimator) for _ in parts], parts, classes=classes)
    assert family_of(first).tensors()[0].values.any()
    for one, other in zip(family_of(first).tensors(), family_of(second).tensors(), strict=True):
        assert one.values.tobytes() == other.values.tobytes(), one.name


def test_fit_begins_anew(patients):
    trainer = SwarmTrainer(GaussianNB(), loopback=True)
    trainer.fit(*patients)
    assert trainer.fit(*patients).class_count_.sum() == 120


def test_the_training_ends_within_an_epoch_where_the_swarm_has_agreed_on_that(hospitals, two_parts, tmp_path):
    batches = Counter()

    class Asks(SGDClassifier):
        def partial_fit(self, X, y, classes=None):  # noqa: N803 - as its base names it
            site = threading.current_thread().name
            batches[site] += 1
            if batches[site] == 5:
                ask(tmp_path / site)
            return super().partial_fit(X, y, classes)

    sites = [f"peer-{number}" for number in range(2)]
    for site in sites:
        (tmp_path / site).mkdir()
    trainers = [hospitals.trainer(site, Asks(), model_dir=tmp_path / site, world_size=2) for site in sites]
    fits = [
        partial(trainer.fit, *part, classes=[0, 1, 2], batch_size=1)
        for trainer, part in zip(trainers, two_parts, strict=True)
    ]
    together(*fits)
    assert all(trainer.callback.should_stop for trainer in trainers)
    assert all(5 <= batches[site] < len(part[0]) for site, part in zip(sites, two_parts, strict=True))


def test_a_site_is_weighted_by_its_samples_without_saying_their_number(patients):
    trainer = SwarmTrainer(SGDClassifier(), node_weightage="samples", loopback=True)
    make, given = trainer.callback.session_factory, []
    trainer.callback.session_factory = lambda settings, port, **others: (
        given.append(settings) or make(settings, port, **others)
    )
    trainer.fit(*patients)
    assert [settings.samples for settings in given] == [120]


@pytest.mark.parametrize(
    ("estimator", "loss", "score"),
    [
        (GaussianNB(), 1.0986122886681098, "accuracy"),
        (SGDClassifier(), 2 / 3, "accuracy"),
        (SGDRegressor(), 5 / 3, "r2"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_the_merged_model_is_validated(patients, estimator, loss, score):
    x, y = patients
    initialise(estimator, x, y)
    callback = SwarmCallback(model=estimator, val_data=(x[:3], np.array([0, 1, 2])), loopback=True)
    evaluation = callback._evaluate()
    assert evaluation.samples == 3
    assert evaluation.loss == pytest.approx(loss)
    assert set(evaluation.metrics) == {score}


def test_outliers_are_validated_by_what_training_minimises():
    estimator, x = SGDOneClassSVM(nu=0.25), np.array([[1.0, 1.0], [2.0, 0.0], [5.0, 5.0]])
    initialise(estimator, x)
    estimator.coef_[...], estimator.offset_[...] = [1.0, 2.0], [4.0]
    for data in (x, (x, [1, -1, 1])):
        evaluation = SwarmCallback(model=estimator, val_data=data, loopback=True)._evaluate()
        assert evaluation.loss == pytest.approx(5 / 2 - 4 + (1 + 2 + 0) / 3 / 0.25)
        assert evaluation.metrics == {"outliers": pytest.approx(2 / 3)}
        assert evaluation.samples == 3


COLUMNS = {
    "numbers": lambda y: y,
    "list": lambda y: y.tolist(),
    "column": lambda y: y[:, np.newaxis],
    "column of lists": lambda y: y[:, np.newaxis].tolist(),
    "series": lambda y: pytest.importorskip("pandas").Series(y, index=range(900, 900 + len(y))),
    "frame": lambda y: pytest.importorskip("pandas").DataFrame({"y": y}, index=range(900, 900 + len(y))),
}


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.DataConversionWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("form", COLUMNS)
@pytest.mark.parametrize(
    "estimator",
    [
        SGDRegressor(random_state=0),
        PassiveAggressiveRegressor(random_state=0),
        MLPRegressor(hidden_layer_sizes=(4,), random_state=0),
        SGDClassifier(random_state=0),
        MLPClassifier((4,), random_state=0),
        GaussianNB(),
    ],
    ids=lambda each: type(each).__name__,
)
def test_targets_in_one_column_train_and_validate_as_without_columns(patients, estimator, form):
    x, y = patients
    x = (x - 40) / 4
    if not is_classifier(estimator):
        y = y * 2.5 - 1

    def trained(y):
        trainer = SwarmTrainer(clone(estimator), loopback=True, val_data=(x, y), sync_interval=2)
        return trainer.fit(x, y, epochs=1, batch_size=16), trainer.callback._evaluate()

    model, evaluation = trained(COLUMNS[form](y))
    plain, expected = trained(y)
    assert evaluation == expected
    assert model.predict(x).tolist() == plain.predict(x).tolist()
    if not is_classifier(estimator):
        assert evaluation.loss == pytest.approx(
            np.mean([(a - b) ** 2 for a, b in zip(y, model.predict(x), strict=True)])
        )


def test_several_outputs_are_validated_by_the_mean_over_all_of_them(patients):
    x, _ = patients
    y = x[:, :2] - 40
    trainer = SwarmTrainer(MLPRegressor(hidden_layer_sizes=(4,), random_state=0), loopback=True, val_data=(x, y))
    model = trainer.fit(x, y)
    assert trainer.callback._evaluate().loss == pytest.approx(np.square(y - model.predict(x)).sum() / y.size)


def test_clusters_are_validated_by_their_distance(patients):
    x, _ = patients
    estimator = MiniBatchKMeans(2, init=x[:2] * 0, n_init=1, reassignment_ratio=0)
    initialise(estimator, x)
    evaluation = SwarmCallback(model=estimator, val_data=x, loopback=True)._evaluate()
    assert evaluation.loss == pytest.approx(np.square(x).sum() / 120)


def test_the_result_is_loaded_into_a_new_estimator(hospitals, two_parts, tmp_path):
    fitted, _ = hospitals.fit([GaussianNB(), GaussianNB()], two_parts, classes=[0, 1, 2], model_dir=tmp_path)
    path = tmp_path / "swarm-final.safetensors"
    with pytest.raises(ModelError, match="call swarm_sklearn.initialise"):
        load_weights(GaussianNB(), path)
    other = GaussianNB()
    initialise(other, np.zeros((1, 4)), classes=[0, 1, 2])
    load_weights(other, path)
    for name in ("theta_", "var_", "class_count_", "epsilon_"):
        np.testing.assert_array_equal(getattr(other, name), getattr(fitted, name))
    linear = SGDClassifier()
    initialise(linear, np.zeros((1, 4)), classes=[0, 1])
    with pytest.raises(ModelError, match="is of another model"):
        load_weights(linear, path)


def test_a_data_frame_keeps_its_column_names(patients):
    pandas = pytest.importorskip("pandas")
    x, y = patients
    frame = pandas.DataFrame(x, columns=["age", "pressure", "sugar", "rate"])
    trainer = SwarmTrainer(GaussianNB(), loopback=True)
    fitted = trainer.fit(frame, pandas.Series(y, index=range(500, 620)))
    assert fitted.feature_names_in_.tolist() == ["age", "pressure", "sugar", "rate"]
    assert dict(trainer.callback.arguments.settings.agree)["features"] == '["age","pressure","sugar","rate"]'


def test_an_error_in_the_loop_leaves_the_swarm(patients):
    x, y = patients
    x[7] = np.nan
    trainer = SwarmTrainer(SGDClassifier(), loopback=True)
    with pytest.raises(ValueError, match="NaN"):
        trainer.fit(x, y)
    with pytest.raises(SwarmError, match="after the run had ended"):
        trainer.callback.on_batch_end()
