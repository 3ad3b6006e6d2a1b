"""The result as a file of Keras: written at the end of a run, and by ``swarm export``."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from typer.testing import CliRunner

from swarm.cli.app import app
from swarm_keras import SwarmCallback

X, Y = np.random.default_rng(0).normal(size=(16, 3)).astype("float32"), np.zeros((16, 2), "float32")
SCRIPT = """
import keras

def make_model():
    return keras.Sequential([keras.Input((3,)), keras.layers.Dense(4, name="in"), keras.layers.Dense(2, name="out")])
"""


def fit(model, **arguments):
    model.compile("sgd", "mse")
    callback = SwarmCallback(loopback=True, model_dir="out", **arguments)
    model.fit(X, Y, batch_size=8, verbose=0, callbacks=[callback])
    return callback


@pytest.fixture
def make_model(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "make_it.py").write_text(SCRIPT)
    names = {}
    exec(SCRIPT, names)
    return names["make_model"]


def test_the_whole_model_is_beside_the_weights(make_model, tmp_path):
    model = make_model()
    fit(model)
    again = keras.models.load_model(tmp_path / "out" / "swarm-final.keras")
    np.testing.assert_array_equal(again.predict(X, verbose=0), model.predict(X, verbose=0))
    assert again.optimizer is not None
    fit(model)
    assert (tmp_path / "out" / "previous-swarm-final.keras").is_file()


def test_it_is_left_out_on_request(make_model, tmp_path):
    fit(make_model(), framework_result=False)
    assert {path.suffix for path in (tmp_path / "out").glob("swarm-final*")} == {".safetensors"}


def test_a_model_that_keras_cannot_write_fails_no_run(make_model, tmp_path, monkeypatch, caplog):
    model = make_model()

    def cannot(path):
        path.write_bytes(b"half")
        raise NotImplementedError("no get_config")

    monkeypatch.setattr(model, "save", cannot)
    assert fit(model).swarm_over
    assert {path.name for path in (tmp_path / "out").glob("*final*")} == {"swarm-final.safetensors"}
    assert "swarm-final.keras (NotImplementedError: no get_config); out/swarm-final.safetensors has" in caplog.text


def test_a_file_of_keras_is_exported(make_model):
    model = make_model()
    fit(model)
    result = CliRunner().invoke(app, ["export", "out", "model.keras", "--model", "make_it.py:make_model"])
    assert result.exit_code == 0, result.output
    again = keras.models.load_model("model.keras")
    np.testing.assert_array_equal(again.predict(X, verbose=0), model.predict(X, verbose=0))


@pytest.mark.timeout(300)
def test_onnx_is_exported_where_the_backend_can(make_model):
    model = make_model()
    fit(model)
    result = CliRunner().invoke(app, ["export", "out", "model.onnx", "--model", "make_it.py:make_model"])
    if keras.backend.backend() != "torch":  # needs tf2onnx, which is not installed
        assert result.exit_code == 2
        assert "Keras cannot write" in result.output
        assert "for the backend torch" in result.output
        return
    assert result.exit_code == 0, result.output
    session = pytest.importorskip("onnxruntime").InferenceSession("model.onnx")
    (found,) = session.run(None, {session.get_inputs()[0].name: X})
    np.testing.assert_allclose(found, model.predict(X, verbose=0), atol=1e-6)
