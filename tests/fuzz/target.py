"""What a target is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from tests.fuzz.mutation import Form


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One decoder of what others or files control."""

    name: str
    """Also of its folder in the corpus."""
    run: Callable[[bytes], object]
    """Decodes an input. Returns None or a hashable summary of what was accepted: inputs with a new one are kept and
    changed further."""
    refusals: tuple[type[Exception], ...]
    """The errors that the decoder documents; ``()`` where it raises none."""
    values: Callable[[], Mapping[str, bytes]]
    """Real inputs, by a name for the file in the corpus."""
    form: Form
    """How inputs are built, which decides how they are changed."""


def by_name(*groups: Iterable[Target]) -> dict[str, Target]:
    """All targets, by name.

    Raises:
        ValueError: two have the same name.
    """
    found: dict[str, Target] = {}
    for target in (target for group in groups for target in group):
        if target.name in found:
            raise ValueError(f"two targets are called {target.name}")
        found[target.name] = target
    return found
