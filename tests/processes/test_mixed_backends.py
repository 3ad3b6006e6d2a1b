"""TensorFlow, JAX and torch in one swarm: three real sites, which end with the same bytes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PROGRAM = Path(__file__).with_name("backend_peer.py")
BACKENDS = ("tensorflow", "jax", "torch")


@pytest.mark.timeout(600)
def test_sites_with_different_backends_end_with_one_model(start, tmp_path):
    for module in ("keras", *BACKENDS):
        pytest.importorskip(module)
    peers = [
        start(backend, backend, "Adam", program=PROGRAM, world_size=3, model_dir=tmp_path / backend)
        for backend in BACKENDS
    ]
    for peer in peers:
        peer.said("^DIGEST", within=550.0)
        assert peer.wait() == 0, peer.text
    assert len({peer.digest for peer in peers}) == 1
    rounds = {re.findall(r"^ROUNDS (\d+)$", peer.text, re.MULTILINE)[0] for peer in peers}
    assert len(rounds) == 1
    assert int(rounds.pop()) >= 6
    files = [(tmp_path / backend / "swarm-final.safetensors").read_bytes() for backend in BACKENDS]
    assert files[0] == files[1] == files[2]
