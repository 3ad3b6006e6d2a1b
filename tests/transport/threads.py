"""A system that has no more threads of one name."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch


@contextmanager
def none_left(name: str) -> Iterator[None]:
    """No thread with this name can be started meanwhile."""
    start = threading.Thread.start

    def refused(thread: threading.Thread) -> None:
        if thread.name == name:
            raise RuntimeError("can't start new thread")
        start(thread)

    with patch("threading.Thread.start", refused):
        yield
