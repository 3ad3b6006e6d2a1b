"""Two models in each process: both sessions listen at one address, and find their peers there."""

from __future__ import annotations

import re
import urllib.request
from pathlib import Path

import pytest

from swarm.cli.status import ask
from swarm.cli.statuses import fetch_over_grpc

NAMES = ("ada", "bob")
PROGRAM = Path(__file__).with_name("two_models.py")


def ended(process) -> dict[str, tuple[int, str]]:
    """Rounds and digest of each session of a process."""
    found = re.findall(r"^ENDED (\w+) (\d+) (\w+)$", process.text, re.MULTILINE)
    return {name: (int(rounds), digest) for name, rounds, digest in found}


def addresses(process) -> set[str]:
    return {*re.findall(r"^BEGUN \w+ (\S+)$", process.text, re.MULTILINE)}


@pytest.mark.parametrize("data_channel", [True, False])
def test_both_models_are_merged_at_a_fixed_port_and_a_free_one(start, port, data_channel):
    given = {"program": PROGRAM, "rendezvous": None, "data_channel": data_channel}
    ada = start("ada", 40, 0.01, 1, listen=f"127.0.0.1:{port}", **given)
    bob = start("bob", 40, 0.01, 2, peers=f"127.0.0.1:{port}", listen="127.0.0.1:0", **given)
    for process in (ada, bob):
        assert process.wait() == 0, process.text
    assert ended(ada) == ended(bob)
    assert {name: rounds for name, (rounds, _) in ended(ada).items()} == {"generator": 11, "discriminator": 21}
    assert addresses(ada) == {f"127.0.0.1:{port}"}
    assert len(addresses(bob)) == 1


def test_a_status_and_an_endpoint_for_metrics_tell_of_both(start, port, tmp_path):
    pytest.importorskip("swarm_prometheus")
    hold = tmp_path / "hold"
    ada = start("ada", 8, 0.0, 1, hold, program=PROGRAM, prometheus_port=port, prometheus_host="127.0.0.1")
    bob = start("bob", 8, 0.0, 2, hold, program=PROGRAM)
    for process in (ada, bob):
        process.said("^BEGUN discriminator")
    answers = ask(addresses(ada) | addresses(bob), fetch_over_grpc).views
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as page:
        metrics = page.read().decode()
    hold.touch()
    sessions = ("generator", "discriminator")
    assert {(view.session, view.name) for view in answers} == {(each, name) for each in sessions for name in NAMES}
    for view in answers:
        assert {view.address, *(peer.address for peer in view.peers)} == addresses(ada) | addresses(bob)
        assert f'swarm_peers{{session="{view.session}"}} 1.0' in metrics
    for process in (ada, bob):
        assert process.wait() == 0, process.text


def test_a_process_that_is_killed_is_gone_from_both_sessions(start, tmp_path):
    hold = tmp_path / "hold"
    ada, bob, cyd = (start(name, 20, 0.0, 1, hold, program=PROGRAM, world_size=3) for name in (*NAMES, "cyd"))
    for process in (ada, bob, cyd):
        process.said("^BEGUN discriminator")
    cyd.end()
    hold.touch()
    for process in (ada, bob):
        assert process.wait() == 0, process.text
        assert len(re.findall("cyd is gone", process.text)) == 2, process.text
    assert ended(ada) == ended(bob)
    assert {*ended(ada)} == {"generator", "discriminator"}
