"""The status of a peer, as ``swarm status`` shows it."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from swarm.peer.recent import RecentRounds
from swarm.peer.states import (
    CATCHING_UP,
    CLOSED,
    EXTENDED,
    LEFT,
    LIVE,
    LOST,
    MERGING,
    STARTING,
    TRAINING,
    VOTING,
    WAITING,
)
from swarm.records import PeerStatus
from swarm.versions import UNNAMED

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from swarm.consensus.machine import RoundMachine
    from swarm.identity import Identity
    from swarm.peer.exchanger import Exchanger
    from swarm.peer.progress import Progress
    from swarm.peer.recent import Recent
    from swarm.peer.roster import Known, Roster
    from swarm.records import PeerId, PeerInfo, RoundReport, SyncState
    from swarm.tensors.model import Evaluation


@dataclass(slots=True)
class TrainingStatus:
    """What the training thread reports."""

    loss: float | None = None
    """Of the batch before the last sync point."""
    rounds: RecentRounds = field(default_factory=RecentRounds)
    """The last sync points."""
    progress: Progress | None = None
    """Epochs of the local training."""
    batches_left: Callable[[], int | None] = lambda: None
    """Local batches to the next sync point; None where there is none to come."""

    def settled(self, report: RoundReport, own: Evaluation | None) -> None:
        """A sync point is over; ``own`` is what this peer's own model gave before it, if that was validated."""
        self.rounds.add(report, self.loss, own)


def protection(identity: Identity | None) -> str:
    """What protects connections to and from a peer, in words."""
    if identity is None:
        return "insecure: no encryption, and anybody who can reach this peer may take part"
    document = identity.document
    of = f"consortium {document.name}" if document else "its own authority"
    return f"mutual TLS 1.3, certificate of {identity.name} in {of}"


class Standing:
    """Describes this peer in its session; can be called on any thread."""

    def __init__(
        self,
        machine: RoundMachine,
        roster: Roster,
        exchanger: Exchanger,
        training: TrainingStatus,
        first_sync: SyncState,
        security: str,
        *,
        recent: Recent,
        origins: Mapping[str, str],
        way: Callable[[str], str | None],
    ) -> None:
        """No offer was made yet.

        Args:
            machine: of the rounds.
            roster: the peers that are known.
            exchanger: counts the bytes.
            training: what the training thread reports.
            first_sync: is used until the first commit.
            security: what protects this peer's connections.
            recent: the last records and warnings.
            origins: where this peer has the settings from that must agree, in a word, by name.
            way: how the peer at an address is reached; None where it is not known.
        """
        self._way = way
        self._security = security
        self._machine = machine
        self._roster = roster
        self._exchanger = exchanger
        self._training = training
        self._first_sync = first_sync
        self._recent = recent
        self._origins = origins
        self.checked_in = PeerStatus.TRAINING
        """The status in the last offer of this peer."""

    def describe(self) -> dict[str, Any]:
        """The status in JSON types."""
        sent, received = self._exchanger.traffic
        me, commit, report = self._roster.me, self._machine.commit, self._training.rounds.last
        last = {**asdict(report), "outcome": report.outcome.value} if report else {}
        loss = report.loss if report else None
        return {
            "name": me.name,
            "address": me.address,
            "session": me.session,
            **_versions(me),
            "settings": dict(me.settings),
            "origins": {name: self._origins[name] for name, _ in me.settings if name in self._origins},
            "time": time.time(),
            "session_protocol": self._machine.protocol,
            "round": commit.round if commit else None,
            "lineage": commit.lineage if commit else None,
            "security": self._security,
            "status": self._state(),
            "waits_for": sorted(self._waits_for()),
            **self._epochs(),
            "peers": [self._peer(known) for known in self._roster.known()],
            "weight": me.weight,
            "interval": (commit.sync if commit else self._first_sync).interval,
            "batches_left": self._training.batches_left(),
            "loss": self._training.loss if loss is None else loss,
            "bytes_sent": sent,
            "bytes_received": received,
            "ranks": [{"bytes_sent": each[0], "bytes_received": each[1]} for each in self._exchanger.traffic_of_ranks],
            "swarm_over": self._machine.closed,
            "last": last,
            "rounds": self._training.rounds.describe(me.name),
            **self._recent.describe(),
        }

    def _state(self) -> str:
        if self._machine.closed:
            return CLOSED
        if self._machine.commit is None:
            return STARTING
        if self.checked_in.finished:
            return f"finished ({self.checked_in})"
        if self._machine.healing:
            return CATCHING_UP
        if self._machine.offered:
            owes = self._exchanger.owes
            return WAITING if owes is None else MERGING if owes else VOTING
        return EXTENDED if self.checked_in is PeerStatus.EXTENDED else TRAINING

    def _peer(self, known: Known) -> dict[str, Any]:
        return {
            "name": known.info.name,
            "address": known.info.address,
            "state": LIVE if known.live else LEFT if known.left else LOST,
            "way": self._way(known.info.address) if known.live else None,
            "left_out": known.info.name in self._machine.left_out,
            "weight": known.info.weight,
            **_versions(known.info),
        }

    def _waits_for(self) -> Collection[PeerId]:
        """Whose offer or weights this peer is waiting for."""
        if not self._machine.offered:
            return ()
        owes = self._exchanger.owes
        return self._machine.unoffered if owes is None else owes

    def _epochs(self) -> dict[str, Any]:
        progress = self._training.progress
        if progress is None:
            return {"epoch": 0, "total_epochs": None, "seconds_left": None}
        # After an early stop, some epochs never run.
        over = self._machine.closed or self.checked_in is not PeerStatus.TRAINING
        left = None if over else progress.seconds_left()
        return {"epoch": progress.epochs, "total_epochs": progress.total, "seconds_left": left}


def _versions(info: PeerInfo) -> dict[str, Any]:
    its = info.versions or UNNAMED
    return {"release": its.release, "protocol": its.newest, "oldest_protocol": its.oldest}
