"""A training of a fleet from its start to its end, with faults or without."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.fleet.faults import Effect, Fault, all_merged, inject
from benchmarks.fleet.journal import Event, What
from benchmarks.fleet.processes import Fleet, Training
from benchmarks.fleet.rounds import diverged, last_round, lost, period

FINISHING = 60.0
"""Seconds in which a fleet must finish, in addition to the usual time of the rounds that are left."""
RECENT = 100
"""The number of last events from which the usual period of rounds is computed."""


@dataclass(slots=True)
class Outcome:
    """The result of a training."""

    effects: list[Effect] = field(default_factory=list)
    """One for each fault."""
    events: list[Event] = field(default_factory=list)
    hangs: list[str] = field(default_factory=list)
    """A sentence for each wait that did not end in time."""
    diverged: list[str] = field(default_factory=list)
    """A sentence for each model that differs between peers."""
    lost: int = 0
    """Committed rounds that are not in the last lineage."""
    rounds: int = 0
    period: float = 0.0
    """Usual seconds from round to round."""
    errors: list[str] = field(default_factory=list)
    """Lines of the peers' logs that report an error."""
    accuracy: float | None = None
    """Of the closing model; None if not all peers ended with it."""


def report(text: str) -> None:
    """Print progress, on standard error."""
    print(text, file=sys.stderr, flush=True)


def disturbed(
    training: Training,
    directory: Path,
    faults: Callable[[Fleet], Iterable[Fault]],
    watch: Callable[[Fleet], None] = lambda _: None,
) -> Outcome:
    """Train under faults, one after another, then let all peers finish.

    Args:
        training: what is trained.
        directory: for all files of this training.
        faults: called once all peers have merged. Before each fault, all peers have merged again.
        watch: called again and again while the fleet trains.
    """
    outcome = Outcome()
    with Fleet(training, directory, watch=watch) as fleet:
        fleet.start(*training.names)
        going = all_merged(fleet)
        for number, fault in enumerate(faults(fleet) if going else (), start=1):
            effect = inject(fleet, fault, period(fleet.events[-RECENT:]))
            outcome.effects.append(effect)
            report(f"fault {number}: {effect}")
            if effect.hung:
                outcome.hangs.append(f"{effect}; exit codes {fleet.exit_codes()}")
                fleet.start(fault.victim)
            if not (going := all_merged(fleet)):
                break
        if going:
            _finish(fleet, last_round(fleet.events) + 2, outcome)
        else:
            outcome.hangs.append(f"not all peers merge any more; exit codes {fleet.exit_codes()}")
        _conclude(fleet, outcome)
    return outcome


def undisturbed(training: Training, directory: Path, rounds: int) -> Outcome:
    """Train without faults until round number ``rounds``."""
    outcome = Outcome()
    with Fleet(training, directory) as fleet:
        fleet.stop_after(rounds)
        fleet.start(*training.names)
        _finish(fleet, rounds, outcome)
        _conclude(fleet, outcome)
    return outcome


def keep_if_odd(directory: Path, *outcomes: Outcome) -> None:
    """Report all that is odd and keep the directory; remove it if nothing is."""
    odd = [text for each in outcomes for text in (*each.hangs, *each.diverged, *each.errors)]
    if not odd:
        shutil.rmtree(directory)
        return
    report("\n".join([*odd, f"journals and logs are kept in {directory}"]))


def _finish(fleet: Fleet, rounds: int, outcome: Outcome) -> None:
    fleet.stop_after(rounds)
    batches = fleet.training.sync_interval * (rounds - last_round(fleet.events))
    if not fleet.wait(fleet.ended, FINISHING + batches * (fleet.training.pause + 0.05)):
        running = [name for name, code in fleet.exit_codes().items() if code is None]
        outcome.hangs.append(f"{', '.join(running)} did not finish")


def _conclude(fleet: Fleet, outcome: Outcome) -> None:
    """Fill the outcome from the journals and the logs."""
    outcome.events = fleet.events
    outcome.diverged = diverged(fleet.events)
    outcome.lost = len(lost(fleet.events))
    outcome.rounds = last_round(fleet.events)
    outcome.period = period(fleet.events)
    for name in fleet.training.names:
        lines = fleet.log(name).read_text(encoding="utf-8", errors="replace").splitlines()
        outcome.errors += [f"{name}: {line}" for line in lines if " ERROR " in line or line.startswith("Traceback")]
    outcome.accuracy = closing_accuracy(fleet.events, fleet.training.names)


def closing_accuracy(events: Sequence[Event], names: Sequence[str]) -> float | None:
    """The lowest accuracy of the closing model that a peer measured; None if not all peers ended with that model."""
    closing = {event.peer for event in events if event.what is What.CLOSED and event.closing}
    tested = {event.peer: event.accuracy for event in events if event.what is What.DONE}
    return min(tested.values()) if closing >= {*names} and tested.keys() >= {*names} else None
