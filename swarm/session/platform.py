"""What a session needs from the computer that it runs on; a simulation replaces it."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from types import FrameType
from typing import TYPE_CHECKING

from swarm.certification.keys import ProcessKey, Signer
from swarm.executor import Executor, ThreadExecutor
from swarm.records import new_incarnation
from swarm.storage.checkpoints import CheckpointStore, files_of
from swarm.storage.ledger import Ledger, Owner, ledger_of
from swarm.versions import Versions, here

if TYPE_CHECKING:
    from swarm.config import Settings


def leave_on_sigterm(leave: Callable[[str], None]) -> Callable[[], None]:
    """Call ``leave`` with the reason on SIGTERM, and then end the process with that signal.

    Nothing is done if the program has a handler of its own, or outside the main thread: only that one can set handlers.
    Forked children inherit the handler; in them it only ends the process.

    Returns:
        A function that removes the handler.
    """
    if threading.current_thread() is not threading.main_thread():
        return lambda: None
    if signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        return lambda: None
    owner = os.getpid()

    def on_sigterm(number: int, _: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)
        if os.getpid() == owner:
            leave("it was terminated")
        os.kill(os.getpid(), number)

    def undo() -> None:
        if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) is on_sigterm:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)

    signal.signal(signal.SIGTERM, on_sigterm)
    return undo


@dataclass(frozen=True, slots=True, kw_only=True)
class Platform:
    """Threads and time, a disk, an identifier and the versions of this process, and its signals."""

    executor: Executor = field(default_factory=ThreadExecutor)
    checkpoint_store: Callable[[Settings], CheckpointStore | None] = files_of
    """Stores committed models; None if they are not stored."""
    ledger: Callable[[Settings, Owner, Executor, logging.Logger], Ledger] = ledger_of
    """Keeps the records of committed rounds."""
    signer: Callable[[], Signer] = ProcessKey
    """Makes the key with which this process signs."""
    incarnation: Callable[[], str] = new_incarnation
    """Identifies this process."""
    versions: Versions = field(default_factory=here)
    """The versions of the protocol that it speaks; tests name others."""
    on_sigterm: Callable[[Callable[[str], None]], Callable[[], None]] = leave_on_sigterm
    """Registers a function to be called on SIGTERM; returns a function that undoes it."""
