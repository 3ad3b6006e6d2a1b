"""What an outsider can do to four peers that train over TLS: ``python -m benchmarks.outsider``."""

from __future__ import annotations

import argparse
import resource
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.fleet.faults import all_merged
from benchmarks.fleet.journal import What
from benchmarks.fleet.processes import Fleet, Training, add_options
from benchmarks.fleet.training import report
from benchmarks.fleet.usage import sample
from benchmarks.harness.command import Benchmark, Record, positive
from benchmarks.harness.figures import aligned, verdict
from benchmarks.outsider import attacks
from benchmarks.outsider.connections import Target
from benchmarks.outsider.ports import listening
from swarm.discovery.directory import announcements
from swarm.errors import SwarmError
from swarm.identity import Identity
from swarm.identity.throwaway import make_identities
from swarm.transport.grpc import fetch_status

OBSERVER = "observer"
"""A member that asks for the status of peers."""
DESCRIPTORS = 1024
"""Of each peer, as systems allow by default."""
WARM_UP = 8.0
"""Seconds before the first measurement."""
SAMPLE_EVERY = 0.2
ANSWER_SECONDS = 2.0
"""For a status."""
HANG_SECONDS = 15.0
"""A peer hangs if it does not answer a member, or merges with no other, in this time after an attack."""
SLOWDOWN = 0.10
GROWTH = 32.0
"""MB. Both are gates."""
MB = 1e6


Window = tuple[float, float]
"""Seconds, and rounds in them."""


@dataclass(slots=True)
class Findings:
    """What was measured."""

    resting: list[Window] = field(default_factory=list)
    """Without an attack: before each of them, and after the last one."""
    attacked: dict[str, Window] = field(default_factory=dict)
    """During each attack."""
    hangs: list[str] = field(default_factory=list)
    shut_out: list[str] = field(default_factory=list)
    """Attacks during which a member could not open a new connection to a peer."""
    before: dict[str, float] = field(default_factory=dict)
    most: dict[str, float] = field(default_factory=dict)
    after: dict[str, float] = field(default_factory=dict)
    """Resident MB of each peer."""
    crashes: list[str] = field(default_factory=list)
    lines: dict[str, int] = field(default_factory=dict)
    """Warnings and errors in the log of each peer."""


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seconds", type=positive, default=3.0, help="of each attack (default 3)")
    parser.add_argument("--rest", type=positive, default=2.0, help="seconds before each attack (default 2)")
    parser.add_argument("--only", action="append", help="an attack by name; may be repeated (default: all)")
    add_options(parser, pause=0.02, failure_timeout=5.0)


def _measure(options: argparse.Namespace) -> Record:
    training = Training.of(options, hidden=32, observers=(OBSERVER,))
    with tempfile.TemporaryDirectory(prefix="swarm-outsider-") as temporary:
        directory = Path(temporary)
        make_identities({name: directory / f"stranger-{name}" for name in training.names})
        stranger = Identity(directory / f"stranger-{training.names[0]}")
        found = Findings()
        due = 0.0

        def watch(fleet: Fleet) -> None:
            nonlocal due
            if found.before and (now := time.monotonic()) >= due:
                due = now + SAMPLE_EVERY
                for name, megabytes in _memory(fleet).items():
                    found.most[name] = max(found.most[name], megabytes)

        with Fleet(training, directory / "fleet", watch=watch) as fleet, _descriptors(DESCRIPTORS):
            fleet.start(*training.names)
            if not all_merged(fleet):
                logs = "\n".join(fleet.log(name).read_text()[-2000:] for name in training.names)
                raise RuntimeError(f"the peers do not train:\n{logs}")
            return _attack(fleet, options, stranger, found)


def _attack(fleet: Fleet, options: argparse.Namespace, stranger: Identity, found: Findings) -> Record:
    resource.setrlimit(resource.RLIMIT_NOFILE, (_HARD, _HARD))
    member = Identity(fleet.identity(OBSERVER))
    every = attacks.of(stranger, member.credentials.authority)
    chosen = {name: attack for name, attack in every.items() if name in (options.only or every)}
    targets = _targets(fleet)
    fleet.run_for(WARM_UP)
    found.before = _memory(fleet)
    found.most = dict(found.before)
    for name, attack in chosen.items():
        found.resting.append(_window(fleet, options.rest))
        stop = threading.Event()
        thread = threading.Thread(target=attack, args=(targets, stop), daemon=True)
        thread.start()
        seconds, rounds = _window(fleet, options.seconds)
        if not _answers(targets, member):
            found.shut_out.append(name)
        stop.set()
        thread.join(HANG_SECONDS)
        found.attacked[name] = seconds, rounds
        report(f"{name}: {rounds / seconds:.2f} rounds/s; MB { ({k: round(v) for k, v in _memory(fleet).items()}) }")
        _check(fleet, name, targets, member, found)
        if any(code is not None for code in fleet.exit_codes().values()):
            break
    found.resting.append(_window(fleet, options.rest))
    found.after = _memory(fleet)
    _read_logs(fleet, found)
    return figures(fleet.training, found, list(chosen))


