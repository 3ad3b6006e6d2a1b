"""How samples are divided among sites."""

from __future__ import annotations

import numpy as np
import pytest

from swarm.demo import partitions
from swarm.errors import ConfigurationError

LABELS = np.random.default_rng(1).permutation(np.repeat(np.arange(4), 50))


def divide(partition: str, peers: int = 4, seed: int = 0, **arguments) -> list[np.ndarray]:
    return partitions.divide(LABELS, partition, peers, np.random.default_rng(seed), **arguments)


@pytest.mark.parametrize("partition", ["iid", "dir0.5", "dir0.1", "shard2", "quantity"])
def test_each_sample_belongs_to_one_site_and_the_seed_decides_which(partition):
    parts = divide(partition)
    assert sorted(np.concatenate(parts)) == list(range(len(LABELS)))
    assert min(map(len, parts)) >= partitions.LEAST
    assert all(np.array_equal(one, other) for one, other in zip(parts, divide(partition), strict=True))
    assert not all(np.array_equal(one, other) for one, other in zip(parts, divide(partition, seed=1), strict=True))


def test_skew_grows_from_iid_to_shards():
    distances = [
        np.mean([partitions.label_distance([LABELS[part] for part in divide(name, seed=seed)], 4) for seed in range(5)])
        for name in ("iid", "dir2", "dir0.5", "shard1")
    ]
    assert distances == sorted(distances)
    assert distances[-1] == pytest.approx(0.75)  # one class of four


def test_shards_hold_few_classes():
    assert all(len(np.unique(LABELS[part])) <= 2 for part in divide("shard2", 2, seed=3) + divide("shard1", 4))


def test_sizes_are_those_asked_for():
    assert list(map(len, divide("quantity", 3, sizes=(9, 2, 1)))) == [150, 33, 17]
    assert list(map(len, divide("quantity", 3))) == [150, 33, 17]


@pytest.mark.parametrize(
    ("partition", "more"),
    [("dir0.01", {"peers": 8}), ("quantity", {"sizes": (1, 2)}), ("quantity", {"sizes": (1, 1, 1, 500)})],
)
def test_an_impossible_division_is_an_error(partition, more, monkeypatch):
    monkeypatch.setattr(partitions, "TRIES", 20)
    with pytest.raises(ConfigurationError):
        divide(partition, **more)
