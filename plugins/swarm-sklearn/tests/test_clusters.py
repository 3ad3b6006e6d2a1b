from __future__ import annotations

import numpy as np
import pytest
from sklearn.cluster import MiniBatchKMeans

from swarm.tensors import ModelState
from swarm_sklearn import initialise
from swarm_sklearn.estimators import family_of
from swarm_sklearn.port import SklearnPort


def clusters(**parameters):
    first = np.array([[0.0, 0.0], [10.0, 10.0], [-90.0, 0.0]])
    return MiniBatchKMeans(3, **({"init": first, "n_init": 1, "reassignment_ratio": 0, "random_state": 0} | parameters))


@pytest.fixture
def blobs():
    """Two groups, in which a sample keeps its cluster; the third centre has none."""
    rng = np.random.default_rng(1)
    return rng.permutation(np.concatenate([rng.normal(0, 1, (50, 2)), rng.normal(10, 1, (90, 2))]))


def test_centres_are_the_means_over_all_sites(hospitals, blobs):
    parts = [(blobs[:30],), (blobs[30:],)]
    first, second = hospitals.fit([clusters() for _ in parts], parts)
    labels = (blobs.sum(axis=1) > 10).astype(int)
    expected = [blobs[labels == label].mean(axis=0) for label in (0, 1)]
    np.testing.assert_allclose(first.cluster_centers_, [*expected, [-90, 0]], rtol=1e-12)
    np.testing.assert_allclose(first._counts, [*np.bincount(labels), 0])
    assert first.cluster_centers_.tobytes() == second.cluster_centers_.tobytes()
    assert (first.predict(blobs) == labels).all()


def test_all_sites_start_from_the_centres_of_one(hospitals, blobs):
    parts = [(blobs[:70],), (blobs[70:],)]
    swapped = clusters(init=np.array([[10.0, 10.0], [0.0, 0.0], [-90.0, 0.0]]))
    first, second = hospitals.fit([clusters(), swapped], parts, epochs=2)
    assert first.cluster_centers_.tobytes() == second.cluster_centers_.tobytes()
    assert sorted(first.cluster_centers_[:2].sum(axis=1) > 10) == [False, True]


def test_fewer_samples_than_clusters_are_enough_to_begin(blobs):
    estimator = clusters()
    initialise(estimator, blobs[:1])
    assert estimator.cluster_centers_.tolist() == estimator.init.tolist()
    assert not estimator._counts.any()


def test_what_is_read_can_be_written(blobs):
    estimator = clusters()
    initialise(estimator, blobs)
    port = SklearnPort(family_of(estimator))
    state = ModelState.empty(port.schema())
    estimator.partial_fit(blobs)
    port.read(state)
    before = estimator.cluster_centers_.copy()
    port.write(state)
    np.testing.assert_allclose(estimator.cluster_centers_, before, rtol=1e-14)
