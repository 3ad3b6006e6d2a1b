"""What an attack is, and the list in which each is registered."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from benchmarks.hostile.liar import Habit, Liar

if TYPE_CHECKING:
    from swarm.messages import Message
    from swarm.records import PeerId

SIZES = (2, 3, 4, 5)
Kind = TypeVar("Kind", bound=Habit)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attack:
    """One thing that a bad member does."""

    name: str
    does: str
    """A sentence."""
    checks: tuple[str, ...]
    """What stops it, by the names in ``checks.py``; with all of these switched off it does harm."""
    make: Callable[[Liar], Habit]
    breaks: bool = True
    """Whether an honest peer could never do it; then somebody has to name the bad member."""
    sizes: Sequence[int] = SIZES
    """Numbers of peers with which it is possible."""
    bites_at: int = 3
    """Number of peers with which it is tried without its checks."""
    rounds: int = 1
    """How many times as many rounds as other attacks it lasts."""
    at: str = ""
    """``start``: it attacks from its first message on; ``end``: once the others have trained; empty: in between."""
    stops: str = ""
    """What stops it, in words, where that is no check that can be switched off."""
    unnamed: str = ""
    """Why nobody names the bad member, though it breaks a rule; empty if somebody does."""
    known: str = ""
    """What it may do, as the documentation says; empty if nothing."""


class Attacks(dict[str, Attack]):
    """All attacks of one kind, by name."""

    def add(
        self, name: str, does: str, *checks: str, **more: Any
    ) -> Callable[[Callable[[Liar], Kind]], Callable[[Liar], Kind]]:
        """Register what makes the habit of an attack; for ``more`` see :class:`Attack`."""

        def register(make: Callable[[Liar], Kind]) -> Callable[[Liar], Kind]:
            if name in self:
                raise ValueError(f"there are two attacks {name!r}")
            self[name] = Attack(name=name, does=does, checks=checks, make=make, **more)
            return make

        return register


Change = Callable[[Liar, "PeerId", Any], "Message | Sequence[Message]"]
"""From the bad member, the receiver and a message to what goes out in its place."""


class Changed(Habit):
    """Changes the messages of one kind."""

    def __init__(self, liar: Liar, kind: type | tuple[type, ...], change: Change) -> None:
        super().__init__(liar)
        self._kind = kind
        self._change = change

    def says(self, to: PeerId, message: Any) -> Iterator[Message]:
        if not isinstance(message, self._kind):
            yield message
            return
        changed = self._change(self.liar, to, message)
        if isinstance(changed, tuple | list):
            yield from changed
        else:
            yield changed  # type: ignore[misc]


def changes(kind: type | tuple[type, ...], change: Change) -> Callable[[Liar], Changed]:
    """A habit that changes messages of ``kind``."""
    return lambda liar: Changed(liar, kind, change)


class Repeated(Habit):
    """Sends messages of its own making, again and again."""

    def __init__(self, liar: Liar, send: Callable[[Liar], object]) -> None:
        super().__init__(liar)
        self._send = send

    def acts(self) -> None:
        self._send(self.liar)


def repeats(send: Callable[[Liar], object]) -> Callable[[Liar], Repeated]:
    """A habit that calls ``send`` again and again."""
    return lambda liar: Repeated(liar, send)
