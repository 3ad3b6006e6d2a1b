"""One training under faults, and the same one without."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.fleet.faults import Fault, Struck, settled, strike
from benchmarks.fleet.journal import Event, What
from benchmarks.fleet.processes import Fleet, Training
from benchmarks.fleet.rounds import diverged, last_round, lost, mid_round, period

CLOSING = 60.0
"""Seconds for a fleet to finish once it is told to, beyond its usual time for the rounds that are left."""
RECENT = 100
"""Events from which the usual period of rounds is taken."""


@dataclass(slots=True)
class Outcome:
    """What came of a training."""

    struck: list[Struck] = field(default_factory=list)
    hangs: list[str] = field(default_factory=list)
    """Who waited for ever, a sentence each."""
    diverged: list[str] = field(default_factory=list)
    lost: int = 0
    """Committed rounds that are not in the last lineage."""
    rounds: int = 0
    period: float = 0.0
    """Usual seconds from round to round."""
    aborted: int = 0
    """Reports of an attempt that came to nothing, by all peers."""
    skipped: int = 0
    """Sync points that passed without a merge, of all peers, the victims included."""
    errors: list[str] = field(default_factory=list)
    """Lines of the peers' logs that tell of an error."""
    mid_round: int = 0
    """Faults that struck the victim between its joining an attempt at a round and that round's model."""
    accuracy: float | None = None
    """Of the closing model; None if not all peers ended with it."""


def disturbed(training: Training, directory: Path, faults: Sequence[Fault], tell: Callable[[str], None]) -> Outcome:
    """Train while ``faults`` come one after another, then let all peers finish."""
    outcome = Outcome()
    with Fleet(training, directory) as fleet:
        fleet.start(*training.names)
        going = settled(fleet)
        for number, fault in enumerate(faults, start=1):
            if not going:
                break
            struck = strike(fleet, fault, period(fleet.events[-RECENT:]))
            outcome.struck.append(struck)
            tell(f"{number} of {len(faults)}: {_told(struck)}")
            if struck.hung:
                outcome.hangs.append(f"{_told(struck)}; exit codes {fleet.exit_codes()}")
                fleet.start(fault.victim)
            going = settled(fleet)
        if going:
            _finish(fleet, last_round(fleet.events) + 2, outcome)
        else:
            outcome.hangs.append(f"not all peers merge any more; exit codes {fleet.exit_codes()}")
        _account(fleet, outcome)
    return outcome


def undisturbed(training: Training, directory: Path, rounds: int) -> Outcome:
    """Train for so many rounds."""
    outcome = Outcome()
    with Fleet(training, directory) as fleet:
        fleet.stop_after(rounds)
        fleet.start(*training.names)
        _finish(fleet, rounds, outcome)
        _account(fleet, outcome)
    return outcome


def _finish(fleet: Fleet, rounds: int, outcome: Outcome) -> None:
    fleet.stop_after(rounds)
    batches = fleet.training.sync_interval * (rounds - last_round(fleet.events))
    if not fleet.wait(fleet.ended, CLOSING + batches * (fleet.training.pause + 0.05)):
        running = [name for name, code in fleet.exit_codes().items() if code is None]
        outcome.hangs.append(f"{', '.join(running)} did not finish")


def _account(fleet: Fleet, outcome: Outcome) -> None:
    """Take the journals and the logs together."""
    events = fleet.events
    outcome.diverged = diverged(events)
    outcome.lost = len(lost(events))
    outcome.rounds = last_round(events)
    outcome.period = period(events)
    failures = [" aborted: " in event.reason for event in events if event.what is What.FAILED]
    outcome.aborted, outcome.skipped = sum(failures), len(failures) - sum(failures)
    for name in fleet.training.names:
        lines = fleet.log(name).read_text(encoding="utf-8", errors="replace").splitlines()
        outcome.errors += [f"{name}: {line}" for line in lines if " ERROR " in line or line.startswith("Traceback")]
    outcome.mid_round = sum(mid_round(events, struck.fault.victim, struck.at) for struck in outcome.struck)
    outcome.accuracy = _accuracy(events, fleet.training.names)


def _accuracy(events: Sequence[Event], names: Sequence[str]) -> float | None:
    closing = {event.peer for event in events if event.what is What.CLOSED and event.closing}
    tested = {event.peer: event.accuracy for event in events if event.what is What.DONE}
    return min(tested.values()) if closing >= {*names} and tested.keys() >= {*names} else None


def _told(struck: Struck) -> str:
    recovery = "never" if struck.recovery is None else f"{struck.recovery:.2f} s"
    if struck.contributed is None or struck.back is None:
        again = "never"
    else:
        again = f"{struck.contributed - struck.back:.2f} s"
    fault = struck.fault
    return f"{fault.kind} {fault.victim}: the others recovered after {recovery}, it was back after {again}"
