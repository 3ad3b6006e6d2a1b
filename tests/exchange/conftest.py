"""Small models that are cut as large ones are."""

from __future__ import annotations

import pytest

from swarm.exchange import layout
from swarm.tensors import digest


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small models are cut into several chunks and blocks."""
    monkeypatch.setattr(layout, "CHUNK_BYTES", 16)
    monkeypatch.setattr(digest, "BLOCK_BYTES", 8)
