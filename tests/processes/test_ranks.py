"""Sites of several processes, started by torchrun, as real processes."""

from __future__ import annotations

import os
import re
import signal
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import pytest

from benchmarks.matrix.rows import PROGRAMS

ROOT = Path(__file__).parents[2]


def torchrun(processes: int) -> tuple[str, ...]:
    number = f"--nproc-per-node={processes}"
    return (sys.executable, "-m", "torch.distributed.run", "--standalone", number, "--no-python")


TORCHRUN = torchrun(2)
SLOW = 100.0
"""Seconds in which a start of several processes with torch must be over on a busy machine."""

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(autouse=True)
def _few_threads_and_our_modules(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), *sys.path[1:]]))
    monkeypatch.setenv("DS_ACCELERATOR", "cpu")  # for DeepSpeed


def models(site) -> list[str]:
    """The model of each process of a site, once all have told it."""
    assert site.wait(SLOW) == 0, site.text
    return re.findall(r"^MODEL (\w+)", site.text, re.MULTILINE)


def pid(site, rank: int) -> int:
    site.said(f"^RANK {rank} ", within=SLOW)
    return int(re.findall(rf"^RANK {rank} (\d+)$", site.text, re.MULTILINE)[-1])


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (("torch_loop", "--wrap", "ddp"), ("torch_loop", "--wrap", "fsdp2", "--epochs", "3")),
        (("lightning_fit", "--strategy", "ddp", "--processes", "2"), ("torch_loop", "--wrap", "none")),
        (("torch_loop", "--wrap", "fsdp1"), ("torch_loop", "--wrap", "none")),
        pytest.param(
            *(("torch_loop", "--wrap", "zero2", "--half"), ("torch_loop", "--wrap", "ddp", "--epochs", "3")),
            marks=pytest.mark.skipif(find_spec("deepspeed") is None, reason="DeepSpeed is not installed"),
        ),
    ],
)
def test_copies_shards_and_a_single_process_end_with_the_same_model(start, tmp_path, first, second) -> None:
    def begin(name: str, program: str, *arguments: str):
        prefix = () if "none" in arguments else TORCHRUN
        given = {"members": "ada,bob", "sync_interval": 4, "start_timeout": SLOW, "model_dir": tmp_path / name}
        return start(name, *arguments, program=PROGRAMS / f"{program}.py", prefix=prefix, **given)

    sites = [begin("ada", *first), begin("bob", *second)]
    for site in sites:
        site.said("closing model of 2 peers loaded", within=2 * SLOW)
    found = [models(site) for site in sites]
    assert [len(each) for each in found] == [2, 1 if "none" in second else 2]
    assert len({model for each in found for model in each}) == 1
    assert [site.text.count("listens at") for site in sites] == [1, 1]
    assert "2 processes train here" in sites[0].text


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
    given |= {"straggler_timeout": 5, "exchange_shards": True}

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
        print(f"{site.name} merged without ada after {merged - killed:.2f} s")
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
        (at,) = re.findall(r"resuming from round (\d+)$", site.text, re.MULTILINE)
        assert int(at) >= 2
        assert re.search(rf"round {int(at) + 3}: 2 peers", site.text), site.text
        assert "is not loaded" not in site.text


SITES = {
    "fsdp2": (("--wrap", "fsdp2"), TORCHRUN, True),
    "one": (("--wrap", "none"), (), 2),
    "three": (("--wrap", "fsdp2"), torchrun(3), 2),
    "copies": (("--wrap", "ddp"), TORCHRUN, 2),
}
"""Arguments, prefix and ``exchange_shards`` of sites that exchange two shards."""


@pytest.mark.parametrize("kinds", [("fsdp2", "one"), ("fsdp2", "three", "copies")])
def test_sites_that_differ_exchange_as_many_shards(start, tmp_path: Path, kinds: tuple[str, ...]) -> None:
    names = ("ada", "bob", "cyd")[: len(kinds)]
    given = {"members": ",".join(names), "sync_interval": 4, "start_timeout": 2 * SLOW, "straggler_timeout": 60}

    def begin(name: str, kind: str):
        arguments, prefix, shards = SITES[kind]
        program = PROGRAMS / "torch_loop.py"
        where = {"model_dir": tmp_path / name, "exchange_shards": shards, **given}
        return start(name, *arguments, "--width", "40000", program=program, prefix=prefix, **where)

    sites = [begin(name, kind) for name, kind in zip(names, kinds, strict=True)]
    for site in sites:
        site.said(f"closing model of {len(kinds)} peers loaded", within=2 * SLOW)
    assert len({model for site in sites for model in models(site)}) == 1
    assert len({(tmp_path / name / "swarm-final.safetensors").read_bytes() for name in names}) == 1
    for site in sites:
        assert re.search(rf"round 2: {len(kinds)} peers, {len(kinds)} contributed", site.text), site.text
    if "one" in kinds:
        each, whole = sites
        (rank,) = re.findall(r"rank 1 of this site has sent ([0-9.]+) MB", each.text)
        (shard,) = re.findall(r"shard 1 of this site has sent ([0-9.]+) MB", whole.text)
        (sent,) = re.findall(r"^SENT ([0-9.]+) MB", whole.text, re.MULTILINE)
        assert float(sent) > 5
        # of the last layer's three rows, shard 0 has two
        assert float(shard) == pytest.approx(float(sent) * 260_001 / 560_003, rel=0.02)
        assert float(rank) == pytest.approx(float(shard), rel=0.2), "one site gave the other its weights at the start"


def test_another_number_of_shards_is_refused_with_what_to_set(start) -> None:
    given = {"members": "ada,bob", "sync_interval": 4, "start_timeout": 2 * SLOW}
    program = PROGRAMS / "torch_loop.py"
    ada = start("ada", "--wrap", "fsdp2", program=program, prefix=TORCHRUN, exchange_shards=True, **given)
    bob = start("bob", "--wrap", "none", program=program, prefix=(), exchange_shards=3, **given)
    for site in (ada, bob):
        site.said(
            r"exchange_shards is [23] shards, layout \w+ at (ada|bob) and [23] shards, .*set it to the same number",
            within=2 * SLOW,
        )
        assert site.wait(SLOW) != 0
