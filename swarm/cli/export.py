"""``swarm export``: a model file of a run as a file of a framework."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from swarm.callback.foreign import unknown
from swarm.cli.site import note
from swarm.errors import ConfigurationError
from swarm.plugins import Integration, PluginRegistry
from swarm.plugins.exports import ExampleInput, Export, Exporter
from swarm.storage.files import FINAL, write_aside


def export(
    source: Annotated[
        Path, typer.Argument(metavar="SOURCE", help=f"A model file of a run, or the directory with its {FINAL}.")
    ],
    output: Annotated[
        Path,
        typer.Argument(metavar="OUTPUT", help="What to write: .pt, .onnx, .keras, or a directory for Transformers."),
    ],
    *,
    model: Annotated[
        str | None,
        typer.Option(metavar="FILE:NAME", help="What makes the model as it was trained: FILE.py:FUNCTION."),
    ] = None,
    input_: Annotated[
        list[str] | None,
        typer.Option(
            "--input", metavar="SHAPE", help="For .onnx: an input, as 1,28,28 or 1,16:int64; may be repeated."
        ),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace OUTPUT if it is there.")] = False,
) -> None:
    """Write the result of a run in the format of a framework.

    [bold]swarm export out model.pt[/]
    [bold]swarm export out model.onnx --model train.py:make_model --input 1,28,28[/]
    [bold]swarm export out/swarm-final.safetensors model.keras --model train.py:make_model[/]

    The file of --model is run, so that what trains in it must be under `if __name__ == "__main__":`.
    """
    if source.is_dir():
        source /= FINAL
    if not source.is_file():
        raise ConfigurationError(f"there is no file {source}: give a model file of a run, or its model directory")
    if output.exists() and not overwrite:
        raise ConfigurationError(f"{output} is there already: give another name, or --overwrite")
    inputs = tuple(map(_input, input_ or ()))
    made = None if model is None else _made(model)
    exporter = _exporter(output.suffix, made, PluginRegistry().integrations)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # those of frameworks about their own code
        try:
            write_aside(output, lambda path: exporter(Export(source=source, output=path, model=made, inputs=inputs)))
        except OSError as error:
            raise ConfigurationError(f"{output} cannot be written: {error}") from error
    note(f"{output} is written, with the weights of {source}")


def _input(text: str) -> ExampleInput:
    shape, _, dtype = text.partition(":")
    try:
        example = ExampleInput(tuple(int(size) for size in shape.split(",")), dtype or "float32")
    except ValueError:
        example = ExampleInput(())
    if not example.shape or min(example.shape) < 1:
        raise ConfigurationError(
            f"--input {text} is not allowed: allowed are sizes from 1 with commas between them, and a dtype, such as "
            "1,28,28 or 1,16:int64; the first one is that of the batch"
        )
    return example


def _made(text: str) -> Any:
    """The model that ``FILE:NAME`` makes.

    Raises:
        ConfigurationError: there is no such file, module or name, or the code raises.
    """
    place, _, name = text.rpartition(":")
    if not place or not name.isidentifier():
        raise ConfigurationError(f"--model {text} is not allowed: allowed is FILE.py:NAME or package.module:NAME")
    try:
        found = getattr(_module(place), name, None)
        if found is None:
            raise ConfigurationError(f"--model {text}: there is no {name} in {place}")
        return found() if callable(found) and not _is_model(found) else found
    except ConfigurationError:
        raise
    except Exception as error:
        raise ConfigurationError(f"--model {text} raised {type(error).__name__}: {error}") from error


def _is_model(found: Any) -> bool:
    """Whether it is a model already, which may be callable too."""
    return any(integration.serves(found) for integration in PluginRegistry().integrations.values())


def _module(place: str) -> Any:
    path = Path(place)
    if path.suffix != ".py":
        sys.path.insert(0, "")
        return importlib.import_module(place)
    if not path.is_file():
        raise ConfigurationError(f"--model: there is no file {path}")
    sys.path.insert(0, str(path.parent.absolute()))  # as for a script
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise ConfigurationError(f"--model: {path} cannot be imported")
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


def _exporter(suffix: str, model: Any, integrations: Mapping[str, Integration]) -> Exporter:
    """What writes the format of ``suffix``: of the integrations that serve the model, the last registered one.

    Raises:
        ConfigurationError: there is none.
    """
    registered = list(dict.fromkeys(integrations.values()))
    # without a model, the first one says what it needs
    serving = registered if model is None else [each for each in reversed(registered) if each.serves(model)]
    if not serving:
        raise ConfigurationError(unknown(model, ", ".join(map(repr, integrations))))
    found = next((each.exporters[suffix] for each in serving if suffix in each.exporters), None)
    if found is None:
        raise ConfigurationError(
            f"{suffix or 'a directory'} is no format that this can be written as: allowed is "
            f"{' or '.join(_formats(serving)) or 'none for this model'}"
        )
    return found


def _formats(integrations: list[Integration]) -> Iterator[str]:
    for suffix in dict.fromkeys(suffix for each in integrations for suffix in each.exporters):
        yield suffix or "a name without a suffix, for a directory"
