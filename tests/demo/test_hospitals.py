"""The heart-disease data of four hospitals."""

from __future__ import annotations

import numpy as np
import pytest

from swarm.demo import hospitals
from swarm.demo.sites import Sites


@pytest.fixture(scope="module")
def sites() -> Sites:
    return hospitals.load(seed=3)


def test_there_are_four_hospitals_with_all_their_patients(sites: Sites) -> None:
    assert sites.names == ("Cleveland", "Hungary", "Switzerland", "VA Long Beach")
    assert sum(map(len, sites.train)) + len(sites.test) == 920
    assert [len(part) for part in sites.train] == [243, 235, 98, 160]


def test_the_test_set_holds_a_fifth_of_every_hospital_s_ill_and_healthy(sites: Sites) -> None:
    ill = {"Cleveland": 139, "Hungary": 106, "Switzerland": 115, "VA Long Beach": 149}
    held_out = [total - int(part.y.sum()) for total, part in zip(ill.values(), sites.train, strict=True)]
    assert held_out == [28, 21, 23, 30]
    assert int(sites.test.y.sum()) == sum(held_out)


def test_measurements_are_standardised_within_each_hospital(sites: Sites) -> None:
    for part in sites.train:
        measured = part.x[:, : hospitals.FEATURES.index("sex")]
        np.testing.assert_allclose(measured.mean(axis=0), 0, atol=1e-5)
        spread = measured.std(axis=0)
        assert np.all((np.abs(spread - 1) < 1e-4) | (spread == 0))


def test_what_a_hospital_never_measured_is_zero_and_flagged(sites: Sites) -> None:
    switzerland = sites.train[sites.names.index("Switzerland")]
    assert np.all(switzerland.x[:, hospitals.FEATURES.index("chol")] == 0)
    assert np.all(switzerland.x[:, hospitals.FEATURES.index("chol missing")] == 1)
    cleveland = sites.train[sites.names.index("Cleveland")]
    assert np.all(cleveland.x[:, hospitals.FEATURES.index("chol missing")] == 0)


def test_a_measurement_that_is_the_same_for_all_patients_to_train_on_is_not_scaled() -> None:
    sites = hospitals.load(seed=1)  # the two Swiss patients with one narrowed vessel are held out, those with two not
    column = hospitals.FEATURES.index("ca")
    number = sites.names.index("Switzerland")
    before = (304 + 293) - sum(map(len, sites.train[:number]))
    swiss = sites.test.x[before : before + 123 - len(sites.train[number]), column]
    assert set(sites.train[number].x[:, column]) == {0}
    assert sorted(swiss)[:3] == [-1, -1, 0]


def test_every_value_is_finite_and_named(sites: Sites) -> None:
    for part in (*sites.train, sites.test):
        assert part.x.shape == (len(part), len(hospitals.FEATURES))
        assert part.x.dtype == np.float32
        assert np.isfinite(part.x).all()


def test_a_seed_gives_the_same_data_again_and_another_one_does_not(sites: Sites) -> None:
    again, other = hospitals.load(seed=3), hospitals.load(seed=4)
    assert all(np.array_equal(a.x, b.x) for a, b in zip(sites.train, again.train, strict=True))
    assert np.array_equal(sites.test.x, again.test.x)
    assert not np.array_equal(sites.test.x, other.test.x)
