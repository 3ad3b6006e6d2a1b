"""Divides samples among sites, and measures how unequal the sites are."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from swarm.errors import ConfigurationError

LEAST = 10
"""Samples of the smallest site. A division with a smaller one is drawn again."""
TRIES = 20_000
QUANTITY = (9.0, 2.0, 1.0)
"""Relative sizes of sites that differ in size alone; repeated for more than three sites."""
KNOWN = "known are iid, dirA (Dirichlet with parameter A, as dir0.5), shardK (K shards for each site) and quantity"
Rows = NDArray[np.int64]

_LABEL_SKEW = re.compile(r"iid|dir(?P<alpha>\d*\.?\d+)|shard(?P<shards>[1-9]\d*)|quantity")


def known(partition: str) -> bool:
    """Whether ``divide`` knows it."""
    return _LABEL_SKEW.fullmatch(partition) is not None


def require(partition: str) -> re.Match[str]:
    """Refuse what ``divide`` does not know.

    Raises:
        ConfigurationError: there is no such partition.
    """
    found = _LABEL_SKEW.fullmatch(partition)
    if found is None:
        raise ConfigurationError(f"there is no partition {partition!r}: {KNOWN}")
    return found


def divide(
    labels: Rows, partition: str, peers: int, random: np.random.Generator, sizes: Sequence[float] = ()
) -> list[Rows]:
    """Row numbers for each site; each row belongs to one site.

    ``iid``: equal sizes, at random. ``dirA``: every class is divided in proportions from a symmetric Dirichlet
    distribution with parameter A, drawn again until every site has ``LEAST`` samples (Li et al., "Federated Learning on
    Non-IID Data Silos", ICDE 2022). ``shardK``: the samples sorted by label are cut into K shards for each site, which
    gets K of them at random (McMahan et al., 2017). ``quantity``: at random, in the proportions ``sizes``.

    Args:
        labels: [samples]
        partition: one of these names.
        peers: number of sites.
        random: source of the random order.
        sizes: for ``quantity``; by default those of ``QUANTITY``.

    Raises:
        ConfigurationError: there is no such partition, or the samples do not suffice for it.
    """
    found = require(partition)
    if found["alpha"]:
        return _dirichlet(labels, float(found["alpha"]), peers, random)
    if found["shards"]:
        return _shards(labels, int(found["shards"]), peers, random)
    shares = np.ones(peers)
    if partition == "quantity":
        shares = np.array(sizes or np.resize(QUANTITY, peers), np.float64)
        if len(shares) != peers:
            raise ConfigurationError(f"sizes has {len(shares)} numbers for {peers} peers: give one for each peer")
    parts = _cut(random.permutation(len(labels)), shares / shares.sum())
    if min(map(len, parts)) < LEAST:
        fewest = min(map(len, parts))
        raise ConfigurationError(
            f"a site would have {fewest} samples, fewer than {LEAST}: choose other sizes, or fewer peers"
        )
    return parts


def _dirichlet(labels: Rows, alpha: float, peers: int, random: np.random.Generator) -> list[Rows]:
    for _ in range(TRIES):
        parts: list[list[Rows]] = [[] for _ in range(peers)]
        for label in np.unique(labels):
            rows = random.permutation(np.flatnonzero(labels == label))
            for part, chunk in zip(parts, _cut(rows, random.dirichlet(np.full(peers, alpha))), strict=True):
                part.append(chunk)
        if min(sum(map(len, part)) for part in parts) >= LEAST:
            return [np.concatenate(part) for part in parts]
    raise ConfigurationError(
        f"no division of {len(labels)} samples with dir{alpha:g} gives {peers} sites {LEAST} each: choose a larger "
        "number after dir, iid, or fewer peers"
    )


def _shards(labels: Rows, shards: int, peers: int, random: np.random.Generator) -> list[Rows]:
    order = random.permutation(len(labels))
    order = order[np.argsort(labels[order], kind="stable")]
    parts = np.array_split(order, shards * peers)
    dealt = random.permutation(len(parts)).reshape(peers, shards)
    return [np.concatenate([parts[number] for number in hand]) for hand in dealt]


def _cut(rows: Rows, shares: NDArray[np.float64]) -> list[Rows]:
    cuts = (np.cumsum(shares)[:-1] * len(rows)).astype(np.int64)
    return np.split(rows, cuts)


def histogram(labels: Rows, classes: int) -> NDArray[np.float64]:
    """The share of each class, [classes]."""
    return np.bincount(labels, minlength=classes) / max(len(labels), 1)


def label_distance(parts: Sequence[Rows], classes: int) -> float:
    """The mean over sites of the total variation distance between a site's labels and those of all: 0 to 1.

    Args:
        parts: labels by site.
        classes: how many there are.
    """
    pool = histogram(np.concatenate(parts), classes)
    return float(np.mean([np.abs(histogram(part, classes) - pool).sum() / 2 for part in parts]))
