"""Opens the store: one process at a time where it is a file of SQLite."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient


def opened(store: str) -> MlflowClient:
    """The client of a store, which MLflow makes or updates if necessary.

    Raises:
        MlflowException: it cannot be opened; as a rule. A store may raise other errors.
    """
    from mlflow.tracking import MlflowClient

    with _alone(store):
        return MlflowClient(store)


@contextlib.contextmanager
def _alone(store: str) -> Iterator[None]:
    """Keep other processes from opening this file: two that make its tables at the same time break each other's."""
    parts = urlsplit(store)
    directory = Path(parts.path[1:]).parent
    if parts.scheme.partition("+")[0] != "sqlite" or parts.path in {"", "/"} or not directory.is_dir():
        yield
        return
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
