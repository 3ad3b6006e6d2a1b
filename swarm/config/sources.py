"""Where settings are read from: arguments, ``SWARM_*`` variables, and the table ``[swarm]`` of ``swarm.toml``."""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, NamedTuple

from swarm.config import former
from swarm.config.links import is_link, report_ignored
from swarm.config.settings import PREFIX, SETTINGS
from swarm.errors import AddressError, ConfigurationError, UnknownArgumentError

FILE = "swarm.toml"
FILE_VARIABLE = "SWARM_CONFIG"
_NO_SETTINGS = (FILE_VARIABLE, "SWARM_LOG", "SWARM_LOG_FORMAT", "SWARM_TRACEBACK")
_SPELLINGS = {**{name: name for name in SETTINGS}, **former.SETTINGS}
_VARIABLES = {PREFIX + spelling.upper(): SETTINGS[name].variable for spelling, name in _SPELLINGS.items()} | {
    name: name for name in _NO_SETTINGS
}
_SHOWN = 100
_MOST_ALIKE = 6


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
    for name, value in former.arguments(arguments).items():
        if name not in SETTINGS:
            raise UnknownArgumentError(f"there is no argument {name!r}{nearest(name, _SPELLINGS)}")
        if value is not None:
            values[name] = Value(_checked(name, value, name, SETTINGS[name].check.accept), "argument")
    return values


def from_environment(environment: Mapping[str, str]) -> dict[str, Value]:
    """The settings in ``SWARM_*`` variables.

    An empty variable empties a list and stands for no ``advertise``; it counts as absent for all else. Variables that
    have the form of a service link of Kubernetes or Docker are ignored, and the log names them.

    Raises:
        ConfigurationError: a variable is unknown, or its value not allowed.
    """
    values, links = {}, []
    environment = former.variables(environment)
    for variable in sorted(environment):
        if not variable.startswith(PREFIX) or variable in _NO_SETTINGS:
            continue
        name, text = variable.removeprefix(PREFIX).lower(), environment[variable]
        if is_link(variable, text, setting=name in SETTINGS):
            links.append(variable)
            continue
        if name not in SETTINGS:
            if _belongs_to_a_plugin(variable):
                continue
            raise ConfigurationError(f"there is no setting for the variable {variable}{nearest(variable, _VARIABLES)}")
        check = SETTINGS[name].check
        if text.strip() or check.takes_empty:
            values[name] = Value(_checked(name, text, variable, check.read or check.accept), variable)
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
    for name, value in former.keys(_table(path), origin).items():
        if name not in SETTINGS:
            raise ConfigurationError(f"{path}: there is no setting {name!r}{nearest(name, _SPELLINGS)}")
        checked = _checked(name, value, origin, SETTINGS[name].check.accept)
        if SETTINGS[name].check.is_path:
            checked = path.parent / checked
        values[name] = Value(checked, origin)
    return values


def nearest(name: str, known: Mapping[str, str]) -> str:
    """The end of a sentence about an unknown name: the nearest known one, else those with one of its words, else all.

    Args:
        name: the unknown one.
        known: the name to use for every spelling that is accepted.
    """
    close = difflib.get_close_matches(name, known, n=1) or difflib.get_close_matches(name.lower(), known, n=1)
    if close:
        return f": did you mean {known[close[0]]!r}?"
    words = {*name.lower().split("_")} - {"swarm"}
    alike = {known[each] for each in known if not words.isdisjoint(each.lower().split("_"))}
    if 0 < len(alike) <= _MOST_ALIKE:
        return f": did you mean {' or '.join(map(repr, sorted(alike)))}?"
    return f"; known are {', '.join(sorted(set(known.values())))}"


def _table(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            content = tomllib.load(file)
    except OSError as error:
        hint = f"check {FILE_VARIABLE}" if path.name != FILE else "make it a file that this user can read, or remove it"
        raise ConfigurationError(f"{path} cannot be read ({error.strerror}): {hint}") from error
    except RecursionError:
        raise ConfigurationError(f"{path} is nested too deeply: settings need one table [swarm]") from None
    except ValueError as error:  # not TOML, not UTF-8, or a number that is too long
        raise ConfigurationError(f"{path} is not a TOML file: {error}") from error
    others = sorted(content.keys() - {"swarm"})
    table = content.get("swarm", {})
    if others or not isinstance(table, dict):
        raise ConfigurationError(f"{path}: settings belong in a table [swarm], not {', '.join(others) or 'a value'}")
    return table


def _checked(name: str, value: object, origin: str, check: Callable[[Any], Any]) -> Any:
    try:
        return check(value)
    except (ValueError, TypeError, OverflowError) as error:
        if SETTINGS[name].check.explains and isinstance(error, ConfigurationError):
            raise
        reason = f"; {error}" if isinstance(error, AddressError) else ""
        source = "" if origin == name else f" (from {origin})"
        allowed = SETTINGS[name].check.allowed
        shown = "***" if SETTINGS[name].check.is_secret else _shown(value)
        raise ConfigurationError(f"{name}={shown}{source} is not allowed: allowed is {allowed}{reason}") from None


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
