"""What a program tells the matrix."""

from __future__ import annotations

import gc
import hashlib
import sys
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np


def tell_model(weights: Iterable[Any], metrics: Mapping[str, float]) -> None:
    """Print a line with the hash of the weights, in their order, and the number of rounds of this peer."""
    digest = hashlib.sha256()
    for array in weights:
        digest.update(np.ascontiguousarray(array).tobytes())
    tell(f"MODEL {digest.hexdigest()} {int(metrics['swarm_rounds'])}")


def tell(line: str) -> None:
    """Print a line in one write: ``print`` may need two, and the processes of a site share their output."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def end() -> None:
    """Free what a training over several processes has left; to be called where nothing refers to it any more.

    A thread of gloo that frees a tensor while Python ends would abort the process (pytorch/pytorch#179291): the threads
    end with the process groups, to which meshes and wrapped models refer in circles.
    """
    gc.collect()
