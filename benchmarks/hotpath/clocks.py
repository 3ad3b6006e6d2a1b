"""The callbacks of all arms in a framework's list of callbacks, between two clocks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.hotpath.companion import Companion, require_untouched
from benchmarks.hotpath.turns import EMPTY, NONE, SWARM, Turns


def between_clocks(
    turns: Turns,
    base: type,
    hooks: Sequence[str],
    epoch: tuple[str, str],
    arms: tuple[Any, Any],
    companion: Companion,
    listed: Callable[[], list[Any]],
) -> list[Any]:
    """The callbacks to give to a framework: a clock, those of the arms, and another clock.

    Args:
        turns: decide which arm's callback is in the list during an epoch, and get the times.
        base: the framework's class of callbacks.
        hooks: all hooks that the framework calls per batch, of every callback whether it overrides them or not.
        epoch: the hooks at the beginning and at the end of an epoch.
        arms: the empty callback, and Swarm's.
        companion: leaves at the end of the training.
        listed: returns the list from which the framework calls callbacks.
    """
    empty, swarm = arms
    of_arm: dict[str, list[Any]] = {NONE: [], EMPTY: [empty], SWARM: [swarm]}

    def begin(*_arguments: object, **_keywords: object) -> None:
        put_between(listed(), before, after, of_arm[turns.begin()])

    def end(*_arguments: object, **_keywords: object) -> None:
        turns.end()
        if turns.complete:
            put_between(listed(), before, after, [empty, swarm])

    def finish(*_arguments: object, **_keywords: object) -> None:
        require_untouched(swarm.metrics, over=swarm.swarm_over)
        companion.finish()

    after = type("After", (base,), _clock(hooks, turns.stop))()
    others = {epoch[0]: begin, epoch[1]: end, "on_train_end": finish}
    before = type("Before", (base,), {**_clock(hooks, turns.start), **others})()
    return [before, empty, swarm, after]


def put_between(callbacks: list[Any], before: object, after: object, subjects: list[Any]) -> None:
    """Replace the callbacks between ``before`` and ``after`` by ``subjects``."""
    callbacks[callbacks.index(before) + 1 : callbacks.index(after)] = subjects


def _clock(hooks: Sequence[str], stamp: Callable[[], None]) -> dict[str, Any]:
    def hook(*_arguments: object, **_keywords: object) -> None:
        stamp()

    return dict.fromkeys(hooks, hook)
