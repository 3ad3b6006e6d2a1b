"""Sites of several processes, started by torchrun, as real processes; `make test-matrix` has more of them."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from benchmarks.matrix.rows import PROGRAMS
from tests.processes.sites import SLOW, TORCHRUN, models, our_modules

__all__ = ["our_modules"]

pytestmark = pytest.mark.timeout(300)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (("torch_loop", "--wrap", "ddp"), ("torch_loop", "--wrap", "fsdp2", "--epochs", "3")),
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


def test_a_site_of_two_processes_and_one_of_one_exchange_two_shards(start, tmp_path: Path) -> None:
    given = {"members": "ada,bob", "sync_interval": 4, "start_timeout": 2 * SLOW, "straggler_timeout": 60}

    def begin(name: str, *arguments: str, prefix: tuple[str, ...], shards: bool | int):
        program = PROGRAMS / "torch_loop.py"
        where = {"model_dir": tmp_path / name, "exchange_shards": shards, **given}
        return start(name, *arguments, "--width", "40000", program=program, prefix=prefix, **where)

    each = begin("ada", "--wrap", "fsdp2", prefix=TORCHRUN, shards=True)
    whole = begin("bob", "--wrap", "none", prefix=(), shards=2)
    for site in (each, whole):
        site.said("closing model of 2 peers loaded", within=2 * SLOW)
    assert len({model for site in (each, whole) for model in models(site)}) == 1
    assert len({(tmp_path / name / "swarm-final.safetensors").read_bytes() for name in ("ada", "bob")}) == 1
    for site in (each, whole):
        written = torch.load(tmp_path / site.name / "swarm-final.pt", weights_only=True)
        tensors = load_file(tmp_path / site.name / "swarm-final.safetensors")
        assert written.keys() == tensors.keys()
        assert all(torch.equal(written[name], tensors[name]) for name in tensors)
        assert "was not written" not in site.text
    for site in (each, whole):
        assert re.search("round 2: 2 peers, 2 contributed", site.text), site.text
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
