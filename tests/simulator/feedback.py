"""Checks error feedback: what a codec leaves out of one round is sent with the next, once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from swarm.exchange.layout import FrameKind, open_head, slice_chunks
from swarm.records import PeerStatus
from tests.simulator.model import SCHEMA, SIZE, Weights
from tests.simulator.process import PLUGINS
from tests.simulator.violation import Violation

if TYPE_CHECKING:
    from swarm.messages import Proposal
    from swarm.records import Attempt, Commit, PeerId
    from swarm.transport.base import Frame
    from tests.simulator.process import Process

    Key = tuple[str, int, Attempt]

HALF_A_STEP = 0.51 / 127
"""How far ``int8`` may be off, as a part of the largest change in a chunk: half of one of its steps."""


@dataclass(slots=True)
class Sent:
    """What a process has sent of its contribution to one attempt."""

    capture: Weights
    parent: Weights
    decoded: Weights
    """What the receivers understand; NaN where nothing was sent."""
    owed: list[Weights]
    """What it may have sent with it of earlier rounds."""


@dataclass(slots=True)
class Residual:
    """What a process has left to send to the group of its last commit."""

    group: tuple[PeerId, ...]
    left: list[Weights]
    """One of these, where it cannot be told which."""


class Feedback:
    """Decodes the contributions of a run whose codec has error feedback."""

    def __init__(self) -> None:
        self._sent: dict[tuple[Key, Process], Sent] = {}
        self._residuals: dict[Process, Residual] = {}
        self._parents: dict[str, Weights] = {}
        self._fetched: set[Process] = set()
        """Those that have fetched a model since their last commit."""

    def fetched(self, process: Process) -> None:
        """A process has fetched a model."""
        self._fetched.add(process)

    def sends(self, process: Process, proposal: Proposal | None, to: PeerId, frame: Frame) -> None:
        """A process sends a frame."""
        if proposal is None or not PLUGINS.codec(proposal.codec).feedback or proposal.parent not in self._parents:
            return
        head, payload = open_head(memoryview(frame[0])), memoryview(b"".join(frame[1:]))
        if head.kind is not FrameKind.CONTRIBUTION or head.segment:
            return  # moments, in the second segment, have no error feedback
        parent, group = self._parents[proposal.parent], proposal.group
        chunk = next(chunk for chunk in slice_chunks(SCHEMA, group.index(to), len(group)) if chunk.start == head.start)
        part = slice(chunk.start, chunk.stop)
        active = any(entry.peer == process.name and entry.status is PeerStatus.ACTIVE for entry in proposal.entries)
        capture = parent if active else process.offered.values
        unsent = np.full_like(parent, np.nan)
        sent = self._sent.setdefault((proposal.key, process), Sent(capture, parent, unsent, self._owed(process, group)))
        PLUGINS.codec(proposal.codec).decode(payload, parent[part], sent.decoded[part])
        self._check(process, proposal, sent, part)

    def _check(self, process: Process, proposal: Proposal, sent: Sent, part: slice) -> None:
        change, decoded = (sent.capture - sent.parent)[part], (sent.decoded - sent.parent)[part]
        for owed in tuple(sent.owed):
            due = change + owed[part]
            if np.abs(due - decoded).max() > HALF_A_STEP * np.abs(due).max() + 1e-5:
                sent.owed = [other for other in sent.owed if other is not owed]
        if not sent.owed:
            text = f"{process.name} sends something else than it has changed, with what it had left to send"
            raise Violation("Error feedback", text)

    def committed(
        self, process: Process, commit: Commit, proposal: Proposal | None, values: Mapping[str, Weights]
    ) -> None:
        """A process goes on from a commit."""
        self._parents[commit.digest] = values[commit.digest]
        sent = self._sent.pop((proposal.key, process), None) if proposal else None
        waits = process.offer is not None and process.offer.stats.round == commit.round
        if process.name not in commit.group:
            # One that fetched the model in order to vote keeps its residual, one that fell behind does not.
            last = self._residuals.get(process)
            if last:
                last.left.append(np.zeros(SIZE, np.float32))
        elif not (waits and process.waiting) and not process.settings.overlap:
            self._residuals.pop(process, None)  # it has trained on since
        elif commit.contributors:
            left = self._owed(process, commit.group)
            if sent:
                moved = (sent.capture - sent.parent) - (sent.decoded - sent.parent)
                left = [np.where(np.isnan(moved), 0.0, owed + moved).astype(np.float32) for owed in sent.owed]
            if process.settings.overlap or process in self._fetched:
                left.append(np.zeros(SIZE, np.float32))  # it may have given the round up, or caught up with it
            self._residuals[process] = Residual(commit.group, left)
        self._fetched.discard(process)

    def _owed(self, process: Process, group: tuple[PeerId, ...]) -> list[Weights]:
        """What a process may have left to send to a group: it starts anew in another one."""
        last = self._residuals.get(process)
        return [*last.left] if last and last.group == group else [np.zeros(SIZE, np.float32)]
