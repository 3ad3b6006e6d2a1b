"""Settings that ``swarm simulate`` tries out in this process: they beat every other source, arguments included.

A script may give settings as arguments. To try others without a change of the script, they have to beat those.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

_tried: dict[str, object] = {}


def try_out(values: Mapping[str, object]) -> None:
    """From now on ``resolve`` takes these values, by name of setting, as if a script had given them as arguments."""
    _tried.update(values)


def tried() -> Mapping[str, object]:
    """What is tried out; empty outside of a simulation."""
    return MappingProxyType(_tried)


def stop() -> None:
    """Try nothing out any more."""
    _tried.clear()
