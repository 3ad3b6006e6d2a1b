"""Figures of all cases together, as a record and as a table."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean
from typing import Any

from benchmarks.harness.command import Record
from benchmarks.harness.figures import aligned
from benchmarks.hostile.attack import Attack

SLOWER = 3.0
"""Times as long as with the checks that sync points last without them, on average or most of them, to count as harm."""
LEAST = 0.1
"""Seconds by which it lasts longer then."""
FOUND = ("crashes", "hangs", "wrong_merges")
Result = Mapping[str, Any]
"""A verdict with its case."""


def figures(attacks: Sequence[Attack], usual: Sequence[Result], results: Sequence[Result]) -> dict[str, Any]:
    """The record.

    Args:
        attacks: that were tried.
        usual: cases in which nobody lies.
        results: all others.
    """
    on = defaultdict(list)
    for result in results:
        if not result["off"]:
            on[result["attack"]].append(result)
    off = {result["attack"]: result for result in results if result["off"]}
    of = {attack.name: _of_one(attack, on[attack.name], off.get(attack.name)) for attack in attacks}
    known = {name: each["known"] for name, each in of.items() if each["known"]}
    counted = [result for result in results if not result["off"] and result["attack"] not in known]
    breaking = [attack.name for attack in attacks if attack.breaks]
    return {
        "attacks": len(attacks),
        "cases": len(results),
        **{what: sum(bool(result[what]) for result in [*usual, *counted]) for what in FOUND},
        "break_the_protocol": len(breaking),
        "named": sum(of[name]["named"] for name in breaking),
        "unnamed": [name for name in breaking if not of[name]["named"]],
        "tried_without_checks": len(off),
        "bites": sum(bool(each["bites"]) for each in of.values()),
        "bite_not": [name for name in off if not of[name]["bites"]],
        "not_carried_out": [f"{r['attack']} at n={r['size']}" for r in results if not r["lies"]],
        "harms": {name: each["harms"] for name, each in of.items() if each["harms"]},
        "known": known,
        "usual_seconds": {str(r["size"]): round(r["seconds"], 4) for r in usual},
        "odd": [f"{r['attack']} at n={r['size']}: {text}" for r in counted for what in FOUND for text in r[what][:3]],
        "of": of,
    }


def _of_one(attack: Attack, on: Sequence[Result], off: Result | None) -> dict[str, Any]:
    """Those of one attack. It is named if it is at every size at which it was carried out."""
    tried = [result for result in on if result["lies"]]
    harms: defaultdict[str, list[int]] = defaultdict(list)
    for result in on:
        for harm in result["harms"]:
            harms[harm].append(result["size"])
    return {
        "does": attack.does,
        "checks": list(attack.checks),
        "breaks": attack.breaks,
        "known": attack.known,
        **{what: sum(bool(result[what]) for result in on) for what in FOUND},
        "harms": dict(harms),
        "named": bool(tried) and all(result["named"] for result in tried),
        "unnamed_at": [result["size"] for result in tried if not result["named"]],
        "slowdown": {str(r["size"]): round(r["seconds"] / r["usual"], 2) for r in on},
        "memory_mb": {str(r["size"]): r["memory_mb"] for r in on},
        "bites": bites(off, on) if off else [],
    }


def bites(off: Result, on: Sequence[Result]) -> list[str]:
    """What an attack harms without its checks, and does not with them at the same size."""
    same = next((result for result in on if result["size"] == off["size"]), None)
    with_checks = _harmed(same) if same else set()
    found = _harmed(off) - with_checks
    if same and any(_slower(off, same, what) for what in ("seconds", "typical")):
        found.add("slow")
    return sorted(found)


def _slower(off: Result, on: Result, what: str) -> bool:
    """By the clock, or beside the rounds before each attack, as other work of the machine makes both longer."""
    beside_before = off[what] / off["usual"] > SLOWER * max(1.0, on[what] / on["usual"])
    return bool(off[what] > SLOWER * on[what] + LEAST or (beside_before and off[what] > off["usual"] + LEAST))


def _harmed(result: Result) -> set[str]:
    return {*result["harms"], *(what for what in FOUND if result[what])}


def table(record: Record) -> str:
    """The record for people."""
    rows = [("attack", "crash", "hang", "wrong", "slower", "MB", "named", "without its checks")]
    for name, each in record["of"].items():
        slower = max(each["slowdown"].values(), default=0.0)
        memory = max(each["memory_mb"].values(), default=0.0)
        named = "yes" if each["named"] else f"not at {each['unnamed_at']}" if each["breaks"] else "-"
        counts = [str(each[what]) for what in FOUND]
        rows.append((name, *counts, f"{slower:.1f}x", f"{memory:.0f}", named, ", ".join(each["bites"]) or "no harm"))
    return "\n".join([*aligned(rows, right=False), *_totals(record)])


def _totals(record: Record) -> Iterable[str]:
    counts = ", ".join(f"{record[what]} {what.replace('_', ' ')}" for what in FOUND)
    yield f"{record['attacks']} attacks in {record['cases']} cases: {counts}"
    yield f"named: {record['named']} of {record['break_the_protocol']} that break the protocol"
    yield f"harm without their checks: {record['bites']} of {record['tried_without_checks']}"
    slowdowns = [value for each in record["of"].values() for value in each["slowdown"].values()]
    if slowdowns:
        yield f"sync points last {fmean(slowdowns):.1f} times as long on average, {max(slowdowns):.1f} times at most"
    yield from record["odd"]
