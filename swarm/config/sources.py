"""Where settings are read from: arguments, ``SWARM_*`` variables, and the table ``[swarm]`` of ``swarm.toml``."""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, NamedTuple

from swarm.config.links import is_link, report_ignored
from swarm.config.settings import KINDS
from swarm.errors import ConfigurationError, UnknownArgumentError

PREFIX = "SWARM_"
FILE = "swarm.toml"
FILE_VARIABLE = "SWARM_CONFIG"
_NO_SETTINGS = (FILE_VARIABLE, "SWARM_LOG")
_SHOWN = 100


class Value(NamedTuple):
    """A checked value and where it came from."""

    value: Any
    origin: str


def from_arguments(arguments: Mapping[str, object]) -> dict[str, Value]:
    """The arguments that were given; ``None`` means not given.

    Raises:
        UnknownArgumentError: there is no such setting.
        ConfigurationError: a value is not allowed.
    """
    values = {}
    for name, value in arguments.items():
        if name not in KINDS:
            raise UnknownArgumentError(f"there is no argument {name!r}{nearest(name, KINDS)}")
        if value is not None:
            values[name] = Value(_checked(name, value, name, KINDS[name].accept), "argument")
    return values


def from_environment(environment: Mapping[str, str]) -> dict[str, Value]:
    """The settings in ``SWARM_*`` variables.

    An empty variable empties a list and stands for no ``advertise``; it counts as absent for all else. Variables that
    have the form of a service link of Kubernetes or Docker are ignored, and the log names them.

    Raises:
        ConfigurationError: a variable is unknown, or its value not allowed.
    """
    values, links = {}, []
    for variable in sorted(environment):
        if not variable.startswith(PREFIX) or variable in _NO_SETTINGS:
            continue
        name, text = variable.removeprefix(PREFIX).lower(), environment[variable]
        if is_link(variable, text, setting=name in KINDS):
            links.append(variable)
            continue
        if name not in KINDS:
            if _belongs_to_a_plugin(variable):
                continue
            known = (*(PREFIX + setting.upper() for setting in KINDS), *_NO_SETTINGS)
            raise ConfigurationError(f"there is no setting for the variable {variable}{nearest(variable, known)}")
        if text.strip() or KINDS[name].takes_empty:
            values[name] = Value(_checked(name, text, variable, KINDS[name].read), variable)
    if links:
        report_ignored(tuple(links))
    return values


def from_file(environment: Mapping[str, str], directory: Path) -> dict[str, Value]:
    """The settings in the file that ``SWARM_CONFIG`` names, else in ``swarm.toml`` of ``directory`` if there is one.

    Relative directories in it are taken from where the file is.

    Raises:
        ConfigurationError: the file cannot be read, a key is unknown, or a value not allowed.
    """
    named = environment.get(FILE_VARIABLE, "").strip()
    path = directory / (named or FILE)
    if not named and not os.path.lexists(path):
        return {}
    origin = named or FILE
    values = {}
    for name, value in _table(path).items():
        if name not in KINDS:
            raise ConfigurationError(f"{path}: there is no setting {name!r}{nearest(name, KINDS)}")
        checked = _checked(name, value, origin, KINDS[name].accept)
        if KINDS[name].is_path:
            checked = path.parent / checked
        values[name] = Value(checked, origin)
    return values


def nearest(name: str, known: Iterable[str]) -> str:
    """The end of a sentence about an unknown name: the known ones nearest to it."""
    names = list(known)
    close = difflib.get_close_matches(name, names, n=1) or difflib.get_close_matches(name.lower(), names, n=1)
    return f": did you mean {close[0]!r}?" if close else f"; known are {', '.join(sorted(names))}"


def _table(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            content = tomllib.load(file)
    except OSError as error:
        hint = f"check {FILE_VARIABLE}" if path.name != FILE else "make it a file that this user can read, or remove it"
        raise ConfigurationError(f"{path} cannot be read ({error.strerror}): {hint}") from error
    except RecursionError:
        raise ConfigurationError(f"{path} is nested too deeply: settings need one table [swarm]") from None
    except ValueError as error:  # no TOML, no UTF-8, or a number that is too long
        raise ConfigurationError(f"{path} is no TOML file: {error}") from error
    others = sorted(content.keys() - {"swarm"})
    table = content.get("swarm", {})
    if others or not isinstance(table, dict):
        raise ConfigurationError(f"{path}: settings belong into a table [swarm], not {', '.join(others) or 'a value'}")
    return table


def _checked(name: str, value: object, origin: str, check: Callable[[Any], Any]) -> Any:
    try:
        return check(value)
    except (ValueError, TypeError, OverflowError):
        source = "" if origin == name else f" (from {origin})"
        allowed = KINDS[name].allowed
        raise ConfigurationError(f"{name}={_shown(value)}{source} is not allowed: allowed is {allowed}") from None


def _shown(value: object) -> str:
    try:
        shown = repr(value)
    except (ValueError, RecursionError):  # an integer with thousands of digits, or deep nesting
        return f"<{type(value).__name__}>"
    return shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}…"


def _belongs_to_a_plugin(variable: str) -> bool:
    """Whether it starts with ``SWARM_<PLUGIN>_`` of an installed plugin, which reads it itself."""
    plugins = {entry.name.upper().replace("-", "_") for entry in entry_points(group="swarm")}
    return any(variable.startswith(f"{PREFIX}{plugin}_") for plugin in plugins)
