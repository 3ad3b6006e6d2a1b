"""When a peer at a sync point should stop waiting, and what it says while it waits."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Set as AbstractSet

from swarm.consensus.effects import End, Skip
from swarm.consensus.order import majority
from swarm.consensus.view import RoundView
from swarm.messages import Withdraw
from swarm.records import PeerId

LEAST_BACKSTOP = 30.0
"""Seconds added to the time-outs of a round before a peer stops waiting for it."""
LINE_EVERY = 30.0
"""Seconds between lines that say whom a wait is for."""

MOST_FAULTS = 3
"""Exchanges that may fail because of this peer itself at one sync point: a merge rule with a bug fails every time."""


class Waiting:
    """The wait of one sync point."""

    def __init__(self, view: RoundView) -> None:
        self._view = view
        self._short_since: float | None = None
        self._line_at = view.now
        self.since = view.now
        """When this peer offered."""

    def begin(self) -> None:
        """This peer has offered."""
        self.since = self._line_at = self._view.now
        self._short_since = None
        self._view.faults.clear()

    def end_if_hopeless(self, *, busy: bool) -> None:
        """Take the offer back where the wait should end without a merge.

        Args:
            busy: an attempt is running, which has time-outs of its own.
        """
        view = self._view
        reason = self._hopeless(busy=busy)
        if reason is None or view.mine is None:
            return
        finished = view.mine.stats.status.finished
        view.training_since = view.now
        view.tell(view.live, Withdraw(view.mine.lineage, view.mine.stats.round))
        view.offers.pop(view.me, None)
        view.mine = None
        view.effects.append(End(reason) if finished else Skip(view.round, reason))

    def _hopeless(self, *, busy: bool) -> str | None:
        """Why the wait should end without a merge; None where it should not."""
        view = self._view
        if view.mine is None or view.commit is None:
            return None
        if len(view.faults) >= MOST_FAULTS:
            return f"this peer failed {MOST_FAULTS} attempts by itself, the last one because {view.faults[-1]}"
        present = view.live | {view.me}
        members, least = view.commit.members, view.rules.min_peers
        self.line(lambda: f"round {view.round}: waiting for {self.missing()}")
        if self._enough(present):
            self._short_since = None
            patient = busy or view.mine.stats.status.finished or view.rules.wait_below_quorum
            if patient:
                return None
            offered = {peer for peer, offer in view.offers.items() if view.current(offer)}
            if not self._enough((present - view.absent) | offered):
                return f"{self.missing()} did not come to a sync point since the last one was waited for in vain"
            if self._enough(offered):
                # The round has time-outs of its own; this one is for what nobody has thought of.
                wait = self._longest()
                return f"no result within {wait:.3g} s" if view.past(self.since + wait) else None
            if not view.past(self.since + view.pace.patience):
                return None
            late = self.missing()
            # Their next offer ends that; until then nobody waits for them a second time.
            view.absent |= view.live - view.offers.keys()
            return f"{late} did not come to a sync point within {view.pace.patience:.3g} s"
        if self._short_since is None:
            self._short_since = view.now
        wait = min(view.pace.straggler_timeout, view.rules.failure_timeout)
        again = view.short and not view.mine.stats.status.finished
        if view.rules.wait_below_quorum or not (again or view.past(self._short_since + wait)):
            return None
        view.short = True
        needed = max(least, len(members) // 2 + 1)
        gone = ", ".join(f"{peer} (gone)" for peer in sorted({*members} - present))
        missing = f"; missing: {gone}" if gone else ""
        return f"below quorum: {len(present)} of the {needed} peers needed are here{missing}"

    def _longest(self) -> float:
        """Seconds in which a round commits or fails, whatever goes wrong, once enough peers have offered."""
        pace, rules = self._view.pace, self._view.rules
        return max(LEAST_BACKSTOP, pace.patience) + pace.straggler_timeout + 3 * rules.failure_timeout

    def _enough(self, present: AbstractSet[PeerId]) -> bool:
        """Whether these peers could commit a round."""
        view = self._view
        members, least = view.committed.members, view.rules.min_peers
        # Only members lead; a fork needs no majority of them, but one.
        forks = 2 * least <= len(members) and not present.isdisjoint(members)
        return len(present) >= least and (majority(members, present) or forks)

    def missing(self, unknown: int = 0) -> str:
        """Names of the peers that have not offered; ``unknown`` more are expected and were never met."""
        view = self._view
        members = view.commit.members if view.commit else ()
        offered = {peer for peer, offer in view.offers.items() if view.current(offer)}
        absent = sorted(({*members} | view.live) - {view.me} - offered)
        names = [peer if peer in view.live else f"{peer} (gone)" for peer in absent]
        if unknown > 0:
            names.append(f"{unknown} that never came")
        return ", ".join(names) or "the leader"

    def line(self, text: Callable[[], str]) -> None:
        """Say what ``text`` gives if nothing was said for a while."""
        if self._view.past(self._line_at + LINE_EVERY):
            self._line_at = self._view.now
            self._view.notice(text(), loud=True)
