"""What an attack has done to the honest peers."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean, median
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.hostile.liar import LIAR, SESSION, Liar
from swarm.certification.chain import Verifier
from swarm.certification.keys import ProcessKey
from swarm.certification.statements import record_hash
from swarm.identity import Identity
from swarm.records import Commit, Outcome
from swarm.session.wiring import vouch

if TYPE_CHECKING:
    from benchmarks.hostile.peers import Peer, Sync

SAME = 0.01
"""By how much of it, at most, a contribution differs from the offered one through rounding."""
MEMORY = 64.0
"""MB of growth that count as harm."""
MOST_WARNINGS = 300
"""Lines in the logs of the honest peers; more count as harm."""
FAR = 5.0
"""Times as far as usual that a merge may move the model, before that counts as harm."""
SOME = 3
"""Rounds in which an honest peer is missing before that counts as harm."""


@dataclass(slots=True)
class Verdict:
    """Of one case."""

    lies: int = 0
    """How often the bad member has lied, or been silent where an honest one would not be."""
    rounds: int = 0
    """Sync points of an honest peer during the attack, on average."""
    merged: int = 0
    """Those of them that merged."""
    crashes: list[str] = field(default_factory=list)
    hangs: list[str] = field(default_factory=list)
    wrong_merges: list[str] = field(default_factory=list)
    harms: dict[str, str] = field(default_factory=dict)
    """What else was harmed, with an example."""
    named: bool = False
    """Whether a warning in the log of an honest peer names the bad member."""
    usual: float = 0.0
    """Seconds of a sync point before the attack."""
    seconds: float = 0.0
    """The same during the attack."""
    typical: float = 0.0
    """The median of those during the attack."""
    memory_mb: float = 0.0
    """By which the process of all peers grew during the attack."""


def judge(peers: Sequence[Peer], liar: Liar, began: float, ended: float, identity: Path) -> Verdict:
    """The verdict but for memory and names, from what the peers recorded.

    Args:
        peers: the honest ones.
        liar: the bad member.
        began: when the attack began, seconds of the monotonic clock.
        ended: when it ended.
        identity: the directory of an identity, by which keys are checked.
    """
    verdict = Verdict(lies=liar.lies)
    syncs = [sync for peer in peers for sync in peer.syncs]
    during = [sync for sync in syncs if sync.ended > began]
    verdict.rounds = len(during) // len(peers)
    verdict.merged = sum(sync.report.outcome is Outcome.MERGED for sync in during) // len(peers)
    # A sync point that has not ended counts for as long as it has lasted.
    open_since = [max((sync.ended for sync in peer.syncs), default=began) for peer in peers]
    waits = [sync.ended - sync.began for sync in during] + [ended - since for since in open_since if ended - since > 1]
    before = [sync.ended - sync.began for sync in syncs if sync.ended <= began]
    if not before:  # an attack on the start, whose sync points are compared with one another
        before = [sync.ended - sync.began for sync in during[-len(during) // 2 :]] or [ended - began]
        waits += [sync.began - began for peer in peers for sync in peer.syncs[:1]]
    verdict.usual = fmean(before)
    verdict.seconds = fmean(waits) if waits else ended - began
    verdict.typical = median(waits) if waits else ended - began
    for peer in peers:
        verdict.crashes += [f"{peer.name}: {error}" for error in peer.errors]
        verdict.crashes += [f"{peer.name}: {line}" for line in peer.lines if "Traceback" in line]
        if peer.over:
            verdict.crashes.append(f"{peer.name}: its session ended early")
    verdict.wrong_merges = [*_diverged(syncs), *_other_means(syncs, liar)]
    for commit in {record_hash(sync.commit): sync.commit for sync in during}.values():
        look(commit, syncs[0].commit, [peer.name for peer in peers], verdict.harms)
    untrue = _untrue([sync.commit for sync in syncs], identity)
    if untrue:
        verdict.harms["uncertified"] = untrue
    _look_at_groups(during, peers, verdict)
    _look_at_models(syncs, began, verdict)
    return verdict


def _diverged(syncs: Iterable[Sync]) -> list[str]:
    """Rounds of which two peers hold different models, and peers that hold another one than they say."""
    digests: defaultdict[tuple[str, int], set[str]] = defaultdict(set)
    odd = []
    for sync in syncs:
        if sync.report.outcome is Outcome.MERGED:
            digests[sync.report.lineage, sync.report.round].add(sync.report.digest)
            if sync.digest != sync.report.digest:
                odd.append(f"round {sync.report.round}: {sync.peer} holds another model than it reports")
    return odd + [f"round {key[1]}: {len(found)} models" for key, found in digests.items() if len(found) > 1]


def _other_means(syncs: Sequence[Sync], liar: Liar) -> list[str]:
    """Rounds whose model is not the mean of what was offered.

    What the bad member contributed is computed from the result. It has to be as far from the model of the round before
    as the member has offered.
    """
    of_round: defaultdict[tuple[str, int], dict[str, Sync]] = defaultdict(dict)
    for sync in syncs:
        if sync.report.outcome is Outcome.MERGED and sync.commit.round == sync.report.round:
            of_round[sync.report.lineage, sync.report.round][sync.peer] = sync
    wrong = []
    for (lineage, number), found in of_round.items():
        some = next(iter(found.values()))
        weights = dict(zip(some.commit.group, some.commit.weights, strict=True))
        contributors = some.commit.contributors
        if not contributors or not {*contributors} - {LIAR} <= found.keys():
            continue
        total = sum(weights[peer] for peer in contributors) * some.merged.astype(np.float64)
        rest = total - sum(weights[peer] * found[peer].offered.astype(np.float64) for peer in {*contributors} - {LIAR})
        if not np.isfinite(rest).all():
            wrong.append(f"round {number}: the model holds NaN or infinity")
        elif LIAR not in contributors:
            if np.abs(rest).max() > SAME:
                wrong.append(f"round {number}: the model differs from the mean by up to {np.abs(rest).max():.3g}")
        elif (lineage, number - 1) in of_round:
            parent = next(iter(of_round[lineage, number - 1].values())).merged
            moved = float(np.linalg.norm(rest / weights[LIAR] - parent))
            offered = [each.stats.delta_norm for each in liar.offered.get(number, [])]
            if not any(abs(moved - each) <= SAME * (1 + each) for each in offered):
                wrong.append(f"round {number}: the bad member moved by {moved:.3g} and offered {offered[:3]}")
    return wrong


def look(commit: Commit, before: Commit, honest: Sequence[str], harms: dict[str, str]) -> None:
    """Find what a record says that the honest peers did not agree on; ``before`` is one that they did agree on."""
    where = f"round {commit.round}"
    weights = dict(zip(commit.group, commit.weights, strict=False))
    steered = {
        "interval": commit.sync.interval != 1,
        "closing": commit.closing,
        "done": commit.done,
        "rule": commit.rule != "mean",
        "codec": commit.codec != "exact",
        "lineage": len(commit.origins) != 1,
        "settings": commit.settings != before.settings,
        "weight": weights.get(LIAR, 0) not in (0, 1) or any(weights.get(peer, 1) != 1 for peer in honest),
    }
    for name, true in steered.items():
        if true:
            harms.setdefault(f"steered: {name}", where)
    for peer in honest:
        if peer not in commit.members:
            harms.setdefault("removed", f"{peer} in {where}")
    for refusal in commit.refused:
        if refusal.peer in honest:
            harms.setdefault("refused", f"{refusal.peer} in {where}: {refusal.reason}")
    for proof in commit.proofs:
        if proof.peer in honest:
            harms.setdefault("accused", f"{proof.peer} in {where}")


def _untrue(records: Sequence[Commit], identity: Path) -> str:
    """Why a record that an honest peer has applied is not certified; empty if all are."""
    known = {record_hash(record): record for record in records}
    doubt = vouch(SESSION, Identity(identity))
    verifier = Verifier(session=SESSION, signer=ProcessKey(), vouch=lambda given: doubt(given, False))
    for record in known.values():
        before = known.get(record.previous)
        if before or not record.previous:
            found = verifier.doubt(record, before)
            if found:
                return found
    return ""


def _look_at_groups(during: Sequence[Sync], peers: Sequence[Peer], verdict: Verdict) -> None:
    """Find honest peers without which the rounds went on, and sync points without a merge."""
    merged = {sync.report.round: sync for sync in during if sync.report.outcome is Outcome.MERGED}
    for peer in peers:
        missing = [number for number, sync in merged.items() if peer.name not in sync.report.group]
        if len(missing) >= SOME and 2 * len(missing) > len(merged):
            text = f"{peer.name} in {len(missing)} of {len(merged)} rounds"
            verdict.harms.setdefault("left out", text)
            if all(LIAR in sync.report.group for sync in merged.values()):
                verdict.harms.setdefault("left out alone", text)
    if len(peers) > 1 and verdict.rounds and 2 * verdict.merged < verdict.rounds:
        verdict.harms["skipped"] = f"{verdict.rounds - verdict.merged} of {verdict.rounds} sync points"


def _look_at_models(syncs: Sequence[Sync], began: float, verdict: Verdict) -> None:
    """Find merges that have moved the weights of an honest peer much further than they did before the attack."""
    moved = [(sync.ended > began, float(np.linalg.norm(sync.merged - sync.offered)), sync) for sync in syncs]
    usual = max((distance for during, distance, _ in moved if not during), default=math.inf)
    for during, distance, sync in moved:
        if during and not distance <= FAR * usual:
            where = f"{sync.peer} in round {sync.report.round}: by {distance:.3g}, usually {usual:.3g}"
            verdict.harms.setdefault("poisoned", where)
