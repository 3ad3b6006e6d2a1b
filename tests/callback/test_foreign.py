"""Who gives what Swarm does not train is told what it is, what is supported and what to do, never in a circle."""

from __future__ import annotations

import re
import sys
from types import ModuleType

import pytest

import swarm
from swarm.callback.foreign import foreign
from swarm.errors import ConfigurationError


def fake(module: str, name: str, *bases: type) -> type:
    """A class as a framework would have it, of which nothing is installed."""
    return type(name, bases or (object,), {"__module__": module})


PLUGINS = ["sklearn", "transformers"]
"""Those that serve what is foreign here."""
KERAS_2_MODEL = fake("tf_keras.src.engine.training", "Model", fake("tensorflow.python.module.module", "Module"))
SKLEARN = fake("sklearn.base", "BaseEstimator")
MODULE = fake("torch.nn.modules.module", "Module")
KERAS_2 = r"Keras 2 model.*Keras 3 is needed.*pip install 'keras>=3.5'"
GIVEN = {
    "tf_keras": (fake("tf_keras.src.engine.sequential", "Sequential", KERAS_2_MODEL)(), KERAS_2),
    "keras 2.15": (fake("__main__", "Net", fake("keras.src.engine.training", "Model"))(), KERAS_2),
    "keras 2.6": (fake("keras.engine.functional", "Functional", fake("keras.engine.training", "Model"))(), KERAS_2),
    "TensorFlow's Keras 2": (fake("tensorflow.python.keras.engine.training", "Model")(), KERAS_2),
    "Hugging Face for TensorFlow": (fake("transformers.models.bert", "TFBertModel", KERAS_2_MODEL)(), KERAS_2),
    "scikit-learn": (
        fake("sklearn.linear_model", "SGDClassifier", SKLEARN)(),
        "scikit-learn estimator.*torch.nn.Module",
    ),
    "own scikit-learn": (fake("__main__", "Mine", SKLEARN)(), "scikit-learn estimator"),
    "XGBoost": (fake("xgboost.sklearn", "XGBClassifier", SKLEARN)(), "XGBoost model.*Keras 3 model instead"),
    "LightGBM": (fake("lightgbm.basic", "Booster")(), "LightGBM model"),
    "Trainer": (
        fake("transformers.trainer", "Trainer")(),
        r"Hugging Face Trainer.*not a model.*pip install swarm-transformers.*SwarmTrainerCallback",
    ),
    "own Trainer": (fake("__main__", "T", fake("transformers.trainer", "Trainer"))(), "Hugging Face Trainer"),
    "Lightning's Trainer": (fake("lightning.pytorch.trainer.trainer", "Trainer")(), "SwarmLightningCallback"),
    "Lightning's other Trainer": (fake("pytorch_lightning.trainer.trainer", "Trainer")(), "SwarmLightningCallback"),
    "SavedModel": (fake("tensorflow.python.saved_model.load", "_UserObject")(), "SavedModel.*keras.models.load_model"),
    "tf.Module": (
        fake("__main__", "Net", fake("tensorflow.python.module.module", "Module"))(),
        "tf.Module.*keras.Model",
    ),
    "Keras layer": (fake("keras.src.layers.core.dense", "Dense")(), "no keras.Model: *|no keras.Model;"),
    "flax": (fake("__main__", "Net", fake("flax.linen.module", "Module"))(), "KERAS_BACKEND=jax"),
    "pytree": ({"dense": [fake("jaxlib._jax", "ArrayImpl")()]}, "collection of JAX arrays.*KERAS_BACKEND=jax"),
    "state_dict": ({"weight": fake("torch", "Tensor")()}, r"not its state_dict\(\)"),
    "class": (fake("__main__", "Net", MODULE), r"model=Net is a class.*model=Net\(\.\.\.\)"),
    "class of scikit-learn": (fake("sklearn.svm", "SVC", SKLEARN), "scikit-learn estimator"),
    "function": (lambda: None, "a function"),
    "parameters": ((number for number in ()), r"not model.parameters\(\)"),
    "optimizer": (fake("torch.optim.sgd", "SGD", fake("torch.optim.optimizer", "Optimizer"))(), "torch optimizer"),
    "package": (ModuleType("resnet"), "a Python module"),
    "path": ("resnet.pt", "model=str is of no known framework.*give the torch.nn.Module or the Keras 3 model"),
    "nothing": (3, "model=int is of no known framework"),
}


