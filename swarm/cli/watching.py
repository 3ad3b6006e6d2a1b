"""Waits for what is not there yet, and shows what changes: in place on a terminal, else one after the other."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from swarm.clock import Clock, MonotonicClock
from swarm.errors import ConfigurationError, IdentityError, SwarmError, UnreachablePeerError
from swarm.text import MAX_SHOWN, printable

Seen = TypeVar("Seen")


def await_first(
    look: Callable[[], Seen],
    seconds: float,
    every: float,
    *,
    tell: Callable[[str], None],
    clock: Clock | None = None,
    pause: Callable[[float], None] = time.sleep,
) -> Seen | None:
    """What the first look finds that finds somebody; None after Ctrl-C.

    Args:
        look: looks; ``ConfigurationError`` or ``UnreachablePeerError`` say that nobody is there, and why.
        seconds: how long to wait for somebody.
        every: seconds between two looks.
        tell: gets one line if there is somebody to wait for.
        clock: tells when the time is up.
        pause: waits; ``KeyboardInterrupt`` ends everything.

    Raises:
        SwarmError: of the last look, once the time is up.
    """
    clock = clock or MonotonicClock()
    deadline = clock.now() + seconds
    told = False
    with contextlib.suppress(KeyboardInterrupt):
        while True:
            try:
                return look()
            except IdentityError:  # does not become better by waiting
                raise
            except (ConfigurationError, UnreachablePeerError) as error:
                left = deadline - clock.now()
                if left <= 0:
                    raise
                if not told:
                    until = time.strftime("%H:%M:%S", time.localtime(time.time() + left))
                    tell(f"waiting until {until} for a peer to answer: {printable(str(error), MAX_SHOWN)}")
                    told = True
            pause(min(every, left))
    return None


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
