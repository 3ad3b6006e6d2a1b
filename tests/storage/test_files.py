"""The files that models are written to: the library reads them, and equal models give equal bytes."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file

from swarm.errors import ModelError
from swarm.storage.files import (
    VIEW_AS_REAL,
    UnreadableFileError,
    load_into,
    load_tensors,
    read_model_file,
    replace_file,
    stored_names,
    write_model,
)
from swarm.tensors.state import ModelState, Schema, TensorKind, TensorSpec, Tied, numpy_dtype
from swarm.testing.swarm import ArrayModel, MemorySwarm, SwarmPeer, together

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


ONES = ModelState(Schema((TensorSpec("w", (3,), "float32"),)), {"float32": np.ones(3, np.float32)}, [])


def offset_of_the_data(path: Path) -> int:
    return 8 + int.from_bytes(path.read_bytes()[:8], "little")


@pytest.mark.parametrize("length", range(9))
def test_the_data_begins_at_a_multiple_of_eight(tmp_path: Path, length: int) -> None:
    write_model(tmp_path / "file", ONES, {"about": "x" * length})
    assert offset_of_the_data(tmp_path / "file") % 8 == 0
    assert offset_of_the_data(tmp_path / "file") < 180


@pytest.mark.parametrize("dtype", ["float64", "bfloat16", "float8_e4m3fn", "int8", "uint64", "bool"])
def test_a_tensor_of_any_dtype_comes_back(tmp_path: Path, dtype: str) -> None:
    kind = TensorKind.STATE
    state = ModelState.empty(Schema((TensorSpec("t", (2, 2), dtype, kind),)))
    state.side[0][...] = np.eye(2).astype(numpy_dtype(dtype))
    write_model(tmp_path / "file", state, {})
    assert read_model_file(tmp_path / "file", state.schema).digest() == state.digest()


@pytest.mark.parametrize(("shape", "dtype"), [((3,), "float64"), ((3, 1), "float32"), ((4,), "float32")])
def test_another_shape_or_dtype_is_refused_with_both(tmp_path: Path, shape: tuple[int, ...], dtype: str) -> None:
    write_model(tmp_path / "file", ONES, {})
    with pytest.raises(ModelError) as refused:
        read_model_file(tmp_path / "file", Schema((TensorSpec("w", shape, dtype),)))
    assert str(refused.value) == f"'w' is float32[3] in the file, and {dtype}{[*shape]} in the model"


def test_a_file_that_is_not_there_is_an_unreadable_one(tmp_path: Path) -> None:
    with pytest.raises(UnreadableFileError, match="No such file"):
        load_tensors(tmp_path / "file")


def test_an_unknown_dtype_is_named(tmp_path: Path) -> None:
    write_model(tmp_path / "file", ONES, {})
    data = (tmp_path / "file").read_bytes().replace(b'"F32","shape":[3]', b'"F8_E8M0","shape":[12]')
    size = int.from_bytes(data[:8], "little") + len(data) - (tmp_path / "file").stat().st_size
    (tmp_path / "file").write_bytes(size.to_bytes(8, "little") + data[8:])
    with pytest.raises(UnreadableFileError, match="it has a tensor of dtype 'F8_E8M0'"):
        load_tensors(tmp_path / "file")


def test_a_file_is_loaded_into_a_model_and_what_it_lacks_stays(tmp_path: Path) -> None:
    write_model(tmp_path / "file", ONES, {})
    model = ArrayModel({"w": np.zeros(3, np.float32), "head": np.full(2, 7.0)})
    load_into(model, tmp_path / "file")
    assert model.arrays["w"].tolist() == [1, 1, 1]
    assert model.arrays["head"].tolist() == [7, 7]


def test_tensors_are_renamed_before_they_are_loaded(tmp_path: Path) -> None:
    write_model(tmp_path / "file", ONES, {})
    model = ArrayModel({"v": np.zeros(3, np.float32), "head": np.zeros(2)})
    asked: list[list[str]] = []

    def rename(tensors: dict[str, np.ndarray], names: list[str]) -> dict[str, np.ndarray]:
        asked.append(names)
        return {"v": tensors["w"]}

    load_into(model, tmp_path / "file", rename)
    assert model.arrays["v"].tolist() == [1, 1, 1]
    assert asked == [["v", "head"]]


def test_what_cannot_be_loaded_is_said_with_the_file_and_changes_nothing(tmp_path: Path) -> None:
    model = ArrayModel({"w": np.zeros(4, np.float32)})
    with pytest.raises(ModelError, match=r"file cannot be read: .*No such file"):
        load_into(model, tmp_path / "file")
    write_model(tmp_path / "file", ONES, {})
    with pytest.raises(ModelError, match=r"file is of another model: 'w' is float32\[3\]"):
        load_into(model, tmp_path / "file")
    other = ArrayModel({"v": np.zeros(3, np.float32)})
    with pytest.raises(ModelError, match=r"file is of another model: 'w' is in the file, and not in the model"):
        load_into(other, tmp_path / "file")
    assert model.arrays["w"].tolist() == [0] * 4


def test_tied_tensors_are_written_under_each_name_and_as_each_sees_them(tmp_path: Path) -> None:
    tied = (Tied("same"), Tied("turned", (1, 0), (2, 3), (3, 1)))
    state = ModelState.empty(Schema((TensorSpec("w", (3, 2), "float32", tied=tied),)))
    (_, array), *_ = state.arrays()
    array[...] = np.arange(6).reshape(3, 2)
    write_model(tmp_path / "file", state, {})
    read = load_file(tmp_path / "file")
    assert read["w"].tolist() == read["same"].tolist() == array.tolist()
    assert read["turned"].tolist() == array.T.tolist()
    assert read_model_file(tmp_path / "file", state.schema).digest() == state.digest()


@pytest.mark.parametrize(("dtype", "listed"), [("float32", False), ("float64", True), ("float16", True)])
def test_complex_tensors_are_complex_or_listed(tmp_path: Path, dtype: str, listed: bool) -> None:
    specs = (
        TensorSpec("c", (3, 2), dtype, complex=True, tied=(Tied("again"),)),
        TensorSpec("real", (2,), dtype),
    )
    state = ModelState.empty(Schema(specs))
    for _, array in state.arrays():
        array[...] = np.arange(array.size).reshape(array.shape)
    write_model(tmp_path / "file", state, {})
    assert read_model_file(tmp_path / "file", state.schema).digest() == state.digest()
    with safe_open(tmp_path / "file", "numpy") as file:
        about = file.metadata() or {}
    assert json.loads(about.get(VIEW_AS_REAL, "[]")) == (["again", "c"] if listed else [])
    tensors = load_tensors(tmp_path / "file")
    assert tensors["c"].shape == tensors["again"].shape == ((3, 2) if listed else (3,))
    if not listed:
        assert tensors["c"].tolist() == [1j, 2 + 3j, 4 + 5j]


def test_names_that_several_tensors_share_are_numbered() -> None:
    names = ["w", "w", "w#2", "w", "v"]
    schema = Schema(tuple(TensorSpec(name, (), "float32") for name in names))
    assert stored_names(schema) == ["w", "w#2", "w#2#2", "w#3", "v"]


def test_a_write_that_fails_leaves_what_was_there_and_no_draft(tmp_path: Path) -> None:
    replace_file(tmp_path / "file", b"one", b"two")
    assert (tmp_path / "file").read_bytes() == b"onetwo"
    with pytest.raises(TypeError):
        replace_file(tmp_path / "file", b"three", "no bytes")
    assert (tmp_path / "file").read_bytes() == b"onetwo"
    assert [*tmp_path.iterdir()] == [tmp_path / "file"]
