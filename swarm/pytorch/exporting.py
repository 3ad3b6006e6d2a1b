"""Writes the tensors of a run as a ``state_dict``, and a torch model as ONNX."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import logging
from typing import TYPE_CHECKING

import torch

from swarm.errors import ConfigurationError, MissingExtraError, ModelError, UnreadableFileError
from swarm.pytorch.arrays import shared_tensor
from swarm.pytorch.loading import load_weights
from swarm.pytorch.names import unwrap
from swarm.storage.files import VIEW_AS_REAL, load_tensors, map_tensors, read_about
from swarm.text import MAX_SHOWN, printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from swarm.plugins.exports import Export
    from swarm.tensors.state import Array

_NEEDED = ("onnx", "onnxscript")
_MOST = 2**31 - 2**20
"""Bytes of an ONNX file, which cannot have 2 GiB."""


def write_state_dict(export: Export) -> None:
    """Write a ``state_dict`` that ``torch.load(..., weights_only=True)`` reads.

    It has the tensors of the file. With a model it has all of that one's, those that the file lacks as they are in it.

    Raises:
        ModelError: the file cannot be read, or is of another model.
    """
    if export.model is None:
        tensors = _tensors(export.source, load_tensors)
    else:
        load_weights(export.model, export.source)
        tensors = dict(unwrap(export.model).state_dict())
    _save(tensors, export.output)


def write_result(source: Path, path: Path) -> None:
    """Write the tensors of a file of this run as ``write_state_dict`` does, without all of them in memory.

    Raises:
        OSError: the disk is full, or a file cannot be read.
        ModelError: the source cannot be read.
    """
    _save(_tensors(source, map_tensors), path)


def write_onnx(export: Export) -> None:
    """Write an ONNX model, in evaluation mode, with a batch of any size.

    Raises:
        ConfigurationError: model or inputs are missing, or torch cannot export it.
        MissingExtraError: a package for ONNX is not installed.
        ModelError: the file cannot be read, or is of another model.
    """
    model: torch.nn.Module = unwrap(export.require_model("ONNX"))
    if not export.inputs:
        raise ConfigurationError(
            "ONNX needs the form of the inputs: give --input SHAPE for each, such as --input 1,28,28 or --input "
            "1,16:int64, where the first size is that of the batch"
        )
    if missing := [name for name in _NEEDED if importlib.util.find_spec(name) is None]:
        raise MissingExtraError(f"ONNX needs {' and '.join(missing)}: pip install 'swarm-learning[onnx]'")
    load_weights(model, export.source)
    size = sum(tensor.numel() * tensor.element_size() for tensor in model.state_dict().values())
    examples = tuple(torch.zeros(example.shape, dtype=_dtype(example.dtype)) for example in export.inputs)
    with _quietly():
        try:
            torch.onnx.export(
                model.cpu().eval(),
                examples,
                export.output,
                dynamo=True,
                external_data=size > _MOST,
                dynamic_shapes=tuple({0: torch.export.Dim.AUTO} for _ in export.inputs),
                verbose=False,
            )
        except OSError:
            raise
        except Exception as error:
            _require_taken(model, examples)
            raise ConfigurationError(
                f"{type(model).__name__} cannot be written as ONNX ({_shown(_first_cause(error))}): torch.onnx.export "
                "does not take the model as it is"
            ) from error


def _require_taken(model: torch.nn.Module, examples: tuple[torch.Tensor, ...]) -> None:
    """Call the model once after the exporter has failed, as its own errors say more.

    Raises:
        ConfigurationError: it takes no such inputs.
    """
    try:
        with torch.no_grad():
            model(*examples)
    except Exception as error:
        given = " and ".join(str(list(example.shape)) for example in examples)
        raise ConfigurationError(
            f"{type(model).__name__} does not take inputs of the sizes {given} ({_shown(error)}): correct --input"
        ) from error


def _first_cause(error: BaseException) -> BaseException:
    seen = []
    while error.__cause__ is not None and error not in seen:
        seen.append(error)
        error = error.__cause__
    return error


def _shown(error: BaseException) -> str:
    return printable(f"{type(error).__name__}: {error}".split("\n", 1)[0], MAX_SHOWN)


def _dtype(name: str) -> torch.dtype:
    dtype = getattr(torch, name, None)
    if not isinstance(dtype, torch.dtype):
        raise ConfigurationError(f"--input has the dtype {name!r}, which torch does not have")
    return dtype


def _save(tensors: dict[str, torch.Tensor], path: Path) -> None:
    torch.save(tensors, path)  # the only place, and with tensors alone


def _tensors(source: Path, load: Callable[[Path], dict[str, Array]]) -> dict[str, torch.Tensor]:
    try:
        pairs = set(json.loads(read_about(source).get(VIEW_AS_REAL, "[]")))
        tensors = {name: shared_tensor(array) for name, array in load(source).items()}
    except UnreadableFileError as error:
        raise ModelError(f"{source} cannot be read: {error}") from error
    return {name: torch.view_as_complex(each) if name in pairs else each for name, each in tensors.items()}


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Without the progress of the exporter, and without what torch logs and prints beside its exceptions."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        logging.disable(before)
