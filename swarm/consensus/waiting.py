"""When a sync point ends without a merge, and the lines that say what a peer is waiting for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet

from swarm.consensus.effects import End, Skip
from swarm.consensus.forming import complete
from swarm.consensus.state import RoundState
from swarm.messages import Withdraw
from swarm.quorums import quorum_size
from swarm.records import Commit, PeerId, PeerStatus

LEAST_BACKSTOP = 30.0
"""Seconds added to the time-outs of a round before a peer stops waiting for it."""
LINE_EVERY = 30.0
"""Seconds between lines that name the peers waited for."""

MOST_FAULTS = 3
"""Exchanges that may fail because of this peer itself at one sync point: a merge rule with a bug fails every time."""


class Waiting:
    """The wait of one sync point."""

    def __init__(self, state: RoundState) -> None:
        self._state = state
        self._faults: list[str] = []
        """Why exchanges failed because of this peer itself, since it offered."""
        self._aborted = ""
        """Why the last attempt since then was aborted."""
        self._below_quorum_since: float | None = None
        self._gave_up_quorum = False
        """Whether a sync point has waited for a quorum without success, and no peer has come since."""
        self._idle_since: float | None = None
        """Since when everybody has offered and no attempt gets as far as a proposal; None: it is not so."""
        self._trained: set[PeerId] = set()
        """Peers that have trained as long as this one, as their offers say: finished, or trained on for the others."""
        self._trained_since: tuple[float, float] | None = None
        """Since when these are a quorum, in time awake, and for how many seconds they wait for the rest."""
        self._line_at = state.timer.now
        self.since = state.timer.now
        """When this peer offered."""

    def begin(self) -> None:
        """This peer has offered."""
        self.since = self._line_at = self._state.timer.now
        self._below_quorum_since = self._idle_since = None
        self._faults.clear()
        self._aborted = ""

    def aborted(self, reason: str) -> None:
        """The attempt that this peer took part in was aborted."""
        self._aborted = reason

    def failed_here(self, reason: str) -> None:
        """An exchange has failed because of this peer itself."""
        self._faults.append(reason)

    def peer_came(self) -> None:
        """Another peer can be reached: a quorum is worth waiting for again."""
        self._gave_up_quorum = False

    def end_if_hopeless(self, commit: Commit, *, busy: bool) -> None:
        """Withdraw the offer where the wait should end without a merge.

        Args:
            commit: the last committed round.
            busy: an attempt is running, which has time-outs of its own.
        """
        state, mine = self._state, self._state.offers.mine
        if mine and mine.stats.status is not PeerStatus.TRAINING:
            self._give_up_on_silent(commit)
            self._give_up_on_training(commit, mine.stats.status)
        alone, reason = (
            self._hopeless(commit, busy=busy, finished=mine.stats.status.finished) if mine else (False, None)
        )
        if mine is None or reason is None:
            return
        if self._aborted and len(self._faults) < MOST_FAULTS:
            reason = f"{reason}; the last attempt was aborted: {self._aborted}"
        missing = self._expected(commit) - state.offers.current
        state.pace.training_from(state.timer.now)
        state.effects.tell(state.presence.live, Withdraw(mine.lineage, mine.stats.round))
        state.offers.withdraw()
        skip = Skip(state.position.round, reason, alone, tuple(sorted(missing)))
        state.effects.add(End(reason) if mine.stats.status.finished else skip)

    def _give_up_on_silent(self, commit: Commit) -> None:
        """Where all who have offered have trained, wait for a live peer without an offer for a limited time only."""
        state = self._state
        offers = state.table(commit).offers
        if any(offer.stats.status is PeerStatus.TRAINING for offer in offers.values()):
            return
        seconds = state.pace.longest_silence
        for peer in sorted(state.presence.silent(seconds) - offers.keys() - state.excluded()):
            text = (
                f"{peer} has reached no sync point for {seconds:.0f} s and all others have trained: it counts as gone"
            )
            state.effects.notice(f"round {state.position.round}: {text}", loud=True)
            state.presence.strikes.give_up(peer)

    def _give_up_on_training(self, commit: Commit, mine: PeerStatus) -> None:
        """Where a quorum has trained as this peer has, wait for the rest for a limited time only, if most agree."""
        state = self._state
        for peer, offer in state.offers.among(state.presence.here).items():
            status = offer.stats.status
            if status.finished or (status is PeerStatus.EXTENDED and not mine.finished):
                self._trained.add(peer)
            else:
                self._trained.discard(peer)
        if state.rules.require_all or not state.quorum(commit.members, self._trained & state.presence.here):
            self._trained_since, state.presence.overdue = None, frozenset()
            return
        if self._trained_since is None:
            self._trained_since = state.timer.awake, state.pace.longest_training(state.position.round)
        since, seconds = self._trained_since
        if not state.timer.past(since + state.timer.slept + seconds):
            return
        overdue = frozenset(state.presence.live - self._trained)
        for peer in sorted(overdue - state.presence.overdue):
            text = f"{peer} still trains {seconds:.0f} s after most others have trained: it is waited for no longer"
            state.effects.notice(f"round {state.position.round}: {text}", loud=True)
        state.presence.overdue = overdue

    def _hopeless(self, commit: Commit, *, busy: bool, finished: bool) -> tuple[bool, str | None]:
        """Whether this peer can take part in no round, and why the wait should end without a merge, if it should."""
        state, rules = self._state, self._state.rules
        if len(self._faults) >= MOST_FAULTS:
            return True, f"this peer failed {MOST_FAULTS} attempts by itself, the last one because {self._faults[-1]}"
        self.line(lambda: f"round {state.position.round}: waiting for {self.missing()}")
        here = state.presence.counted
        if not self._enough(commit, here):
            return True, self._below_quorum(commit, here, finished=finished)
        self._below_quorum_since = None
        if finished and state.presence.proven and state.timer.past(self.since + state.pace.longest_silence):
            # What was accepted in this round may need a vote that nobody takes any more.
            liars = ", ".join(map(self._absent, sorted(state.presence.proven)))
            return True, f"no result within {state.pace.longest_silence:.0f} s without {liars}"
        if finished:
            return self._idle_for_long(commit, busy=busy)
        if busy or rules.wait_below_quorum:
            return False, None
        return False, self._stragglers(commit, here)

    def _idle_for_long(self, commit: Commit, *, busy: bool) -> tuple[bool, str | None]:
        """Whether a peer that has trained waits for members that have offered and answer no leader."""
        state = self._state
        offered = state.offers.current
        if busy or not complete(state.table(commit)) or not self._enough(commit, offered):
            self._idle_since = None
            return False, None
        if self._idle_since is None:
            self._idle_since = state.timer.now
        seconds = state.pace.longest_silence
        if not state.timer.past(self._idle_since + seconds):
            return False, None
        return True, f"all have offered, and no leader came to a proposal within {seconds:.0f} s"

    def _stragglers(self, commit: Commit, here: AbstractSet[PeerId]) -> str | None:
        """Why not to wait any longer though the live peers are a quorum."""
        state, patience, offered = self._state, self._state.pace.patience, self._state.offers.current
        if not self._enough(commit, (here - state.presence.absent) | offered):
            return f"{self.missing()} did not reach a sync point since the last wait for them timed out"
        if self._enough(commit, offered):
            # The round has time-outs of its own; this one is for errors that none of them covers.
            wait = self._longest()
            return f"no result within {wait:.3g} s" if state.timer.past(self.since + wait) else None
        if not state.timer.past(self.since + patience):
            return None
        late = self.missing()
        state.presence.missed(state.presence.live - state.offers.peers)
        return f"{late} did not reach a sync point within {patience:.3g} s"

    def _below_quorum(self, commit: Commit, here: AbstractSet[PeerId], *, finished: bool) -> str | None:
        """Why not to wait any longer where the live peers are no quorum."""
        state, rules = self._state, self._state.rules
        if self._below_quorum_since is None:
            self._below_quorum_since = state.timer.now
        wait = min(state.pace.straggler_timeout, rules.failure_timeout)
        again = self._gave_up_quorum and not finished
        if rules.wait_below_quorum or not (again or state.timer.past(self._below_quorum_since + wait)):
            return None
        self._gave_up_quorum = True
        needed = max(rules.min_peers, quorum_size(len(commit.members), rules.tolerated_liars))
        absent = ", ".join(map(self._absent, sorted({*commit.members} - here)))
        missing = f"; missing: {absent}" if absent else ""
        return f"below quorum: {len(here)} of the {needed} peers needed are here{missing}"

    def _longest(self) -> float:
        """Seconds in which a round commits or fails in any case, once enough peers have offered."""
        pace, rules = self._state.pace, self._state.rules
        return max(LEAST_BACKSTOP, pace.patience) + pace.straggler_timeout + 3 * rules.failure_timeout

    def _enough(self, commit: Commit, present: AbstractSet[PeerId]) -> bool:
        """Whether these peers could commit a round."""
        members, least = commit.members, self._state.rules.min_peers
        # Only members lead: a fork needs no majority of them, but at least one.
        forks = 2 * least <= len(members) and not present.isdisjoint(members)
        return len(present) >= least and (self._state.quorum(members, present) or forks)

    def missing(self, unknown: int = 0, unmet: Sequence[PeerId] = ()) -> str:
        """Names of the peers that have not offered; ``unknown`` more are expected, of which those of ``unmet``."""
        state, commit = self._state, self._state.position.commit
        members, live = commit.members if commit else (), state.presence.live
        absent = sorted(({*members} | live) - {state.me} - state.offers.current)
        names = [peer if peer in live else self._absent(peer) for peer in absent]
        names += [f"{peer} (never came)" for peer in unmet]
        if unknown > len(unmet):
            names.append(f"{unknown - len(unmet)} more (never came)")
        return ", ".join(names) or "the leader"

    def _absent(self, peer: PeerId) -> str:
        """The name of a peer that does not count as here, and why."""
        presence = self._state.presence
        if peer in presence.proven:
            return f"{peer} (has signed two results of one round)"
        return f"{peer} ({'left out after failed attempts' if peer in presence.here else 'gone'})"

    def _expected(self, commit: Commit | None) -> set[PeerId]:
        """The other peers of which an offer would be expected, the unreachable members among them."""
        presence, members = self._state.presence, commit.members if commit else ()
        return (presence.counted - presence.absent | {*members}) - {self._state.me}

    def kept_by(self, group: AbstractSet[PeerId]) -> tuple[PeerId, ...]:
        """Whom this peer has been waiting for since it offered, where a round now begins with ``group``.

        The live peers that are not in it, else the one of it that came last. Empty where all had come before.
        """
        state = self._state
        if late := self._expected(None) - group:
            return tuple(sorted(late))
        last = state.offers.last_to_come(group, self.since)
        return (last,) if last else ()

    def line(self, text: Callable[[], str]) -> None:
        """Log what ``text`` returns if nothing was logged for ``LINE_EVERY`` seconds."""
        if self._state.timer.past(self._line_at + LINE_EVERY):
            self._line_at = self._state.timer.now
            self._state.effects.notice(text(), loud=True)