def _check(fleet: Fleet, name: str, targets: Sequence[Target], member: Identity, found: Findings) -> None:
    """Find peers that have ended, or do not go on."""
    found.crashes += [
        f"{peer} ended with {code} after: {name}" for peer, code in fleet.exit_codes().items() if code is not None
    ]
    if found.crashes:
        return
    if not fleet.wait(lambda: _answers(targets, member), HANG_SECONDS):
        found.hangs.append(f"a peer does not answer after: {name}")
    if not all_merged(fleet):
        found.hangs.append(f"the peers do not merge after: {name}")


def _window(fleet: Fleet, seconds: float) -> Window:
    """Let so many seconds pass; the seconds, and how many rounds a peer had in them."""
    begun = fleet.now()
    fleet.run_for(seconds)
    passed = time.monotonic() - begun.at
    fleet.run_for(0.05)  # what was written meanwhile
    rounds = [event for event in fleet.since(begun) if event.what is What.ROUND and event.at <= begun.at + passed]
    return passed, len(rounds) / fleet.training.peers


def _answers(targets: Sequence[Target], member: Identity) -> bool:
    try:
        for target in targets:
            fetch_status(target.address, ANSWER_SECONDS, member)
    except SwarmError:
        return False
    return True


def _targets(fleet: Fleet) -> list[Target]:
    found = {each.name: each.address.rpartition("@")[2] for each in announcements(fleet.directory / "rendezvous")}
    targets = []
    for name in fleet.training.names:
        (data,) = listening(fleet.pid(name)) - {int(found[name].rpartition(":")[2])}
        targets.append(Target(found[name], data))
    return targets


def _memory(fleet: Fleet) -> dict[str, float]:
    taken = {name: sample(0.0, fleet.pid(name), fleet.model_dir(name)) for name in fleet.training.names}
    return {name: each.memory / MB if each else 0.0 for name, each in taken.items()}


def _read_logs(fleet: Fleet, found: Findings) -> None:
    for name in fleet.training.names:
        lines = fleet.log(name).read_text(encoding="utf-8", errors="replace").splitlines()
        found.lines[name] = sum(" WARNING " in line or " ERROR " in line for line in lines)
        found.crashes += [f"{name}: {line}" for line in lines if line.startswith("Traceback")]


_HARD = resource.getrlimit(resource.RLIMIT_NOFILE)[1]


@contextmanager
def _descriptors(soft: int) -> Iterator[None]:
    """Processes that are started from now on have so many."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, before[1]), before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def figures(training: Training, found: Findings, names: Sequence[str]) -> dict[str, Any]:
    """The record."""
    slowdown = _slower(list(found.attacked.values()), found.resting)
    slowdown_of = {
        name: _slower([attacked], found.resting[number : number + 2])
        for number, (name, attacked) in enumerate(found.attacked.items())
    }
    growth = {name: round(found.most[name] - found.before[name], 1) for name in training.names}
    return {
        "peers": training.peers,
        "attacks": len(names),
        "crashes": len(found.crashes),
        "hangs": len(found.hangs),
        "rounds_per_second": round(_rate(found.resting), 3),
        "slowdown": slowdown,
        "slowdown_of": slowdown_of,
        "growth_mb": growth,
        "growth_at_the_end_mb": {name: round(found.after[name] - found.before[name], 1) for name in training.names},
        "shut_out": found.shut_out,
        "warnings": found.lines,
        "odd": [*found.crashes, *found.hangs],
        "gates": {
            "crashes": not found.crashes,
            "hangs": not found.hangs,
            "slowdown": slowdown <= SLOWDOWN,
            "growth_mb": max(growth.values()) <= GROWTH,
        },
    }


def _slower(attacked: Sequence[Window], resting: Sequence[Window]) -> float:
    """The share by which there are fewer rounds a second."""
    usual = _rate(resting)
    return round(1 - _rate(attacked) / usual, 3) if usual else 1.0


def _rate(windows: Sequence[Window]) -> float:
    seconds = sum(each for each, _ in windows)
    return sum(rounds for _, rounds in windows) / seconds if seconds else 0.0


def _table(record: Record) -> str:
    rows = [("attack", "rounds slower by")]
    rows += [(name, f"{100 * share:.0f} %") for name, share in record["slowdown_of"].items()]
    gates = ", ".join(f"{name} {verdict(met)}" for name, met in record["gates"].items())
    totals = (
        f"{record['attacks']} attacks: {record['crashes']} crashes, {record['hangs']} hangs, rounds slower by "
        f"{100 * record['slowdown']:.1f} %, memory more by at most {max(record['growth_mb'].values())} MB: {gates}"
    )
    return "\n".join([*aligned(rows), totals, *record["odd"]])


OUTSIDER = Benchmark(name="outsider", description=__doc__, add_options=_options, measure=_measure, table=_table)

if __name__ == "__main__":
    OUTSIDER.main()
