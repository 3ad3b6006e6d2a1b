"""What each outer optimizer is set by, and with which values unless settings give others."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

Outer = Literal["none", "nesterov", "fedavgm", "fedadam", "fedyogi"]
OUTER_PREFIX = "outer_"
"""Of the settings that set a parameter; the name of the parameter follows."""
PARAMETERS: Mapping[Outer, Mapping[str, float]] = MappingProxyType(
    {
        "none": {},
        "nesterov": {"learning_rate": 0.7, "momentum": 0.9},
        "fedavgm": {"learning_rate": 1.0, "momentum": 0.9},
        "fedadam": {"learning_rate": 0.1, "momentum": 0.9, "beta2": 0.99, "epsilon": 1e-3},
        "fedyogi": {"learning_rate": 0.01, "momentum": 0.9, "beta2": 0.99, "epsilon": 1e-3},
    }
)
"""By the value of ``outer``, then by parameter. They are those of the papers that ``swarm.outer`` names, and of Flower
for the rates of ``fedadam`` and ``fedyogi``."""


def defaults(parameter: str) -> str:
    """The default of a parameter in words: of each optimizer that has it."""
    by_value: dict[float, list[str]] = {}
    for outer, values in PARAMETERS.items():
        if parameter in values:
            by_value.setdefault(values[parameter], []).append(outer)
    if len(by_value) == 1:
        return f"`{next(iter(by_value)):g}`"
    return ", ".join(f"`{value:g}` with `{outer}`" for value, names in by_value.items() for outer in names)