@pytest.mark.parametrize("platform", [None, "KERAS", "TF", "PYTORCH"])
@pytest.mark.parametrize("given", GIVEN)
def test_a_model_that_is_not_supported_is_named_with_what_to_do(given: str, platform: str | None) -> None:
    model, expected = GIVEN[given]
    with pytest.raises(ConfigurationError, match=f"(?s){expected}") as caught:
        swarm.SwarmCallback(model=model, ml_platform=platform, disabled_plugins=PLUGINS)
    message = str(caught.value)
    assert re.search("supported are 'PYTORCH'.*'KERAS'", message)
    assert not re.search("give ml_platform|leave ml_platform out", message) or "Hugging Face" in message


def test_a_container_that_holds_itself_is_no_trap() -> None:
    endless: list[object] = []
    endless.append(endless)
    assert foreign(endless) is None


def test_a_model_that_another_platform_serves_is_sent_there() -> None:
    module = fake("__main__", "Net", MODULE)()
    with pytest.raises(ConfigurationError, match="ml_platform='TF' does not serve model=Net.*or write.*'PYTORCH'"):
        swarm.SwarmCallback(model=module, ml_platform="TF")
    with pytest.raises(
        ConfigurationError, match=r"(?s)'LIGHTNING' does not serve model=Net: leave model= out.*Trainer\("
    ):
        swarm.SwarmCallback(model=module, ml_platform="LIGHTNING")


@pytest.mark.parametrize(
    ("platform", "advice"),
    [
        ("HF_TRANSFORMER", "Transformers is 'HF_TRANSFORMER': .*pip install swarm-transformers"),
        ("hf_trainer", "Transformers is 'HF_TRANSFORMER': .*SwarmTrainerCallback"),
        ("SKLEARN", "pip install swarm-sklearn"),
        ("scikit-learn", "scikit-learn is 'SKLEARN': pip install swarm-sklearn"),
        ("XGBoost", "trees are not supported"),
        ("TensorFlow", "write 'TF' or 'KERAS'"),
        ("TF_KERAS", "write 'TF' or 'KERAS'"),
        ("torch", "write 'PYTORCH'"),
        ("PYTORCH_LIGHTNING", "write 'LIGHTNING'"),
        ("JAX", "KERAS_BACKEND=jax"),
    ],
)
def test_a_platform_that_nobody_serves_comes_with_what_to_write(platform: str, advice: str) -> None:
    with pytest.raises(ConfigurationError, match=f"is served by no plugin: known are 'PYTORCH'.*; .*{advice}"):
        swarm.SwarmCallback(ml_platform=platform, disabled_plugins=PLUGINS)


def test_without_a_model_an_imported_keras_2_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "keras", raising=False)
    monkeypatch.setitem(sys.modules, "tf_keras", ModuleType("tf_keras"))
    with pytest.raises(ConfigurationError, match=r"tf_keras is imported: Keras 3 is needed"):
        swarm.SwarmCallback()


@pytest.mark.parametrize("name", ["swarm", "swarm_keras"])
def test_an_installed_keras_2_is_named(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    old = ModuleType("keras")
    old.__version__ = "2.15.0"
    monkeypatch.setitem(sys.modules, "keras", old)
    monkeypatch.delitem(sys.modules, "swarm_keras.callback", raising=False)
    module = __import__(name)
    monkeypatch.delitem(vars(module), "SwarmCallback", raising=False) if name == "swarm_keras" else None
    with pytest.raises(ConfigurationError, match=r"the installed keras 2\.15\.0 is too old: Keras 3 is needed"):
        module.SwarmCallback(sync_interval=2)


def test_a_file_of_the_user_that_hides_keras_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    hiding = ModuleType("keras")
    hiding.__file__ = "/home/ada/keras.py"
    monkeypatch.setitem(sys.modules, "keras", hiding)
    module = __import__("swarm_keras")
    monkeypatch.delitem(vars(module), "SwarmCallback", raising=False)
    with pytest.raises(
        ConfigurationError, match=r"/home/ada/keras\.py hides the installed keras: give that file another"
    ):
        module.SwarmCallback(sync_interval=2)
