"""The metric by which a swarm compares its models: ``loss``, or ``max:`` or ``min:`` and the name of a metric."""

from __future__ import annotations

from typing import NamedTuple

from swarm.config.checks import Check
from swarm.text import is_name

LOSS = "loss"
_DIRECTIONS = {"max": True, "min": False}


class Monitored(NamedTuple):
    """What ``monitor`` says."""

    name: str
    highest: bool
    """Whether a higher value is better."""


def monitored(text: str) -> Monitored:
    """What a value of ``monitor`` says.

    Raises:
        ValueError: it is not allowed.
    """
    if text == LOSS:
        return Monitored(LOSS, highest=False)
    direction, _, name = text.partition(":")
    if direction not in _DIRECTIONS or not is_name(name):
        raise ValueError
    return Monitored(name, _DIRECTIONS[direction])


def monitor() -> Check:
    """The check of the setting."""

    def accept(value: object) -> str:
        if not isinstance(value, str):
            raise TypeError
        text = value.strip()
        monitored(text)
        return text

    return Check("'loss', or 'max:' or 'min:' and the name of a metric, such as 'max:accuracy'", accept)
