from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks.hostile.attack import Attacks
from benchmarks.hostile.checks import CHECKS, switched_off
from benchmarks.hostile.judge import judge
from benchmarks.hostile.liar import LIAR, Habit, Liar
from benchmarks.hostile.peers import Sync
from benchmarks.hostile.plan import ATTACKS, KINDS, described
from benchmarks.hostile.report import bites, figures
from swarm.certification.chain import Verifier
from swarm.identity.throwaway import make_identities
from swarm.messages import Offer
from swarm.records import Commit, ContributionStats, Outcome, RoundReport, SyncState

ROOT = Path(__file__).parents[2]
GROUP = (LIAR, "site-1", "site-2")


# The list ------------------------------------------------------------------------------------------------------------


def test_there_are_many_attacks_and_each_names_what_stops_it():
    assert len(ATTACKS) == sum(len(kind) for kind in KINDS) >= 40
    assert len({attack.does for attack in ATTACKS.values()}) == len(ATTACKS)
    for attack in ATTACKS.values():
        outcomes = attack.checks, attack.stops, attack.known and not attack.checks
        assert sum(map(bool, outcomes)) == 1, attack.name
    assert {name for attack in ATTACKS.values() for name in attack.checks} == CHECKS.keys()
    assert all(attack.bites_at in attack.sizes for attack in ATTACKS.values())


def test_an_attack_has_a_name_of_its_own():
    attacks = Attacks()
    attacks.add("silence", "says nothing")(Habit)
    with pytest.raises(ValueError, match="two attacks 'silence'"):
        attacks.add("silence", "says little")(Habit)


def test_the_page_has_the_attacks():
    page = (ROOT / "docs" / "hostile.md").read_text(encoding="utf-8")
    assert "\n".join(described(ATTACKS.values())) in page


def test_a_check_is_off_for_a_while_only():
    verifier = Verifier(session="s", signer=Liar().signer)
    record = sync("site-1").commit
    assert verifier.doubt(record, None)
    with switched_off(("certificates",)):
        assert not verifier.doubt(record, None)
    assert verifier.doubt(record, None)


# Real peers ----------------------------------------------------------------------------------------------------------


