from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.merge.__main__ import figures, table
from benchmarks.merge.counters import count
from benchmarks.merge.model import RandomModel
from benchmarks.merge.phases import PHASES, phases
from benchmarks.merge.plan import ROUNDING, Plan, add_options, plan_of
from benchmarks.merge.rounds import Samples, merged, peers_of
from swarm.config import resolve
from swarm.tensors.state import ModelState

ROOT = Path(__file__).parents[2]


def plan(**fields: object) -> Plan:
    return Plan(**{"peers": 2, "mib": 0.25, "tensors": 3, "codec": "exact", "seed": 1, **fields})


@pytest.mark.parametrize(("dtype", "tls"), [("float32", True), ("bfloat16", False)])
def test_peers_merge_and_are_checked(dtype, tls):
    samples, profiled = Samples(), plan(profile=True, dtype=dtype, tls=tls)
    with peers_of(profiled, gloo=False) as peers:
        peers.all("begin")
        for turn in range(2):
            merged(peers, profiled, turn, samples, lambda: 0)
        peers.all("end")
    assert len(samples.seconds) == len(samples.extra) == 2
    assert samples.error <= profiled.tolerance
    assert all(set(each) == set(PHASES) for each in samples.phases)
    for whole, parts in zip(samples.seconds, samples.phases, strict=True):
        assert sum(parts.values()) <= whole
        assert parts["exchange"] > 0


def test_the_error_of_a_peer_is_reported():
    failing = peers_of(plan(settings={"no_such_setting": 1}), gloo=False)
    with pytest.raises(RuntimeError, match="(?s)ended with exit code 1.*no_such_setting"), failing:
        pass


