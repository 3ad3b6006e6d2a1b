"""Mutants by name, and how one is put in place of the original."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, TypeVar

Function = TypeVar("Function", bound=Callable[..., Any])


class Mutants(dict[str, list[tuple[object, str, object]]]):
    """Owner, name and replacement of each attribute that a mutant changes, by the mutant's name."""

    def register(
        self, owner: object, attribute: str, *, as_property: bool = False, of: str = ""
    ) -> Callable[[Function], Function]:
        """Register the decorated replacement; the mutant has its name.

        One that only some peers would notice needs the same mistake at the others: ``of`` names the mutant that the
        replacement is a part of.
        """

        def register(replacement: Function) -> Function:
            change = owner, attribute, property(replacement) if as_property else replacement
            self.setdefault(of or replacement.__name__, []).append(change)
            return replacement

        return register

    @contextmanager
    def mutated(self, name: str) -> Iterator[None]:
        """Within this context the protocol has the mistake of that name."""
        with ExitStack() as undo:
            for owner, attribute, replacement in self[name]:
                undo.callback(setattr, owner, attribute, vars(owner)[attribute])
                setattr(owner, attribute, replacement)
            yield