def test_a_short_run_with_real_peers():
    command = [sys.executable, "-m", "benchmarks.hostile", "--json", "--sizes", "3", "--rounds", "4"]
    chosen = ["--only", "record: closing", "offer: weight"]
    done = subprocess.run([*command, *chosen], cwd=ROOT, capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert (found["attacks"], found["crashes"], found["hangs"], found["wrong_merges"]) == (2, 0, 0, 0)
    assert (found["named"], found["bites"], found["not_carried_out"]) == (2, 2, [])
    assert "steered: closing" in found["of"]["record: closing"]["bites"]
    assert "steered: weight" in found["of"]["offer: weight"]["bites"]
    assert found["of"]["offer: weight"]["slowdown"].keys() == found["usual_seconds"].keys() == {"3"}


def test_the_start_and_the_end_are_attacked_with_real_peers():
    command = [sys.executable, "-m", "benchmarks.hostile", "--json", "--sizes", "3", "--rounds", "4"]
    chosen = ["--only", "start: storm", "end: no vote"]
    done = subprocess.run([*command, *chosen], cwd=ROOT, capture_output=True, text=True, timeout=170, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert (found["crashes"], found["hangs"], found["wrong_merges"], found["not_carried_out"]) == (0, 0, 0, [])
    assert found["of"]["start: storm"]["named"]
    # In the end the others close without it, unless a session has given up before.
    assert {"slow", "not closed"}.intersection(found["of"]["end: no vote"]["bites"])


# The judge -----------------------------------------------------------------------------------------------------------


def sync(peer: str, number: int = 1, **changes: object) -> Sync:
    """A sync point at which three peers merge: one that has moved by -1, and two by 1 and 3."""
    offered = {"site-1": 1.0, "site-2": 3.0}[peer] + number - 1
    commit = Commit(
        lineage="l",
        round=number,
        digest=f"d{number}",
        members=GROUP,
        group=GROUP,
        contributors=GROUP,
        sync=SyncState(1),
        keys=("1" * 64, "2" * 64, "3" * 64),
        weights=(1, 1, 1),
        rule="mean",
        codec="exact",
        previous="p",
        origins=("l",),  # type: ignore[arg-type]
    )
    merged = {"outcome": Outcome.MERGED, "lineage": "l", "round": number, "digest": f"d{number}", "group": GROUP}
    made = Sync(
        peer=peer,
        began=number - 0.1,
        ended=float(number),
        report=RoundReport(**merged),  # type: ignore[arg-type]
        commit=commit,
        offered=np.full(4, offered, np.float32),
        merged=np.full(4, float(number), np.float32),
        digest=f"d{number}",
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def judged(tmp_path: Path, *syncs: Sync, offers: float = 2.0) -> object:
    """What the judge says of rounds 0 to 2, the last one of which is in the attack, with these sync points replaced."""
    make_identities({"site-1": tmp_path / "site-1"})
    liar = Liar()
    stats = ContributionStats(peer=LIAR, round=2, weight=1, delta_norm=offers)
    liar.offered[2] = [Offer("l", "d1", True, stats)]
    liar.offered[1] = [replace(liar.offered[2][0], stats=replace(stats, round=1, delta_norm=2.0))]
    replaced = {(each.peer, each.report.round): each for each in syncs}
    peers = [
        SimpleNamespace(
            name=name,
            syncs=[replaced.get((name, number), sync(name, number)) for number in (1, 2)],
            errors=[],
            lines=[],
            over=False,
        )
        for name in ("site-1", "site-2")
    ]
    return judge(peers, liar, 1.5, 2.5, tmp_path / "site-1")  # type: ignore[arg-type]


def test_the_mean_of_what_was_offered_is_right(tmp_path):
    found = judged(tmp_path)
    assert (found.crashes, found.wrong_merges, found.harms, found.merged) == ([], [], {}, 1)


def test_two_models_of_one_round_are_wrong(tmp_path):
    other = sync("site-2", 2)
    odd = replace(other, digest="x", report=replace(other.report, digest="x"))
    assert judged(tmp_path, odd).wrong_merges == ["round 2: 2 models"]


def test_weights_that_were_not_offered_are_wrong(tmp_path):
    (text,) = judged(tmp_path, offers=1.0).wrong_merges
    assert text == "round 2: the bad member moved by 2 and offered [1.0]"


def test_what_nobody_agreed_on_is_harm(tmp_path):
    other = sync("site-1", 2)
    commit = replace(other.commit, sync=SyncState(9), weights=(100, 1, 1), members=(LIAR, "site-1"))
    harms = judged(tmp_path, replace(other, commit=commit)).harms
    assert harms.keys() == {"steered: interval", "steered: weight", "removed"}


# Figures -------------------------------------------------------------------------------------------------------------


def result(attack: str = "offer: weight", size: int = 3, **changes: object) -> dict[str, object]:
    given = {"crashes": [], "hangs": [], "wrong_merges": [], "harms": {}, "named": True, "lies": 5, "memory_mb": 1.0}
    given |= {"attack": attack, "size": size, "off": False, "usual": 0.1, "seconds": 0.2, "typical": 0.2}
    return given | changes


def test_an_attack_bites_with_what_it_harms_only_without_its_checks():
    on = [result(harms={"left out": "a"}), result(size=2, hangs=["b"])]
    assert bites(result(harms={"left out": "a"}), on) == []
    assert bites(result(harms={"left out": "a", "removed": "c"}, hangs=["d"]), on) == ["hangs", "removed"]
    assert bites(result(seconds=0.8), on) == ["slow"]
    assert bites(result(typical=0.8), on) == ["slow"]
    assert bites(result(typical=0.65, usual=0.1), [result(typical=0.4, usual=0.2)]) == ["slow"]
    assert bites(result(typical=0.65, usual=0.2), [result(typical=0.4, usual=0.2)]) == []


def test_it_is_named_if_it_is_at_each_size():
    attacks = [ATTACKS["offer: weight"], ATTACKS["offer: weight -2"]]
    results = [result(), result(size=4, named=False), result("offer: weight -2"), result("offer: weight -2", off=True)]
    found = figures(attacks, [result("")], results)
    assert (found["break_the_protocol"], found["named"], found["unnamed"]) == (2, 1, ["offer: weight"])
    assert (found["tried_without_checks"], found["bites"], found["bite_not"]) == (1, 0, ["offer: weight -2"])
    assert found["of"]["offer: weight"]["slowdown"] == {"3": 2.0, "4": 2.0}


def test_what_the_documentation_allows_is_not_in_the_totals():
    attacks = [ATTACKS["weights: wrong slice"], ATTACKS["offer: weight"]]
    wrong = ["round 2: 2 models"]
    results = [result("weights: wrong slice", wrong_merges=wrong), result(wrong_merges=wrong), result(lies=0)]
    found = figures(attacks, [result("")], results)
    assert (found["wrong_merges"], found["not_carried_out"]) == (1, ["offer: weight at n=3"])
    assert found["known"] == {"weights: wrong slice": ATTACKS["weights: wrong slice"].known}