def test_options_are_refused_by_name():
    command = [sys.executable, "-m", "benchmarks.merge", "--setting", "codec"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "codec is not allowed: allowed is NAME=VALUE" in done.stderr


def test_settings_are_what_a_peer_takes():
    parser = argparse.ArgumentParser()
    add_options(parser, mib=1.0)
    given = ["failure_timeout=2.5", "min_peers=3", "data_channel=false", "merge_method=geomedian"]
    options = parser.parse_args([word for each in given for word in ("--setting", each)])
    settings = resolve({**plan_of(options).settings_of(0), "rendezvous": "here"}, environment={}).settings
    assert (settings.failure_timeout, settings.min_peers) == (2.5, 3)
    assert (settings.data_channel, settings.merge_method) == (False, "geomedian")


def test_a_codec_is_a_setting_only_where_it_is_not_the_exact_one():
    assert "codec" not in plan().settings_of(0)
    assert plan(codec="bf16", settings={"straggler_timeout": "1"}).settings_of(1) | {
        "codec": "bf16",
        "straggler_timeout": "1",
    } == plan(codec="bf16", settings={"straggler_timeout": "1"}).settings_of(1)


def test_values_differ_between_peers_and_rounds():
    one, other = RandomModel(plan(), 0), RandomModel(plan(), 1)
    one.draw(1)
    other.draw(1)
    first = one.flat.copy()
    one.draw(2)
    assert not np.isclose(first, other.flat).all()
    assert not np.isclose(first, one.flat).all()
    one.draw(1)
    assert (one.flat == first).all()


@pytest.mark.parametrize("dtype", ROUNDING)
def test_only_the_weighted_mean_of_that_turn_passes(dtype):
    tolerance = plan(dtype=dtype).tolerance
    weights, models = plan().weights, [RandomModel(plan(dtype=dtype), rank) for rank in range(2)]
    for model in models:
        model.draw(5)
    mean = np.average([model.flat.astype(np.float64) for model in models], axis=0, weights=weights)
    plain = np.mean([model.flat.astype(np.float64) for model in models], axis=0)
    models[0].flat[:] = mean
    assert models[0].error(5, weights) <= tolerance
    assert models[0].error(4, weights) > tolerance
    models[0].flat[:] = plain
    assert models[0].error(5, weights) > tolerance
    assert models[0].error(5, (1, 1)) <= tolerance


@pytest.mark.parametrize(
    ("dtype", "codec", "size"),
    [("float32", "bf16", 2), ("bfloat16", "bf16", 2), ("float16", "exact", 2), ("bfloat16", "int8", 1)],
)
def test_the_bound_counts_values_as_they_travel(dtype, codec, size):
    counted = plan(dtype=dtype, codec=codec)
    assert counted.values * counted.itemsize == 2**18
    assert counted.bound == counted.values * size


def test_a_model_is_read_and_written_whole():
    model, state = RandomModel(plan(), 0), ModelState.empty(RandomModel(plan(), 0).schema())
    model.draw(1)
    model.read(state)
    assert state.digest() == model.state().digest()
    model.flat[:] = 0
    model.write(state)
    assert state.digest() == model.state().digest()


def test_a_phase_ends_with_the_last_peer_and_the_leader_sends_itself_nothing():
    leader = {"captured": 1.0, "started": 4.0, "decided": 9.5, "applied": 11.0}
    member = {"captured": 2.0, "offered": 3.5, "started": 4.5, "ready": 9.0, "decided": 10.0, "applied": 10.5}
    assert phases(0.5, [leader, member]) == {
        "capture": 1.5,
        "offer": 1.5,
        "form": 1.0,
        "exchange": 4.5,
        "decide": 1.0,
        "apply": 1.0,
    }


def test_the_ratio_is_taken_round_by_round():
    samples = Samples(
        seconds=[2.0, 8.0, 3.0],
        peer_seconds=[2.0, 8.0, 3.0],
        gloo_seconds=[1.0, 2.0, 3.0],
        bytes_sent=[plan().bound * 1.5] * 3,
        extra=[2**18, 2**19, 2**18],
        error=1e-8,
    )
    result = json.loads(json.dumps(figures(plan(), [samples, samples], private=True)))
    assert result["ratio"]["median"] == 2.0
    assert result["ratio"]["by_invocation"] == [2.0, 2.0]
    assert (result["seconds"]["median"], result["gloo_seconds"]["median"]) == (3.0, 2.0)
    assert result["bytes_over_bound"] == 1.5
    assert result["peak_extra_rss_over_model"] == 2.0
    assert "1.500 of the bound" in table(result)


def test_the_record_has_all_figures_rounded():
    samples = Samples(
        seconds=[1.23456] * 2,
        peer_seconds=[1.11116] * 2,
        gloo_seconds=[1.0] * 2,
        bytes_sent=[plan().bound * 1.23456] * 2,
        extra=[100_000, 123_456],
        phases=[dict.fromkeys(PHASES, 0.11116)],
        error=1e-8,
    )
    result = figures(plan(), [samples], private=False)
    assert result == {
        "peers": 2,
        "mib": 0.25,
        "dtype": "float32",
        "codec": "exact",
        "settings": {},
        "rounds": 2,
        "invocations": 1,
        "seconds": {"median": 1.2346, "q1": 1.2346, "q3": 1.2346},
        "peer_seconds": {"median": 1.1112, "q1": 1.1112, "q3": 1.1112},
        "gloo_seconds": {"median": 1.0, "q1": 1.0, "q3": 1.0},
        "ratio": {"median": 1.2346, "q1": 1.2346, "q3": 1.2346, "by_invocation": [1.235]},
        "bytes_sent_per_peer": 323_632,
        "bytes_over_bound": 1.2346,
        "private_loopback": False,
        "peak_extra_rss": 123_456,
        "peak_extra_rss_over_model": 0.471,
        "max_error": 1e-8,
        "phases": dict.fromkeys(PHASES, 0.1112),
    }
    assert "all other traffic on the loopback" in table(result)
    assert "exchange" in table(result)


def test_the_bound_follows_the_codec():
    assert plan().bound == plan().values * 4
    assert plan(codec="int8", peers=4).bound == 1.5 * plan(peers=4).values


PEAKS = """
from mmap import mmap

from benchmarks.merge import counters
counters.reset_peak()
print(counters.peak())
with mmap(-1, 2**26) as block:
    for page in range(0, len(block), 4096):
        block[page] = 1
print(counters.peak())
counters.reset_peak()
print(counters.peak())
"""
"""In a process of its own, which nothing else allocates or frees memory in."""


@pytest.mark.skipif(sys.platform != "linux", reason="reads the kernel's counters")
def test_a_peak_counts_from_its_reset():
    done = subprocess.run([sys.executable, "-c", PEAKS], cwd=ROOT, capture_output=True, text=True, check=True)
    before, during, after = map(int, done.stdout.split())
    assert during >= before + 0.9 * 2**26
    assert after < before + 2**25


@pytest.mark.skipif(sys.platform != "linux", reason="reads the kernel's counters")
def test_interfaces_have_counters_and_unknown_ones_are_named():
    assert any(read.sent == read.received for read in (count("lo") for _ in range(1000)))  # others may use it
    with pytest.raises(OSError, match="no interface nowhere0"):
        count("nowhere0")
