"""The files of a demo."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from swarm.demo.sites import Samples, Sites, hold_out, pooled_directory, site_directory, write


def samples(count: int, first: int = 0) -> Samples:
    return Samples(np.arange(first, first + 2 * count, dtype=np.float32).reshape(count, 2), np.arange(count) % 2)


@pytest.mark.parametrize("part", ["train", "test"])
def test_every_site_gets_its_own_training_data_and_the_common_test_set(tmp_path: Path, part: str) -> None:
    train, test = (samples(5), samples(3, 100)), samples(4, 200)
    write(Sites(names=("a", "b"), train=train, test=test), tmp_path)
    for rank in range(2):
        with np.load(site_directory(tmp_path, rank) / f"{part}.npz") as written:
            expected = train[rank] if part == "train" else test
            np.testing.assert_array_equal(written["x"], expected.x)
            np.testing.assert_array_equal(written["y"], expected.y)


def test_the_pooled_data_are_those_of_all_sites(tmp_path: Path) -> None:
    train = samples(5), samples(3, 100)
    write(Sites(names=("a", "b"), train=train, test=samples(4)), tmp_path)
    with np.load(pooled_directory(tmp_path) / "train.npz") as written:
        np.testing.assert_array_equal(written["x"], np.concatenate([train[0].x, train[1].x]))
        assert len(written["y"]) == 8


def test_a_fifth_of_every_stratum_is_held_out() -> None:
    strata = np.repeat([4, 7, 9], [10, 50, 5])
    train, test = hold_out(strata, np.random.default_rng(0))
    assert np.bincount(strata[test], minlength=10)[[4, 7, 9]].tolist() == [2, 10, 1]
    assert sorted([*train, *test]) == list(range(65))
