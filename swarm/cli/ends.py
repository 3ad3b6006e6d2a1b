"""How the peers of ``swarm up`` have ended, and the lines that say so: peers that failed alike are named together."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from dataclasses import dataclass

from swarm.text import listed


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerEnd:
    """How a peer ended."""

    name: str
    code: int
    """As reported by the operating system: negative for a signal."""
    stopped: bool = False
    """Whether it ended because the launcher was interrupted."""
    cause: str = ""
    """The error that has ended its script, with its place; empty if not known."""
    epoch: int | None = None
    """The epoch in which it ended, from 1; None if not known."""
    joined: bool = True
    """Whether it had joined its session."""

    @property
    def failed(self) -> bool:
        """Whether it ended badly, and by itself."""
        return self.code != 0 and not self.stopped

    @property
    def exit_code(self) -> int:
        """The exit code in a shell: 128 plus the number of the signal."""
        return 128 - self.code if self.code < 0 else self.code

    @property
    def why(self) -> str:
        """Why it ended, as well as that is known."""
        if self.code < 0:
            return f"ended by {signal_name(-self.code)}"
        return self.cause or f"exit code {self.code}"


def signal_name(number: int) -> str:
    """The name of a signal, or its number if it has none."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def at_once(end: PeerEnd, left: int, peers: int, min_peers: int) -> str:
    """The line about a peer that has just failed while others go on.

    Args:
        end: of the peer.
        left: peers that still run.
        peers: that were started.
        min_peers: that a session needs, as far as the launcher knows.
    """
    if end.joined:
        return f"FAILED {end.name}{_epoch(end)}: {end.why}; {left} of {peers} go on"
    needed = f"{left} left, and min_peers is {min_peers} unless the script sets it"
    start = f"starting with {left}" if left >= min_peers else needed
    return f"{end.name} ended before joining: {end.why}; {start}"


def failures(ends: Sequence[PeerEnd], peers: int) -> list[str]:
    """A line for each way in which peers have failed."""
    alike: dict[str, list[PeerEnd]] = {}
    for end in ends:
        if end.failed:
            alike.setdefault(end.why, []).append(end)
    finished = f"{sum(not end.failed for end in ends)} of {peers} finished"
    lines = []
    for why, group in alike.items():
        if len(group) == peers > 1:
            lines.append(f"ALL {peers} FAILED ALIKE: {why}")
            continue
        names = listed(sorted((end.name for end in group), key=lambda name: (len(name), name)))
        epochs = {_epoch(end) for end in group}
        lines.append(f"FAILED {names}{epochs.pop() if len(epochs) == 1 else ''}: {why}")
    if lines and not lines[0].startswith("ALL"):
        lines[-1] += f"; {finished}"
    return lines


def _epoch(end: PeerEnd) -> str:
    if not end.joined:
        return " before joining"
    return f" in epoch {end.epoch}" if end.epoch else ""
