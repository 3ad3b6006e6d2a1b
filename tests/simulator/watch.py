"""Watches for progress once all faults are over."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from swarm.consensus.strikes import FACTOR, FIRST
from swarm.consensus.timing import FIRST_STRAGGLER_TIMEOUT, LONGEST_SILENCE
from swarm.peer.greeter import LONGEST_RETRY
from swarm.quorums import is_quorum
from swarm.records import Commit, PeerStatus
from tests.simulator.violation import Violation

if TYPE_CHECKING:
    from swarm.records import PeerId
    from tests.simulator.loop import Loop
    from tests.simulator.plan import Schedule
    from tests.simulator.process import Process

LIES = 12
"""Time-outs that a lying member may cost in one round, before it is left out of it."""
REMOVAL = FIRST * (1 + 1 + FACTOR + FACTOR**2)
"""Seconds for which a member is left out before it counts as gone for all: until then the session cannot close."""
GREETINGS_LOST = 3
"""Greetings in a row that a lossy network may lose between two peers: the next comes after the longest pause."""
ATTEMPTS_LOST = 2
"""Attempts in a row that fail as such a network loses what their leader or a member has sent again, too."""


class Watch:
    """Looks every second, once all faults are over, whether those who can commit do."""

    def __init__(
        self, loop: Loop, schedule: Schedule, processes: dict[PeerId, Process], calm_from: Callable[[], float]
    ) -> None:
        """``calm_from`` tells when the last fault is over, as far as is known."""
        self._calm_from = calm_from
        self._loop = loop
        self._schedule = schedule
        self._processes = processes
        self._since: dict[tuple[str, int], float] = {}

    def look(self) -> None:
        """Look, and look again a second later.

        Raises:
            Violation: those who can commit a round have not for too long.
        """
        calm = self._loop.now >= self._calm_from()
        able = {self._key(commit) for commit in self._able()} if calm else set()
        self._since = {key: self._since.get(key, self._loop.now) for key in sorted(able)}
        plan = self._schedule
        straggler_timeout = FIRST_STRAGGLER_TIMEOUT if plan.straggler_timeout is None else plan.straggler_timeout
        greetings = GREETINGS_LOST * LONGEST_RETRY if plan.loss else 0.0
        bound = straggler_timeout + 3 * plan.failure_timeout + 10 * plan.transfer + greetings + 3.0
        bound += ATTEMPTS_LOST * 3 * plan.failure_timeout if plan.loss else 0.0
        bound += (LIES * plan.failure_timeout + REMOVAL) * len(plan.liars)
        bound += LONGEST_SILENCE if plan.liars else 0.0
        if any(process.claims is not None for process in self._processes.values()):
            # Who leaves its contribution out may be rejected by a member that cannot tell, until that one is left out.
            # One that claims too much weight leaves the others fewer contributions to tell by.
            bound += LIES * plan.failure_timeout * sum(process.dishonest for process in self._processes.values())
        bound /= plan.slowest_clock
        for (lineage, round_), since in self._since.items():
            if self._loop.now - since > bound:
                text = f"a majority waits for {bound:.0f} s after round {round_} of lineage {lineage}"
                raise Violation("Progress", text)
        self._loop.after(1.0, self.look)

    @staticmethod
    def _key(commit: Commit) -> tuple[str, int]:
        return commit.lineage, commit.round

    def _able(self) -> list[Commit]:
        """Commits whose membership could commit the next round."""
        waiting: dict[tuple[str, int], list[Process]] = {}
        commits: dict[tuple[str, int], Commit] = {}
        for process in self._processes.values():
            commit = process.session.commit
            if process.running and not process.lies and commit and not commit.closing and _offers(process, commit):
                waiting.setdefault(self._key(commit), []).append(process)
                commits[self._key(commit)] = commit
        return [commits[key] for key, processes in waiting.items() if self._enough(commits[key], processes)]

    def _enough(self, commit: Commit, processes: list[Process]) -> bool:
        names, session = {process.name for process in processes}, processes[0].plan.session
        training = any(not process.finished for process in processes)
        everyone = all(
            process.name in names
            for process in self._processes.values()
            if process.running and not process.lies and process.plan.session == session
        )
        honest = {process.name for process in processes if not process.dishonest}
        # Of two contributions, it cannot be told which one is wrong: then the others can commit only by themselves.
        contributors = [process for process in processes if self._contributes(process)]
        present = names if len(contributors) > 2 else honest
        enough = len(present) >= processes[0].settings.min_peers
        enough = enough and is_quorum(commit.members, present, self._schedule.tolerated) and not self._schedule.excess
        return enough and (training or everyone)

    def _contributes(self, process: Process) -> bool:
        """Whether what it offers has weight."""
        if process.offer is None:
            return False
        stats = process.offer.stats
        idle = stats.status is PeerStatus.INACTIVE or (stats.status is PeerStatus.EXTENDED and not stats.steps)
        idle |= stats.status is PeerStatus.ACTIVE and not self._schedule.averaging
        return stats.weight > 0 and stats.finite and not idle


def _offers(process: Process, commit: Commit) -> bool:
    """Whether a process waits for the round after ``commit``."""
    offer = process.offer
    return offer is not None and (offer.lineage, offer.stats.round) == (commit.lineage, commit.round + 1)
