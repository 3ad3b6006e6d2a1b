"""The data of all sites of a task, from a seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module

import numpy as np
from numpy.typing import NDArray

from benchmarks.learning import transforms
from benchmarks.learning.plan import Plan
from swarm.demo import digits, hospitals, partitions
from swarm.demo.sites import Samples, hold_out, join

VALIDATION = 0.1
"""The share of a site's training samples on which choices are made; never on those of the test."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """What one site has."""

    train: Samples
    validation: Samples
    own: Samples
    """Test samples of the site's own kind."""
    shares: NDArray[np.float64]
    """[classes]: how much each class of ``own`` counts, as in the site's training data."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """A task divided among sites."""

    classes: int
    sites: tuple[Site, ...]
    test: Samples
    """The common test set: equal shares of every site's kind of data, or the patients of all hospitals."""
    label_distance: float
    """``partitions.label_distance`` of the training data."""

    @property
    def pooled(self) -> Samples:
        """The training samples of all sites."""
        return join([site.train for site in self.sites])

    @property
    def validation(self) -> Samples:
        """The validation samples of all sites."""
        return join([site.validation for site in self.sites])

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one sample."""
        return self.test.x.shape[1:]


def problem(plan: Plan, seed: int) -> Problem:
    """The sites' data: a fifth of every class is held out for the test, the rest divided as the plan says.

    Raises:
        RuntimeError: the task has no such partition.
    """
    random = np.random.default_rng(seed)
    if plan.partition == "natural":
        return _hospitals(plan, seed, random)
    samples = _heart(seed) if plan.task == "heart" else _load(plan.task)
    train_rows, test_rows = hold_out(samples.y, random)
    train, test = _taken(samples, train_rows), _taken(samples, test_rows)
    if plan.task in TABLES and plan.task != "heart":
        train, test = _standardised(train, train), _standardised(test, train)
    features = plan.partition == "feature"
    if features and len(samples.x.shape) != 4:
        raise RuntimeError(f"--partition feature changes images, which the task {plan.task} has none of")
    classes = int(samples.y.max()) + 1
    parts = partitions.divide(train.y, plan.skew if features else plan.partition, plan.peers, random, plan.sizes)
    sites = []
    for number, rows in enumerate(parts):
        mine, own = _taken(train, rows), test
        if features:
            mine, own = (Samples(transforms.of_site(number, part.x), part.y) for part in (mine, test))
        sites.append(_site(mine, own, partitions.histogram(mine.y, classes), random))
    common = join([site.own for site in sites]) if features else test
    labels = [train.y[rows] for rows in parts]
    return Problem(
        classes=classes, sites=tuple(sites), test=common, label_distance=partitions.label_distance(labels, classes)
    )


def _hospitals(plan: Plan, seed: int, random: np.random.Generator) -> Problem:
    if plan.task != "heart":
        raise RuntimeError(f"--partition natural: the task {plan.task} has no natural sites, heart has four hospitals")
    if plan.peers != len(hospitals.HOSPITALS):
        raise RuntimeError(f"--peers {plan.peers}: the task heart has {len(hospitals.HOSPITALS)} hospitals")
    train, test = hospitals.parts(seed)
    sites = [
        _site(mine, own, partitions.histogram(own.y, 2), random)  # its own patients, each of whom counts once
        for mine, own in zip(train, test, strict=True)
    ]
    return Problem(
        classes=2,
        sites=tuple(sites),
        test=join(test),
        label_distance=partitions.label_distance([part.y for part in train], 2),
    )


def _site(samples: Samples, own: Samples, shares: NDArray[np.float64], random: np.random.Generator) -> Site:
    order = random.permutation(len(samples))
    held_out = max(round(VALIDATION * len(samples)), 1)
    return Site(
        train=_taken(samples, order[held_out:]), validation=_taken(samples, order[:held_out]), own=own, shares=shares
    )


def _taken(samples: Samples, rows: NDArray[np.int64]) -> Samples:
    return Samples(samples.x[rows], samples.y[rows])


def _standardised(samples: Samples, reference: Samples) -> Samples:
    spread = reference.x.std(axis=0)
    x = (samples.x - reference.x.mean(axis=0)) / np.where(spread == 0, 1, spread)
    return Samples(x.astype(np.float32), samples.y)


def _heart(seed: int) -> Samples:
    """The patients of all hospitals as one pool, for partitions that are not the natural one."""
    train, test = hospitals.parts(seed)
    return join([*train, *test])


@cache
def _load(task: str) -> Samples:
    if task == "mnist":
        images, labels = digits.images()
        return Samples(images.reshape(-1, 1, 28, 28), labels)
    found = getattr(import_module("sklearn.datasets"), f"load_{task}")()
    x, y = found.data.astype(np.float32), found.target.astype(np.int64)
    return Samples((x / np.float32(16)).reshape(-1, 1, 8, 8) if task == "digits" else x, y)


TABLES: Sequence[str] = ("heart", "breast_cancer")
