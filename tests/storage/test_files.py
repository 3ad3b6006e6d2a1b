"""The files that models are written to: the library reads them, and equal models give equal bytes."""

from __future__ import annotations

import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
from safetensors import safe_open
from safetensors.numpy import load_file

from swarm.storage.files import read_model_file, write_model
from swarm.tensors.state import ModelState, Schema, TensorSpec
from swarm.testing.swarm import MemorySwarm, SwarmPeer, together

MIXED = Schema((
    TensorSpec("half", (3,), "float16"),
    TensorSpec("wide", (2,), "float64"),
    TensorSpec('a name: \u00fc, "quoted"\n', (), "float32"),
    TensorSpec("none", (0, 2), "float32"),
))  # fmt: skip
ABOUT = {"session": "s", "digest": "d", "closing": "true", "lineage": "\u00fc", "round": "3"}


def mixed() -> ModelState:
    state = ModelState.empty(MIXED)
    for start, (_, array) in enumerate(state.arrays()):
        array[...] = np.arange(start, start + array.size).reshape(array.shape)
    return state


def test_a_written_file_is_what_the_library_reads(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    write_model(path, mixed(), ABOUT)
    read = load_file(path)
    assert {name: (values.dtype.name, values.tolist()) for name, values in read.items()} == {
        spec.name: (spec.dtype, array.tolist()) for spec, array in mixed().arrays()
    }
    with safe_open(path, "numpy") as file:
        assert file.metadata() == ABOUT
    assert read_model_file(path, MIXED).digest() == mixed().digest()


def test_every_tensor_is_aligned_to_its_dtype(tmp_path: Path) -> None:
    write_model(tmp_path / "model.safetensors", mixed(), ABOUT)
    with safe_open(tmp_path / "model.safetensors", "numpy") as file:
        assert file.offset_keys()[0] == "wide"
        assert file.offset_keys()[-1] == "half"


def test_equal_models_give_equal_bytes_in_every_process(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; sys.path.insert(0, sys.argv[2])\n"
        "from test_files import ABOUT, mixed, write_model\n"
        "write_model(Path(sys.argv[1]), mixed(), ABOUT)"
    )
    written = []
    for run in range(2):
        path = tmp_path / f"{run}.safetensors"
        subprocess.run([sys.executable, "-c", script, path, Path(__file__).parent], check=True)
        written.append(path.read_bytes())
    write_model(tmp_path / "here.safetensors", mixed(), dict(reversed(ABOUT.items())))
    assert {*written} == {(tmp_path / "here.safetensors").read_bytes()}


def test_the_peers_of_a_closing_round_write_the_same_bytes(tmp_path: Path) -> None:
    def step(peer: SwarmPeer) -> None:
        peer.arrays["w"] += 1.0 if peer.name == "ada" else 2.0

    swarm = MemorySwarm(sync_interval=4, world_size=2)
    peers = [swarm.peer(name, {"w": np.zeros(3)}, model_dir=tmp_path / name) for name in ("ada", "bob")]
    together(*(partial(peer.train, 6, step) for peer in peers))
    ada, bob = ((tmp_path / name / "swarm-final.safetensors").read_bytes() for name in ("ada", "bob"))
    assert ada == bob
