"""The digits and how they are divided."""

from __future__ import annotations

import numpy as np
import pytest

from swarm.demo import digits
from swarm.demo.sites import Sites


@pytest.fixture(scope="module")
def sites() -> Sites:
    return digits.load(peers=4, seed=1)


def test_every_image_is_with_one_peer_or_in_the_test_set(sites: Sites) -> None:
    assert sum(map(len, sites.train)) == 4000
    assert np.bincount(sites.test.y).tolist() == [100] * 10
    rows = np.concatenate([part.x for part in (*sites.train, sites.test)])
    assert len(np.unique(rows, axis=0)) == 5000


def test_pixels_lie_between_0_and_1(sites: Sites) -> None:
    for part in (*sites.train, sites.test):
        assert part.x.shape == (len(part), 784)
        assert part.x.dtype == np.float32
        assert (part.x.min(), part.x.max()) == (0, 1)


def test_peers_see_the_digits_unevenly(sites: Sites) -> None:
    everywhere = np.full(10, 1 / 10)
    shares = [np.bincount(part.y, minlength=10) / len(part) for part in sites.train]
    skew = np.mean([np.abs(share - everywhere).sum() / 2 for share in shares])
    assert 0.2 < skew < 0.8


def test_a_seed_gives_the_same_division_again_and_another_one_does_not(sites: Sites) -> None:
    again, other = digits.load(peers=4, seed=1), digits.load(peers=4, seed=2)
    assert all(np.array_equal(a.x, b.x) for a, b in zip(sites.train, again.train, strict=True))
    assert [len(part) for part in other.train] != [len(part) for part in sites.train]
