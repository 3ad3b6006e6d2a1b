"""The variable of the plugin. All else is said by the standard variables of OpenTelemetry."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec

from swarm.errors import ConfigurationError, MissingExtraError

PREFIX = "SWARM_OPENTELEMETRY_"


def exports(environment: Mapping[str, str]) -> bool:
    """Whether the plugin has to send by OTLP itself: ``SWARM_OPENTELEMETRY_EXPORT=otlp``.

    Raises:
        ConfigurationError: a variable is unknown or not allowed; the message names it.
        MissingExtraError: the exporter is not installed.
    """
    given = {name: value.strip() for name, value in environment.items() if name.startswith(PREFIX) and value.strip()}
    if unknown := given.keys() - {f"{PREFIX}EXPORT"}:
        raise ConfigurationError(f"there is no variable {min(unknown)}; {PREFIX}EXPORT is the only one")
    chosen = given.get(f"{PREFIX}EXPORT")
    if chosen not in {None, "otlp"}:
        raise ConfigurationError(f"{PREFIX}EXPORT={chosen!r} is not allowed: it is 'otlp', or not set")
    if chosen and not (find_spec("opentelemetry.sdk") and _found("opentelemetry.exporter.otlp.proto.http")):
        raise MissingExtraError(f"{PREFIX}EXPORT=otlp needs an exporter: pip install 'swarm-opentelemetry[otlp]'")
    return chosen is not None


def _found(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # a package above it
        return False
