"""Forked DataLoader workers beside a running swarm."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

pytest.importorskip("torch")
LOADER = Path(__file__).with_name("loader.py")


def test_workers_neither_hang_nor_keep_a_killed_parent_alive(start, patient) -> None:
    """Three epochs with rounds in flight, then SIGKILL in the middle of the fourth, while its workers live."""
    ada = start("ada", 4, 0.02, program=LOADER, world_size=2, straggler_timeout=0.5, **patient)
    bob = start("bob", 400, 0.02, program=LOADER, world_size=2, straggler_timeout=0.5, **patient)
    bob.said("^EPOCH 2$")
    killed = bob.signal(signal.SIGKILL)
    ada.said("WARNING .*bob is gone", after=killed)
    ada.said("^DIGEST")
    assert ada.wait() == 0


def test_ctrl_c_in_a_training_loop_leaves_politely(start, patient) -> None:
    ada = start("ada", 3, 0.02, program=LOADER, world_size=2, straggler_timeout=0.2, **patient)
    bob = start("bob", 400, 0.02, program=LOADER, world_size=2, straggler_timeout=0.2, **patient)
    # Python drops an interrupt that comes while it forks the workers of the next epoch
    bob.said(r"INFO .*round \d+: 2 peers", after=bob.said("^EPOCH 0$"))
    bob.signal(signal.SIGINT, group=True)
    ada.said(r"INFO .*bob left \(training stopped in the script: KeyboardInterrupt\)")
    assert bob.wait() != 0
    assert ada.wait() == 0
