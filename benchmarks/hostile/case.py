"""Runs one attack on one swarm, in a process of its own."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from benchmarks.hostile.checks import switched_off
from benchmarks.hostile.inside import inside
from benchmarks.hostile.judge import MEMORY, MOST_WARNINGS, judge, look
from benchmarks.hostile.liar import LIAR, Liar, act
from benchmarks.hostile.peers import Peer, Sync, make_peers
from benchmarks.hostile.plan import ATTACKS
from swarm.consensus import timing
from swarm.records import Outcome

if TYPE_CHECKING:
    from multiprocessing.connection import Connection  # noqa: TID251 - to the process that started this one

WARM_UP = 6
"""Rounds before the attack."""
START_SECONDS = 30.0
ENOUGH_SECONDS = 4.0
"""After so long an attack ends, also before its rounds are over, if the honest peers go on; longer ones last longer."""
MOST_SECONDS = 30.0
"""After so long it ends also if the bad member had no opportunity, as where it leads none of many rounds."""
GOES_ON = 1.5
"""A peer goes on if its last sync point ended less than so many seconds ago."""
HANG_SECONDS = 15.0
"""Seconds without a merge after which honest peers that are a quorum hang."""
HANG_OF_TWO = 45.0
"""Seconds without a sync point after which the honest one of two peers hangs: it may wait for up to 37 s."""
END_SECONDS = 60.0
"""Seconds after which a session that should end hangs."""
END_TRAINING = 8.0
"""Seconds for which those who have trained wait here for one that trains on; else it is an hour."""
POLL = 0.01
MB = 1e6


@dataclass(frozen=True, slots=True)
class Case:
    """One attack on a swarm of one size."""

    attack: str
    """Its name; empty for a swarm in which nobody lies."""
    size: int
    off: bool
    """Whether the checks against it are switched off."""
    rounds: int
    """Merges of each honest peer during the attack; of two peers, sync points."""


def run(case: Case, identities: Path, sender: Connection) -> None:
    """Run a case, send its verdict as a dictionary, and end this process without closing the sessions."""
    result = {**asdict(case), **verdict_of(case, identities)}
    sender.send(result)
    sender.close()
    os._exit(0)


def verdict_of(case: Case, identities: Path) -> dict[str, Any]:
    """The verdict of a case; the peers go on afterwards.

    Raises:
        RuntimeError: the swarm did not start.
    """
    attack = ATTACKS.get(case.attack)
    liar, stop = Liar(), threading.Event()
    if attack:
        liar.habit = attack.make(liar)
    checks = attack.checks if attack and case.off else ()
    with inside(liar), patch.object(timing, "LEAST_TRAINING", END_TRAINING):
        peers = make_peers(case.size, identities, liar)
        honest = [peer for peer in peers if peer.name != LIAR]
        threads = [threading.Thread(target=peer.train, args=(stop,), name=peer.name, daemon=True) for peer in peers]
        threads.append(threading.Thread(target=act, args=(liar, stop), name="attack", daemon=True))
        at = attack.at if attack else ""
        if at != "start":
            _begin(threads)
            _warm_up(honest)
        begun, memory = [len(peer.lines) for peer in honest], _resident()
        with switched_off(checks):
            began = time.monotonic()
            liar.lying.set()
            if at == "start":
                _begin(threads)
            if at == "end":
                hung, most = _watch_the_end(peers, liar, began)
            else:
                hung, most = _watch(case, honest, liar, began)
            ended = time.monotonic()
            stop.set()
            lines = [line for peer, first in zip(honest, begun, strict=True) for line in peer.lines[first:]]
    found = judge(honest, liar, began, ended, identities / honest[0].name)
    found.hangs = hung
    finals = {peer.final for peer in honest if peer.final}
    if any("no closing round" in line for peer in honest for line in peer.lines):
        found.harms["not closed"] = "the sessions ended without a closing round"
    if len(finals) > 1:
        found.wrong_merges.append(f"the sessions ended with {len(finals)} models")
    warnings = [line for line in lines if line.startswith(("WARNING", "ERROR"))]
    found.named = any(LIAR in line for line in warnings)
    # The weights that are kept for the judge are no growth of a peer.
    kept = sum(sync.offered.nbytes + sync.merged.nbytes for peer in peers for sync in peer.syncs if sync.ended > began)
    found.memory_mb = round((most - memory - kept) / MB, 1)
    if found.memory_mb > MEMORY:
        found.harms["memory"] = f"{found.memory_mb} MB"
    if len(warnings) > MOST_WARNINGS:
        found.harms["log"] = f"{len(warnings)} warnings"
    return {**asdict(found), "log": [line[:300] for line in dict.fromkeys(warnings)][:12]}


def _begin(threads: Sequence[threading.Thread]) -> None:
    for thread in threads:
        thread.start()


def _watch_the_end(peers: Sequence[Peer], liar: Liar, began: float) -> tuple[list[str], float]:
    """Let all training be over, but that of a bad member that trains on, and wait for the ends of the honest ones."""
    honest = [peer for peer in peers if peer.name != LIAR]
    for peer in peers:
        if peer.name != LIAR or not liar.habit.trains_on:
            peer.finish.set()
    most = _resident()
    while time.monotonic() - began < END_SECONDS:
        most = max(most, _resident())
        if all(peer.final or peer.errors for peer in honest):
            return [], most
        time.sleep(POLL)
    return [
        f"{peer.name}: its session has not ended after {END_SECONDS:g} s" for peer in honest if not peer.final
    ], most


def _warm_up(honest: Sequence[Peer]) -> None:
    until = time.monotonic() + START_SECONDS
    while any(len(peer.syncs) < WARM_UP for peer in honest):
        errors = [error for peer in honest for error in peer.errors]
        if errors or time.monotonic() > until:
            raise RuntimeError(f"the swarm did not start: {errors or [peer.lines[-3:] for peer in honest]}")
        time.sleep(POLL)


def _watch(case: Case, honest: Sequence[Peer], liar: Liar, began: float) -> tuple[list[str], float]:
    """Wait until the attack has lasted long enough; who hangs, and the most resident bytes."""
    most, quorum = _resident(), len(honest) > 1
    enough = ENOUGH_SECONDS * (ATTACKS[case.attack].rounds if case.attack else 1)
    patience = HANG_SECONDS if quorum else HANG_OF_TWO
    while True:
        now, most = time.monotonic(), max(most, _resident())
        if any(peer.errors or peer.over for peer in honest):
            return [], most
        during = [
            [
                sync
                for sync in tuple(peer.syncs)
                if sync.ended > began and (sync.report.outcome is Outcome.MERGED or not quorum)
            ]
            for peer in honest
        ]
        last = [max((sync.ended for sync in syncs), default=began) for syncs in during]
        hung = [peer.name for peer, at in zip(honest, last, strict=True) if now - at > patience]
        if hung:
            what = "merge" if quorum else "sync point"
            return [f"{name}: no {what} for {patience:g} s" for name in hung], most
        if case.off and _harmed(honest, during):
            return [], most  # an interval of 2^20 batches would take hours to show in full
        lied = bool(liar.lies) or not case.attack
        if lied and all(len(syncs) >= case.rounds for syncs in during):
            return [], most
        long = enough if lied else MOST_SECONDS
        if now - began > long and all(now - at < GOES_ON for at in last):
            return [], most
        time.sleep(POLL)


def _harmed(honest: Sequence[Peer], during: Sequence[Sequence[Sync]]) -> bool:
    """Whether the last record of an honest peer says what the honest ones did not agree on."""
    harms: dict[str, str] = {}
    for syncs in during:
        for sync in syncs[-1:]:
            look(sync.commit, honest[0].syncs[0].commit, [peer.name for peer in honest], harms)
    return bool(harms)


def _resident() -> int:
    """Bytes of this process in memory (Linux)."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
