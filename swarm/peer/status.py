"""The status of a peer, as ``swarm status`` shows it."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from swarm.records import PeerStatus
from swarm.versions import UNNAMED

if TYPE_CHECKING:
    from collections.abc import Callable

    from swarm.consensus.machine import RoundMachine
    from swarm.identity import Identity
    from swarm.peer.exchanger import Exchanger
    from swarm.peer.progress import Progress
    from swarm.peer.roster import Known, Roster
    from swarm.records import PeerInfo, RoundReport, SyncState


EXTENDED = "training on for others"
"""The state of a peer that has trained its own epochs and goes on until all have."""


@dataclass(slots=True)
class TrainingStatus:
    """What the training thread reports."""

    loss: float | None = None
    """Of the batch before the last sync point."""
    last_report: RoundReport | None = None
    """Of the last sync point."""
    progress: Progress | None = None
    """Epochs of the local training."""


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
            way: how the peer at an address is reached; None where it is not known.
        """
        self._way = way
        self._security = security
        self._machine = machine
        self._roster = roster
        self._exchanger = exchanger
        self._training = training
        self._first_sync = first_sync
        self.checked_in = PeerStatus.TRAINING
        """The status in the last offer of this peer."""

    def describe(self) -> dict[str, Any]:
        """The status in JSON types."""
        sent, received = self._exchanger.traffic
        me, commit, report = self._roster.me, self._machine.commit, self._training.last_report
        last = {**asdict(report), "outcome": report.outcome.value} if report else {}
        loss = report.loss if report else None
        return {
            "name": me.name,
            "address": me.address,
            "session": me.session,
            **_versions(me),
            "settings": dict(me.settings),
            "time": time.time(),
            "session_protocol": self._machine.protocol,
            "round": commit.round if commit else None,
            "lineage": commit.lineage if commit else None,
            "security": self._security,
            "status": self._state(),
            **self._epochs(),
            "peers": [self._peer(known) for known in self._roster.known()],
            "weight": me.weight,
            "interval": (commit.sync if commit else self._first_sync).interval,
            "loss": self._training.loss if loss is None else loss,
            "bytes_sent": sent,
            "bytes_received": received,
            "swarm_over": self._machine.closed,
            "last": last,
        }

    def _state(self) -> str:
        if self._machine.closed:
            return "closed"
        if self._machine.commit is None:
            return "starting"
        if self.checked_in.finished:
            return f"finished ({self.checked_in})"
        if self._machine.offered:
            return "merging"
        return EXTENDED if self.checked_in is PeerStatus.EXTENDED else "training"

    def _peer(self, known: Known) -> dict[str, Any]:
        return {
            "name": known.info.name,
            "address": known.info.address,
            "state": "live" if known.live else "left" if known.left else "lost",
            "way": self._way(known.info.address) if known.live else None,
            "left_out": known.info.name in self._machine.left_out,
            "weight": known.info.weight,
            **_versions(known.info),
        }

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
