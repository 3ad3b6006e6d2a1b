"""One process of a site of several is killed, or all of them."""

from __future__ import annotations

import os
import re
import signal
import time
from pathlib import Path

import pytest

from benchmarks.matrix.rows import PROGRAMS
from tests.processes.sites import SLOW, TORCHRUN, models, our_modules, pid

__all__ = ["our_modules"]

pytestmark = pytest.mark.timeout(300)

STRAGGLER = 30
"""Seconds for which a site waits for another one that it has not noticed to be gone."""


def test_a_process_that_is_killed_takes_its_site_out_until_that_resumes(start, tmp_path: Path) -> None:
    program = PROGRAMS / "torch_loop.py"
    given = {"members": "ada,bob", "min_peers": 1, "sync_interval": 4, "start_timeout": SLOW, "straggler_timeout": 5}

    def ada_starts(**more: object):
        arguments = ("--wrap", "ddp", "--epochs", "8", "--pause", "0.02")
        return start("ada", *arguments, program=program, prefix=TORCHRUN, model_dir=tmp_path / "ada", **given, **more)

    ada = ada_starts()
    bob = start("bob", "--epochs", "1000000", "--pause", "0.02", program=program, train_until="own", **given)
    ada.said("^BATCH 2$", within=SLOW)
    victim = pid(ada, 1)
    os.kill(victim, signal.SIGKILL)
    left = bob.said("ada left|ada is gone", within=SLOW)
    bob.said(r"round \d+: 1 peers", after=left)
    ada.said("ChildFailedError", within=SLOW)  # of torchrun
    assert ada.wait(SLOW) != 0
    ada = ada_starts(resume=True)
    back = ada.said("2 processes train here", after=left, within=SLOW)
    bob.said(r"round \d+: 2 peers", after=back, within=SLOW)
    ada.said("ada has finished", after=back, within=SLOW)
    bob.signal(signal.SIGINT)  # its training has no end of its own
    ada.said("^MODEL", within=SLOW)
    assert len(set(models(ada))) == 1


def test_a_killed_process_of_a_site_that_exchanges_shards_leaves_the_others_and_heals(start, tmp_path: Path) -> None:
    given = {"members": "ada,bob,cyd", "min_peers": 1, "sync_interval": 4, "start_timeout": SLOW}
    given |= {"straggler_timeout": STRAGGLER, "exchange_shards": True}

    def begin(name: str, epochs: int, **more: object):
        arguments = ("--wrap", "fsdp2", "--epochs", str(epochs), "--pause", "0.05")
        program = PROGRAMS / "torch_loop.py"
        return start(name, *arguments, program=program, prefix=TORCHRUN, model_dir=tmp_path / name, **given, **more)

    ada, bob, cyd = (begin(name, 1_000_000, train_until="own") for name in ("ada", "bob", "cyd"))
    ada.said("^BATCH 2$", within=2 * SLOW)
    victim = pid(ada, 1)
    killed = time.monotonic()
    os.kill(victim, signal.SIGKILL)
    for site in (bob, cyd):
        merged = site.said(r"round \d+: 2 peers", after=killed, within=SLOW)
        waited = merged - killed
        print(f"{site.name} merged without ada after {waited:.2f} s")
        assert waited < STRAGGLER / 2, f"{site.name} waited {waited:.1f} s for ada, of which a process was killed"
    assert ada.wait(SLOW) != 0
    again = time.monotonic()
    ada = begin("ada", 8, train_until="own")
    ada.said("2 processes train here", within=2 * SLOW)
    bob.said(r"round \d+: 3 peers", after=again, within=SLOW)
    ada.said("ada has finished", within=SLOW)
    for site in (bob, cyd):
        site.signal(signal.SIGINT)  # their training has no end of its own
    ada.said("^MODEL", within=SLOW)
    assert len(set(models(ada))) == 1


def test_sites_that_exchange_shards_and_were_all_killed_go_on_from_their_checkpoints(start, tmp_path: Path) -> None:
    given = {"members": "ada,bob", "sync_interval": 4, "start_timeout": SLOW, "exchange_shards": True}

    def begin(name: str, epochs: int, **more: object):
        arguments = ("--wrap", "fsdp2", "--momentum", "0.9", "--epochs", str(epochs), "--pause", "0.05")
        where = {"model_dir": tmp_path / name, "checkpoint_seconds": 0, **given, **more}
        return start(name, *arguments, program=PROGRAMS / "torch_loop.py", prefix=TORCHRUN, **where)

    sites = [begin(name, 1_000_000) for name in ("ada", "bob")]
    for site in sites:
        site.said("^BATCH 4$", within=2 * SLOW)
    for site in sites:
        for rank in (0, 1):
            os.kill(pid(site, rank), signal.SIGKILL)
    for site in sites:
        assert site.wait(SLOW) != 0
    sites = [begin(name, 20, resume=True) for name in ("ada", "bob")]
    found = [models(ended) for ended in sites if ended.said("^MODEL", within=2 * SLOW)]
    assert len({model for each in found for model in each}) == 1
    for site in sites:
        (at,) = re.findall(r"resuming from round (\d+), the newest", site.text, re.MULTILINE)
        assert int(at) >= 2
        assert re.search(rf"round {int(at) + 3}: 2 peers", site.text), site.text
        assert "is not loaded" not in site.text
