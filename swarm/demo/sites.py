"""The data of a demo, in memory and as files: training data of each site, and the common test set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

TEST_SHARE = 0.2
"""The share of every stratum that is held out for the common test set."""


@dataclass(frozen=True, slots=True)
class Samples:
    """Features and labels, row by row."""

    x: NDArray[np.float32]
    """[samples, features]"""
    y: NDArray[np.int64]
    """[samples]"""

    def __len__(self) -> int:
        """Number of samples."""
        return len(self.y)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sites:
    """The data of all sites."""

    names: tuple[str, ...]
    train: tuple[Samples, ...]
    """One per site, in the order of ``names``."""
    test: Samples
    """Held out of every site; the same for all models."""


def join(parts: Sequence[Samples]) -> Samples:
    """All samples, in the order given."""
    return Samples(np.concatenate([part.x for part in parts]), np.concatenate([part.y for part in parts]))


def hold_out(strata: NDArray[np.int64], random: np.random.Generator) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Split row numbers into those to train on and those to test on, with ``TEST_SHARE`` of every stratum to test.

    Args:
        strata: the stratum of each row.
        random: source of the random order.
    """
    train, test = [], []
    for stratum in np.unique(strata):
        rows = random.permutation(np.flatnonzero(strata == stratum))
        held_out = round(TEST_SHARE * len(rows))
        test.append(rows[:held_out])
        train.append(rows[held_out:])
    return np.concatenate(train), np.concatenate(test)


def site_directory(directory: Path, rank: int) -> Path:
    """The directory of one site's data."""
    return directory / f"peer-{rank}"


def pooled_directory(directory: Path) -> Path:
    """The directory of all sites' data together."""
    return directory / "pooled"


def write(sites: Sites, directory: Path) -> None:
    """Write ``train.npz`` and ``test.npz``, each with ``x`` and ``y``, for every site and for the pooled data."""
    for rank, train in enumerate(sites.train):
        write_site(site_directory(directory, rank), train, sites.test)
    write_site(pooled_directory(directory), join(sites.train), sites.test)


def write_site(directory: Path, train: Samples, test: Samples) -> None:
    """Write ``train.npz`` and ``test.npz`` of one site, each with ``x`` and ``y``."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, samples in (("train", train), ("test", test)):
        np.savez_compressed(directory / f"{name}.npz", x=samples.x, y=samples.y)
