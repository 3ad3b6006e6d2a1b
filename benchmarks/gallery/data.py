"""The data of the examples, from packages that are installed: divided among four sites, by a seed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.learning import transforms
from swarm.demo import digits as mnist
from swarm.demo import hospitals, partitions
from swarm.demo.sites import Samples, hold_out, join, write_site

SITES = 4
MIX = "dir0.3"
"""How the tumours are divided: see ``swarm.demo.partitions``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Divided:
    """The data of all sites."""

    names: tuple[str, ...]
    train: tuple[Samples, ...]
    """One per site."""
    test: tuple[Samples, ...]
    """One per site; the same object for each where there is a common test set."""

    @property
    def pooled_test(self) -> Samples:
        """What a model of all data is tested on: the common test set, or those of all sites."""
        return self.test[0] if all(each is self.test[0] for each in self.test) else join(self.test)

    def write(self, directory: Path) -> None:
        """Write ``peer-<rank>`` for each site, and ``pooled``, each with ``train.npz`` and ``test.npz``."""
        for rank, (train, test) in enumerate(zip(self.train, self.test, strict=True)):
            write_site(directory / f"peer-{rank}", train, test)
        write_site(directory / "pooled", join(self.train), self.pooled_test)


def digits(seed: int) -> Divided:
    """Images of digits, [samples, 784], each digit divided in proportions from Dirichlet(0.5), as in ``swarm demo``."""
    sites = mnist.load(SITES, seed)
    return Divided(names=_numbered("site"), train=sites.train, test=(sites.test,) * SITES)


def scanners(seed: int) -> Divided:
    """The same division, [samples, 1, 28, 28], each site with its own contrast, inversion, blur or noise."""

    def seen(site: int, samples: Samples) -> Samples:
        return Samples(transforms.of_site(site, samples.x.reshape(-1, 1, 28, 28)), samples.y)

    sites = mnist.load(SITES, seed)
    return Divided(
        names=tuple(kind.__name__ for kind in transforms.KINDS[:SITES]),
        train=tuple(seen(site, samples) for site, samples in enumerate(sites.train)),
        test=tuple(seen(site, sites.test) for site in range(SITES)),
    )


def patients(seed: int) -> Divided:
    """Patients of four real hospitals, [samples, 23], as in ``swarm demo``."""
    sites = hospitals.load(seed)
    return Divided(names=sites.names, train=sites.train, test=(sites.test,) * SITES)


def tumours(seed: int) -> Divided:
    """Breast tumours, [samples, 30] as measured, benign (1) and malignant (0) ones in another mix at each site.

    Source: Wolberg, Mangasarian, Street, Street, "Breast Cancer Wisconsin (Diagnostic)", UCI Machine Learning
    Repository, 1995 (CC BY 4.0), as shipped by scikit-learn.
    """
    from sklearn.datasets import load_breast_cancer

    found = load_breast_cancer()
    x, y = found.data.astype(np.float32), found.target.astype(np.int64)
    random = np.random.default_rng(seed)
    train, test = hold_out(y, random)
    parts = [train[rows] for rows in partitions.divide(y[train], MIX, SITES, random)]
    return _of_rows(x, y, _numbered("hospital"), parts, test)


def clinics(seed: int) -> Divided:
    """Patients with diabetes, [samples, 10] as measured, and its progression a year later; divided by their age.

    Source: Efron, Hastie, Johnstone, Tibshirani, "Least Angle Regression", Annals of Statistics, 2004, as shipped by
    scikit-learn.
    """
    from sklearn.datasets import load_diabetes

    found = load_diabetes(scaled=False)
    x, y = found.data.astype(np.float32), found.target.astype(np.float32)
    age = x[:, found.feature_names.index("age")]
    clinic = np.searchsorted(np.quantile(age, np.arange(1, SITES) / SITES), age)
    train, test = hold_out(clinic, np.random.default_rng(seed))
    parts = [train[clinic[train] == number] for number in range(SITES)]
    groups = [np.flatnonzero(clinic == number) for number in range(SITES)]
    names = tuple(f"aged {age[rows].min():.0f} to {age[rows].max():.0f}" for rows in groups)
    return _of_rows(x, y, names, parts, test)


def _of_rows(
    x: NDArray[np.float32], y: NDArray, names: tuple[str, ...], parts: list[NDArray[np.int64]], test: NDArray[np.int64]
) -> Divided:
    common = Samples(x[test], y[test])
    return Divided(names=names, train=tuple(Samples(x[rows], y[rows]) for rows in parts), test=(common,) * SITES)


def _numbered(site: str) -> tuple[str, ...]:
    return tuple(f"{site} {number}" for number in range(1, SITES + 1))
