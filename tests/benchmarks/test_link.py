from __future__ import annotations

import json
import os
import subprocess

import pytest

from benchmarks.link import network
from benchmarks.link.__main__ import Way, busiest, figures, table
from benchmarks.link.network import NetworkError, address, limited_network, prefix, require_root
from benchmarks.merge.counters import Count
from benchmarks.merge.plan import Plan
from benchmarks.merge.rounds import Samples


def _namespaces() -> str:
    return subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True).stdout


def _allowed() -> bool:
    try:
        require_root()
        with limited_network(1, 10):
            return True
    except NetworkError:
        return False


def test_without_root_a_sentence_says_so(monkeypatch):
    monkeypatch.setattr(network.shutil, "which", lambda command: f"/sbin/{command}")
    monkeypatch.setattr(network.os, "geteuid", lambda: 1000)
    with pytest.raises(NetworkError, match="need root"):
        require_root()


def test_without_iproute2_a_sentence_says_so(monkeypatch):
    monkeypatch.setattr(network.shutil, "which", lambda _: None)
    with pytest.raises(NetworkError, match="ip and tc and nft not found: install iproute2 and nftables"):
        require_root("nft")


@pytest.mark.parametrize("breaking", ["tc qdisc", "link add to-1", "netns delete"])
def test_whatever_fails_every_namespace_is_removed(monkeypatch, breaking):
    commands: list[str] = []

    def run(command: str) -> None:
        commands.append(command)
        if breaking in command:
            raise NetworkError(command)

    monkeypatch.setattr(network, "_run", run)
    with pytest.raises(NetworkError, match=breaking), limited_network(2, 100):
        pass
    added = [command.split()[-1] for command in commands if "netns add" in command]
    deleted = [command.split()[-1] for command in commands if "netns delete" in command]
    assert len(added) >= 2
    assert sorted(added) == sorted(deleted)


@pytest.mark.skipif(os.name != "posix" or not _allowed(), reason="needs root and network namespaces")
def test_peers_reach_each_other_and_an_interrupt_leaves_no_namespace_behind():
    made: list[str] = []

    def reach(rank: int) -> str:
        command = [*prefix(made[0]), "bash", "-c", f"echo > /dev/tcp/{address(rank)}/9"]
        return subprocess.run(command, capture_output=True, text=True, timeout=20, check=False).stderr

    def interrupted() -> None:
        with limited_network(2, 10) as names:
            made.extend(names.peers)
            assert "refused" in reach(1)  # by the other's kernel: no process listens on this port, but the link is up
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert not {*made} & {*_namespaces().split()}


def test_the_busiest_link_counts_in_its_busier_direction():
    before = [Count(received=10, sent=20), Count(received=0, sent=100)]
    assert busiest(before, [Count(received=15, sent=90), Count(received=80, sent=101)]) == 80
    assert busiest(before, [Count(received=15, sent=90), Count(received=1, sent=101)]) == 70


def test_the_limit_is_that_of_the_busiest_link():
    plan = Plan(peers=2, mib=1, tensors=1, codec="exact", seed=0)
    samples = Samples(seconds=[2.0, 3.0], bytes_sent=[plan.bound * 1.1] * 2, busiest=[2_000_000, 2_000_000], error=1e-8)
    result = json.loads(json.dumps(figures(plan, 8.0, samples, Way())))
    assert (result["seconds"], result["limit_seconds"]) == (2.5, 2.0)
    assert result["ratio"] == 1.25
    assert result["goal"] == {"at_most": 1.15, "met": False}
    assert result["bytes_over_bound"] == 1.1
    assert "1.250 (1.125 to 1.375)" in table(result)


@pytest.mark.parametrize(
    ("mbit", "codec", "goal", "met"),
    [(1000.0, "exact", 1.0, False), (1000.0, "bf16", 0.52, False), (100.0, "exact", None, None)],
)
def test_the_ratio_to_gloo_is_that_of_the_same_turn(mbit: float, codec: str, goal: float | None, met: bool | None):
    plan = Plan(peers=2, mib=1, tensors=1, codec=codec, seed=0)
    samples = Samples(seconds=[2.0, 3.3], gloo_seconds=[1.0, 3.0], bytes_sent=[1.0] * 2, busiest=[10**6] * 2)
    result = figures(plan, mbit, samples, Way())
    assert (result["gloo_seconds"], result["gloo_ratio"]) == (2.0, 1.55)
    assert result["gloo_goal"] == {"at_most": goal, "met": met}
    assert "2.000 s, ratio 1.550" in table(result)


def test_the_record_has_all_figures_rounded():
    plan = Plan(peers=4, mib=1.5, tensors=1, codec="int8", seed=0, settings={"straggler_timeout": 1.5})
    samples = Samples(
        seconds=[1.23456, 1.23456, 1.5],
        bytes_sent=[plan.bound * 1.23456] * 3,
        busiest=[1_234_567, 1_234_567, 1_300_001],
        error=0.01,
    )
    assert figures(plan, 12.5, samples, Way(one_way=True)) == {
        "peers": 4,
        "mib": 1.5,
        "codec": "int8",
        "settings": {"straggler_timeout": 1.5},
        "mbit": 12.5,
        "via": "direct",
        "one_way": True,
        "rounds": 3,
        "seconds": 1.2346,
        "limit_seconds": 0.7901,
        "ratio": 1.562,
        "ratio_q1": 1.562,
        "ratio_q3": 1.683,
        "bytes": 1_234_567,
        "bytes_sent_per_peer": 728_173,
        "bytes_over_bound": 1.2346,
        "max_error": 0.01,
        "goal": {"at_most": 1.25, "met": False},
    }
    just_over = Samples(seconds=[1.1504] * 2, bytes_sent=[1.0] * 2, busiest=[10**6] * 2)
    missed = figures(Plan(peers=2, mib=1, tensors=1, codec="exact", seed=0), 8.0, just_over, Way())
    assert (missed["ratio"], missed["goal"]["met"]) == (1.15, False)
    assert figures(Plan(peers=2, mib=1, tensors=1, codec="bf16", seed=0), 8.0, samples, Way())["goal"] == {
        "at_most": None,
        "met": None,
    }
    assert figures(plan, 12.5, samples, Way("proxy"))["goal"] == {"at_most": None, "met": None}
