"""Rounds over TLS, the same rounds unencrypted, gloo's sums and the cipher alone, in turn: what TLS costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from statistics import median
from typing import Any

from benchmarks.harness.command import Record
from benchmarks.harness.figures import in_turn, shown, spread, verdict
from benchmarks.merge.cipher import NAME
from benchmarks.merge.counters import count
from benchmarks.merge.plan import Plan
from benchmarks.merge.rounds import Samples, begin, elapsed, merged, peers_of, reduced

ARMS = ("gloo", "plaintext", "cipher", "tls")
GOAL = 1.5
"""At most so many times the cipher's own time may TLS add to a round."""


@dataclass(slots=True, kw_only=True)
class EncryptedSamples(Samples):
    """``seconds`` and all else of the base class are those of rounds over TLS."""

    plaintext_seconds: list[float] = field(default_factory=list)
    """Of the same rounds without TLS."""
    floor_seconds: list[float] = field(default_factory=list)
    """In which all peers at the same time encrypt what each must send in a round, and decrypt as much."""


def compare_encrypted(plan: Plan, rounds: int, warmup: int) -> EncryptedSamples:
    """Run all arms in turn, in one invocation.

    Two sets of peers, one of them with identities, take turns; the other one waits meanwhile.

    Raises:
        RuntimeError: a result is wrong, or differs between peers, or a round needed a second attempt.
    """
    samples, secure = EncryptedSamples(), replace(plan, tls=True)
    with peers_of(plan, gloo=True) as plain_peers, peers_of(secure, gloo=False) as secure_peers:
        begin(plain_peers, plan)
        secure_peers.all("begin")
        for turn, (arm, counts) in enumerate(in_turn(ARMS, rounds, warmup), start=2):
            taken, plain = samples if counts else EncryptedSamples(), Samples()
            if arm == "gloo":
                taken.gloo_seconds.append(reduced(plain_peers, turn))
            elif arm == "plaintext":
                merged(plain_peers, plan, turn, plain, lambda: 0)
                taken.plaintext_seconds += plain.seconds
            elif arm == "tls":
                merged(secure_peers, secure, turn, taken, lambda: count("lo").sent)
            else:
                taken.floor_seconds.append(elapsed(secure_peers.all("encrypt", size=round(plan.bound))))
        plain_peers.all("end")
        secure_peers.all("end")
    return samples


def encrypted_figures(invocations: Sequence[EncryptedSamples]) -> dict[str, Any]:
    """What a record has in addition to the figures of ``merge``."""
    triples = [
        list(zip(samples.seconds, samples.plaintext_seconds, samples.floor_seconds, strict=True))
        for samples in invocations
    ]
    ratios = [[ours / plain for ours, plain, _ in each] for each in triples]
    added = [[(ours - plain) / floor for ours, plain, floor in each] for each in triples]
    over = _repeated(added)
    return {
        "tls": True,
        "cipher": NAME,
        "plaintext_seconds": spread([plain for each in triples for _, plain, _ in each]),
        "plaintext_ratio": _repeated(ratios),
        "crypto_floor_seconds": spread([floor for each in triples for _, _, floor in each]),
        "added_over_floor": over,
        "goal": {"added_over_floor": GOAL, "met": over["median"] <= GOAL},
    }


def encrypted_rows(record: Record) -> list[tuple[str, str]]:
    """Rows of a table, if the record is one of rounds over TLS."""
    if not record.get("tls"):
        return []
    by_invocation = {name: record[name]["by_invocation"] for name in ("plaintext_ratio", "added_over_floor")}
    goal = f"goal, at most {record['goal']['added_over_floor']}: {verdict(record['goal']['met'])}"
    return [
        ("without TLS", f"{shown(record['plaintext_seconds'])} s"),
        ("ratio to that", f"{shown(record['plaintext_ratio'])}; by invocation {by_invocation['plaintext_ratio']}"),
        (f"{record['cipher']} alone", f"{shown(record['crypto_floor_seconds'])} s"),
        (
            "added by TLS, over that",
            f"{shown(record['added_over_floor'])}; by invocation {by_invocation['added_over_floor']}; {goal}",
        ),
    ]


def _repeated(invocations: Sequence[Sequence[float]]) -> dict[str, Any]:
    """The spread of all values, and the median of each invocation."""
    return {
        **spread([value for each in invocations for value in each]),
        "by_invocation": [round(median(each), 3) for each in invocations],
    }
