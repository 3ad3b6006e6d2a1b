"""A model that is written part by part."""

from __future__ import annotations

import numpy as np
import pytest

from swarm.storage.files import stored_tensors, write_model, write_parts
from swarm.tensors.state import ModelState, Schema, TensorKind, TensorSpec, Tied, as_bytes

SCHEMA = Schema(
    (
        TensorSpec("head", (3, 2), "float16", tied=(Tied("head.again"),)),
        TensorSpec("body", (4, 5), "float32"),
        TensorSpec("wave", (3, 2), "float32", complex=True),
        TensorSpec("wide", (3, 2), "float64", complex=True),
        TensorSpec("body", (2,), "bfloat16"),
        TensorSpec("n", (), "int64", TensorKind.COUNTER),
        TensorSpec("none", (0, 3), "float32"),
    )
)


@pytest.mark.parametrize("cut", [1, 7, 1000])
def test_it_gives_the_same_file_as_a_whole_model(tmp_path, cut: int) -> None:
    model = ModelState.empty(SCHEMA)
    for index, (_, array) in enumerate(model.arrays()):
        array[...] = np.arange(array.size).reshape(array.shape) + index
    values = [bytes(as_bytes(np.ascontiguousarray(array))) for _, array in model.arrays()]
    joined = b"".join(values[index] for _, index in stored_tensors(SCHEMA))
    about = {"digest": model.digest()}
    write_model(tmp_path / "whole", model, about)
    write_parts(tmp_path / "parts", SCHEMA, (joined[at : at + cut] for at in range(0, len(joined), cut)), about)
    assert (tmp_path / "parts").read_bytes() == (tmp_path / "whole").read_bytes()
