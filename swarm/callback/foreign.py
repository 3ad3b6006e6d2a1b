"""Models, trainers and platforms that Swarm does not train: what they are, and what their user can do instead.

They are recognised by the names of classes and of their modules, so that nothing has to be installed or imported.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

KERAS_2 = (
    "Keras 3 is needed, and tf_keras, TF_USE_LEGACY_KERAS=1 and keras<3 are Keras 2: pip install 'keras>=3.5', unset "
    "TF_USE_LEGACY_KERAS, and build the model with `import keras`, or with tf.keras of TensorFlow 2.16 or later"
)
_OTHER_MODEL = "train a torch.nn.Module or a Keras 3 model instead, ml_platform makes no difference"
_SKLEARN = (
    "pip install swarm-sklearn, for estimators that have partial_fit; or train a torch.nn.Module or a Keras 3 model"
)
_HUGGING_FACE = (
    "with a transformers.Trainer, pip install swarm-transformers and write Trainer(..., "
    "callbacks=[swarm_transformers.SwarmTrainerCallback(...)]); in a training loop of your own, give the model for "
    "PyTorch as model=, leave ml_platform out, and call the hooks"
)
_OWN_LOOP = "give the torch.nn.Module inside as model=, and call the hooks in a training loop of your own"
_LIGHTNING = (
    "leave model= out and write Trainer(callbacks=[swarm_lightning.SwarmLightningCallback(...)]), Lightning hands the "
    "module over"
)
_JAX = "JAX is supported through Keras 3 alone: build a keras.Model with KERAS_BACKEND=jax"


class Foreign(NamedTuple):
    """What was given instead of a model that can be trained, and what to do."""

    what: str
    """With its article, and what it is if not supported."""
    remedy: str


class _Kind(NamedTuple):
    matches: Callable[[str, str], bool]
    """Whether a class, by its module and name, is of this kind."""
    foreign: Foreign


def _of(*packages: str, names: tuple[str, ...] = ()) -> Callable[[str, str], bool]:
    """Classes of one of these packages, by any of these names if there are some."""

    def matches(module: str, name: str) -> bool:
        inside = any(module == package or module.startswith(f"{package}.") for package in packages)
        return inside and (not names or name in names)

    return matches


def is_keras_2(module: str) -> bool:
    """Whether a module of this name is one of Keras 2, whichever package holds it."""
    package, *parts = module.split(".")
    return (
        package == "tf_keras"
        or (package == "keras" and "engine" in parts)
        or _of("tensorflow.python.keras")(module, "")
    )


_KINDS = (
    _Kind(lambda module, _: is_keras_2(module), Foreign("a Keras 2 model, which is not supported", KERAS_2)),
    _Kind(
        _of("transformers", "trl", names=("Trainer", "Seq2SeqTrainer", "TrainerCallback")),
        Foreign("a Hugging Face Trainer or callback, not a model", _HUGGING_FACE),
    ),
    _Kind(
        _of("lightning", "pytorch_lightning", names=("Trainer", "LightningDataModule", "Callback")),
        Foreign("a part of Lightning, not a model", _LIGHTNING),
    ),
    _Kind(_of("fastai"), Foreign("a fastai object, which is not supported", _OWN_LOOP)),
    _Kind(_of("xgboost"), Foreign("an XGBoost model, which is not supported", _OTHER_MODEL)),
    _Kind(_of("lightgbm"), Foreign("a LightGBM model, which is not supported", _OTHER_MODEL)),
    _Kind(_of("catboost"), Foreign("a CatBoost model, which is not supported", _OTHER_MODEL)),
    _Kind(_of("sklearn"), Foreign("a scikit-learn estimator, which the plugin swarm-sklearn trains", _SKLEARN)),
    _Kind(_of("flax", "haiku", "equinox"), Foreign("a model of a JAX library, which is not supported", _JAX)),
    _Kind(_of("jax", "jaxlib"), Foreign("JAX arrays or functions, which are not supported", _JAX)),
    _Kind(_of("transformers"), Foreign("a Hugging Face object, but no torch.nn.Module", _HUGGING_FACE)),
    _Kind(
        _of("keras"),
        Foreign(
            "a part of Keras, but no keras.Model",
            "give the keras.Model that is trained, or leave model= out with fit()",
        ),
    ),
    _Kind(
        _of("tensorflow"),
        Foreign(
            "a TensorFlow object, but no Keras 3 model: a tf.Module, a SavedModel and a tf.estimator are not supported",
            "build the model as a keras.Model, and load one from a .keras file with keras.models.load_model",
        ),
    ),
    _Kind(
        _of("torch.optim"),
        Foreign("a torch optimizer, not a model", "give the torch.nn.Module whose parameters it holds"),
    ),
    _Kind(_of("torch"), Foreign("a torch object, but no torch.nn.Module", "give the torch.nn.Module that is trained")),
)
_PLATFORMS = (
    (("HF", "HUGGING", "TRANSFORMER"), f"Transformers is 'HF_TRANSFORMER': {_HUGGING_FACE}"),
    (("SKLEARN", "SCIKIT"), f"scikit-learn is 'SKLEARN': {_SKLEARN}"),
    (("XGB", "LIGHTGBM", "LGBM", "CATBOOST"), "trees are not supported: train a torch.nn.Module or a Keras 3 model"),
    (("JAX", "FLAX"), _JAX),
    (("TENSORFLOW", "TF"), "write 'TF' or 'KERAS' for a Keras 3 model, whichever backend it has"),
    (("KERAS",), "write 'KERAS' for a Keras 3 model, whichever backend it has"),
    (("LIGHTNING",), "write 'LIGHTNING', or use swarm_lightning.SwarmLightningCallback"),
    (("TORCH", "PYT"), "write 'PYTORCH' for a torch.nn.Module"),
)
_HOOKS: Mapping[str, str] = types.MappingProxyType(
    {
        "on_init_end": (
            "a transformers.Trainer was given the SwarmCallback of a raw PyTorch loop: pip install swarm-transformers, "
            "and give it swarm_transformers.SwarmTrainerCallback(...), or SwarmCallback(ml_platform='HF_TRANSFORMER')"
        ),
        "set_params": (
            "fit() of Keras was given the SwarmCallback of a PyTorch model: leave model= out, or give the keras.Model "
            "that fit() trains"
        ),
        "setup": f"a Lightning Trainer was given the SwarmCallback of a raw PyTorch loop: {_LIGHTNING}",
    }
)
"""By the first method that another framework's trainer asks a callback for."""


