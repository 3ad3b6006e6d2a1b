"""Sites of several processes, started by torchrun."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.processes.conftest import PeerProcess

ROOT = Path(__file__).parents[2]
SLOW = 100.0
"""Seconds in which a start of several processes with torch must be over on a busy machine."""


def torchrun(processes: int) -> tuple[str, ...]:
    """The command that starts a site of so many processes."""
    number = f"--nproc-per-node={processes}"
    return (sys.executable, "-m", "torch.distributed.run", "--standalone", number, "--no-python")


TORCHRUN = torchrun(2)


@pytest.fixture(autouse=True)
def our_modules(monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes that torchrun starts find the modules of this checkout."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), *sys.path[1:]]))
    monkeypatch.setenv("DS_ACCELERATOR", "cpu")  # for DeepSpeed


def models(site: PeerProcess) -> list[str]:
    """The model of each process of a site, once all have told it."""
    assert site.wait(SLOW) == 0, site.text
    return re.findall(r"^MODEL (\w+)", site.text, re.MULTILINE)


def pid(site: PeerProcess, rank: int) -> int:
    """The process of a site that has this rank now."""
    site.said(f"^RANK {rank} ", within=SLOW)
    return int(re.findall(rf"^RANK {rank} (\d+)$", site.text, re.MULTILINE)[-1])
