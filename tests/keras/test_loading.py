"""The imports of the integration, and the models that it supports."""

from __future__ import annotations

import os
import subprocess
import sys

import keras
import pytest

from swarm_keras._plugin import serves

BACKEND = keras.backend.backend()


def loaded(code: str) -> set[str]:
    """The frameworks a fresh interpreter has loaded after ``code``."""
    script = f"import sys; {code}; print(*({{'keras', 'tensorflow', 'torch', 'jax', 'grpc'}} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=100, check=True, env=os.environ
    )
    return set(done.stdout.split())


def test_the_package_and_its_plugin_are_light() -> None:
    assert loaded("import swarm_keras, swarm_keras._plugin") == set()


@pytest.mark.skipif(BACKEND != "tensorflow", reason="torch is loaded by its own backend, and by keras where jax is")
def test_a_tensorflow_session_loads_no_torch() -> None:
    assert "torch" not in loaded("from swarm_keras import SwarmCallback; import swarm_keras.evaluation")


def test_keras_models_are_served_by_their_classes(make_model) -> None:
    class Own(keras.Model):
        pass

    assert serves(make_model())
    assert serves(Own())
    assert not serves(keras.layers.Dense(1))
    assert not serves(object())


def test_the_general_callback_is_this_one_for_a_keras_model(make_model) -> None:
    import swarm
    import swarm_keras

    by_model = swarm.SwarmCallback(model=make_model(), loopback=True)
    by_platform = swarm.SwarmCallback(ml_platform="TF", loopback=True)
    own = swarm_keras.SwarmCallback(loopback=True)
    for callback in (by_model, by_platform, own):
        assert type(callback) is swarm_keras.SwarmCallback
        assert isinstance(callback, swarm.SwarmCallback)
        assert isinstance(callback, keras.callbacks.Callback)


def test_a_real_session_trains_alone(make_model, xy, tmp_path) -> None:
    import swarm_keras

    callback = swarm_keras.SwarmCallback(loopback=True, model_dir=tmp_path, val_data=xy)
    history = make_model().fit(*xy, batch_size=4, epochs=2, callbacks=[callback], verbose=0)
    assert history.history["swarm_rounds"] == [0.0, 0.0]
    assert callback.swarm_over
    assert (tmp_path / "swarm-final.safetensors").exists()


def test_unknown_attributes_are_no_surprise() -> None:
    import swarm_keras

    with pytest.raises(AttributeError, match="nonsense"):
        swarm_keras.nonsense  # noqa: B018
