"""The name of a peer that was given none: the host's, with a number where another peer has it already."""

from __future__ import annotations

import urllib.parse
from collections.abc import Collection
from contextlib import suppress
from typing import TYPE_CHECKING

from swarm.storage.places import state_directory
from swarm.text import MAX_NAME

if TYPE_CHECKING:
    from swarm.config import Settings

PATIENCE = 5.0
"""Seconds for which a peer asks again for its default name where others still know a live peer of that name: that may
be an earlier process of the same peer, whose end they have not noticed yet."""


class Naming:
    """Chooses the name of a peer, until it has joined."""

    def __init__(self, settings: Settings) -> None:
        self._default = settings.name
        self._named = settings.named
        self._taken: set[str] = set()

    @property
    def patience(self) -> float | None:
        """Seconds for which to ask for a name that others know a live peer of; None: as for a name that was given."""
        if self._named:
            return None
        return 0.0 if self._taken else PATIENCE

    def after(self, name: str, known: Collection[str]) -> str:
        """Another peer has ``name``: the default one with the smallest number, from 2, that nobody is ``known`` by."""
        self._taken.add(name)
        number = 2
        while _numbered(self._default, number) in {*self._taken, *known}:
            number += 1
        return _numbered(self._default, number)


def _numbered(name: str, number: int) -> str:
    """The name with a number, shortened where it would be too long for one."""
    end = f"-{number}"
    return f"{name[: MAX_NAME - len(end)]}{end}"


def resumed_name(settings: Settings) -> str:
    """The name to begin with: the default one, or that of the only checkpoints here, where a run is resumed.

    A peer whose default name was taken has written its checkpoints under the name with a number.
    """
    default = settings.name
    if settings.named or not (settings.resume and settings.model_dir):
        return default
    found: list[str] = []
    with suppress(OSError):
        found = [urllib.parse.unquote(path.name) for path in state_directory(settings).parent.iterdir()]
    numbered = [name for name in found if name.startswith(f"{default}-") and name[len(default) + 1 :].isdecimal()]
    return numbered[0] if len(numbered) == 1 and default not in found else default
