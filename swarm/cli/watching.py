"""Shows what changes again and again: in place on a terminal, else one after the other."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from swarm.errors import SwarmError
from swarm.text import printable

Seen = TypeVar("Seen")


def follow(
    first: Seen,
    look: Callable[[], Seen],
    every: float,
    *,
    shown: Callable[[Seen], RenderableType],
    out: Console,
    pause: Callable[[float], None] = time.sleep,
) -> None:
    """Show ``first``, and what each further look finds, until Ctrl-C, or until nobody is there any more.

    Args:
        first: what was found already.
        look: looks again.
        every: seconds between two looks.
        shown: what to show of it.
        out: where to show it.
        pause: waits; ``KeyboardInterrupt`` ends everything.

    Raises:
        OSError: nobody reads the output any more.
    """
    with _screen(out) as show, contextlib.suppress(KeyboardInterrupt):
        seen = first
        while True:
            show(shown(seen), "")
            pause(every)
            try:
                seen = look()
            except SwarmError as error:
                show(shown(seen), f"that was the last answer: {printable(str(error))}")
                return


@contextlib.contextmanager
def _screen(out: Console) -> Iterator[Callable[[RenderableType, str], None]]:
    if out.is_terminal and not out.is_dumb_terminal:
        with Live(console=out, auto_refresh=False, redirect_stdout=False, redirect_stderr=False) as live:
            yield lambda what, note: live.update(Group(what, Text(note)) if note else what, refresh=True)
        return

    def show(what: RenderableType, note: str) -> None:
        out.print(Text(note) if note else what, soft_wrap=True)
        out.file.flush()

    yield show
