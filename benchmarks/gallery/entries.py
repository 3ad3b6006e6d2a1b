"""The examples of the gallery: each with its script, its data and what is measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from benchmarks.gallery import data
from benchmarks.gallery.data import Divided


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One row of the gallery."""

    name: str
    """Of its tables, and for ``--only``."""
    script: str
    """In ``examples/``."""
    what: str
    """What it shows, in a few words."""
    load: Callable[[int], Divided]
    """The data of all sites, from a seed."""
    tested: str
    """What it is tested on."""
    options: tuple[str, ...] = ()
    """Of the script, besides the seed."""
    variables: Mapping[str, str] = field(default_factory=dict)
    score: str = "accuracy"
    """What the script reports."""

    @property
    def command(self) -> str:
        """The script with its options and variables, as typed in ``examples/``."""
        variables = (f"{name}={value}" for name, value in self.variables.items())
        return " ".join([*variables, "python", self.script, *self.options])


_DIGITS = {"load": data.digits, "tested": "the same 1,000 images for all sites", "options": ("--epochs", "2")}
_PATIENTS = {"load": data.patients, "tested": "the same 184 patients, of all four hospitals"}

ENTRIES = (
    Entry(name="torch_mnist", script="torch_mnist.py", what="digits, PyTorch", **_DIGITS),
    Entry(
        name="keras_mnist",
        script="keras_mnist.py",
        what="digits, Keras on TensorFlow",
        variables={"KERAS_BACKEND": "tensorflow"},
        **_DIGITS,
    ),
    Entry(name="lightning_mnist", script="lightning_mnist.py", what="digits, Lightning", **_DIGITS),
    Entry(
        name="torch_cnn",
        script="torch_cnn.py",
        what="digits from four scanners, a CNN with BatchNorm",
        load=data.scanners,
        tested="1,000 images as the site's own scanner gives them; `pooled` on those of all four",
    ),
    Entry(
        name="biased_sites",
        script="biased_sites.py",
        what="tumours, a table, each site with another mix; Keras on JAX",
        load=data.tumours,
        tested="the same 113 tumours for all sites",
        variables={"KERAS_BACKEND": "jax"},
    ),
    Entry(name="heart", script="heart.py", what="heart disease, weights by patients", **_PATIENTS),
    Entry(name="before_training", script="before_training.py", what="heart disease, common statistics", **_PATIENTS),
    Entry(
        name="transformers_notes",
        script="transformers_notes.py",
        what="notes on patients, a language model with LoRA",
        **_PATIENTS,
    ),
    Entry(
        name="progression",
        script="progression.py",
        what="progression of diabetes, a regression",
        load=data.clinics,
        tested="the same 88 patients for all sites, of all ages",
        score="R²",
    ),
    Entry(
        name="sklearn_linear",
        script="sklearn_heart.py",
        what="heart disease, scikit-learn's linear model",
        options=("--model", "linear"),
        **_PATIENTS,
    ),
    Entry(
        name="sklearn_bayes",
        script="sklearn_heart.py",
        what="heart disease, scikit-learn's naive Bayes",
        options=("--model", "bayes"),
        **_PATIENTS,
    ),
)
BY_NAME: Mapping[str, Entry] = {entry.name: entry for entry in ENTRIES}