def foreign(model: object) -> Foreign | None:
    """What a model that no integration serves is; None where nothing is known of it."""
    if isinstance(model, type):
        known = None if _makes_models(model) else _kind(model)
        return known or Foreign("a class", f"give an instance, such as model={model.__name__}(...)")
    if isinstance(model, (types.FunctionType, types.MethodType, types.BuiltinFunctionType)):
        return Foreign("a function", "give the model that it makes, not the function")
    if isinstance(model, types.GeneratorType):
        return Foreign("a generator", "give the model itself, not model.parameters()")
    if isinstance(model, types.ModuleType):
        return Foreign("a Python module", "give the model itself")
    known = _kind(type(model))
    if known:
        return known
    leaves = list(_leaves(model))
    if leaves and all(_of("torch", "numpy")(type(leaf).__module__, "") for leaf in leaves):
        return Foreign("a collection of tensors", "give the model itself, not its state_dict() or its weights")
    if leaves and any(_of("jax", "jaxlib")(type(leaf).__module__, "") for leaf in leaves):
        return Foreign("a collection of JAX arrays, which is not supported", _JAX)
    return None


def platform_advice(platform: str) -> str:
    """What to write instead of a platform that no plugin serves; empty where nothing is known of it."""
    name = platform.upper()
    return next((advice for parts, advice in _PLATFORMS if any(part in name for part in parts)), "")


def described(model: object) -> str:
    """A model as an error names it."""
    named = isinstance(model, (type, types.FunctionType))
    return f"model={model.__qualname__ if named else type(model).__qualname__}"  # type: ignore[attr-defined]


def mismatch(model: object, wanted: str, serving: str | None, supported: str) -> str:
    """Why ``wanted`` does not serve a model, with what to do.

    Args:
        model: what was given.
        wanted: the ``ml_platform`` that was asked for.
        serving: a platform that does serve it.
        supported: all platforms, for a sentence.
    """
    if wanted == "LIGHTNING":
        remedy = _LIGHTNING
    elif serving:
        remedy = f"leave ml_platform out, or write ml_platform={serving!r}, which serves it"
    else:
        remedy = unknown(model, supported)
    return f"ml_platform={wanted!r} does not serve {described(model)}: {remedy}"


def unknown(model: object, supported: str) -> str:
    """What a model is that nobody serves, what is supported, and what to do."""
    known = foreign(model)
    if known is None:
        return (
            f"{described(model)} is of no known framework: supported are {supported}; give the torch.nn.Module or the "
            "Keras 3 model that is trained"
        )
    return f"{described(model)} is {known.what}; supported are {supported}: {known.remedy}"


def hook_of_another(name: str) -> str | None:
    """The explanation for a method that another framework's trainer asks for; None for any other name."""
    return _HOOKS.get(name)


def _kind(cls: type) -> Foreign | None:
    """What instances of a class are, by the first kind that knows one of its bases."""
    bases = [(str(base.__module__), base.__name__) for base in cls.__mro__]
    return next((kind.foreign for kind in _KINDS if any(kind.matches(*base) for base in bases)), None)


def _makes_models(cls: type) -> bool:
    """Whether instances of a class are torch modules or Keras 3 models."""
    bases = [(str(base.__module__), base.__name__) for base in cls.__mro__]
    models = {"torch": "Module", "keras": "Model"}
    return any(models.get(module.split(".")[0]) == name and not is_keras_2(module) for module, name in bases)


def _leaves(value: object, depth: int = 8) -> Iterator[object]:
    """The first leaf of each part of a nested container; a container that holds itself has an end, too."""
    if depth and isinstance(value, Mapping):
        value = list(value.values())
    if depth and isinstance(value, (list, tuple)):
        for item in value[:8]:
            yield from _leaves(item, depth - 1)
    elif not isinstance(value, (Mapping, list, tuple)):
        yield value
