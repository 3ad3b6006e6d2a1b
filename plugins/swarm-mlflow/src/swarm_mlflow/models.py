"""Writes the file of a model as a model of MLflow: a directory with ``MLmodel``, and a signature where one is known."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlflow.models import ModelSignature

FLAVOR = "swarm"
FILE = "model.safetensors"

_signatures: list[ModelSignature] = []


def signature(inputs: Any, outputs: Any = None) -> None:
    """Tell what the model of this process takes and gives, for the models that will be logged.

    A file of weights does not say it. Call it once, before the training ends::

        swarm_mlflow.signature(x[:4], model(x[:4]).detach().numpy())

    Args:
        inputs: a few samples: an array of NumPy, a data frame of pandas, or a dictionary of arrays.
        outputs: what the model gives for them, as an array or as above; None if that is not to be said.
    """
    from mlflow.models import infer_signature

    _signatures[:] = [infer_signature(inputs, outputs)]


def write(directory: Path, file: Path, about: dict[str, Any], run: str) -> None:
    """Write a model of MLflow.

    Args:
        directory: where; it gets ``MLmodel`` and the weights.
        file: the weights, as safetensors.
        about: what the flavor says about them.
        run: the id of the run that it belongs to.
    """
    from mlflow.models import Model

    directory.mkdir(parents=True)
    shutil.copyfile(file, directory / FILE)
    model = Model(artifact_path=directory.name, run_id=run, signature=_signatures[0] if _signatures else None)
    model.add_flavor(FLAVOR, data=FILE, **about)
    model.save(str(directory / "MLmodel"))
