"""What a session takes from the computer that it runs on; a simulation puts its own in its place."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from swarm.executor import Executor, ThreadExecutor
from swarm.records import new_incarnation
from swarm.session.signals import leave_on_sigterm
from swarm.storage.checkpoints import CheckpointStore, files_of

if TYPE_CHECKING:
    from swarm.config import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Platform:
    """Threads and time, a disk, a name for this process, and its signals."""

    executor: Executor = field(default_factory=ThreadExecutor)
    checkpoint_store: Callable[[Settings], CheckpointStore | None] = files_of
    """Where committed models are kept; None for nowhere."""
    incarnation: Callable[[], str] = new_incarnation
    """What tells this process from every other one."""
    on_sigterm: Callable[[Callable[[str], None]], Callable[[], None]] = leave_on_sigterm
    """Arranges that its argument is called when the process is told to end; returns what undoes that."""
