"""All attacks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from benchmarks.hostile.attack import Attack
from benchmarks.hostile.attacks import ends, floods, offers, proposals, records, votes, weights
from benchmarks.hostile.checks import CHECKS

KINDS = (
    offers.ATTACKS,
    proposals.ATTACKS,
    votes.ATTACKS,
    weights.ATTACKS,
    records.ATTACKS,
    floods.ATTACKS,
    ends.ATTACKS,
)
ATTACKS: dict[str, Attack] = {name: attack for kind in KINDS for name, attack in kind.items()}
"""By name."""


def described(attacks: Iterable[Attack]) -> Iterator[str]:
    """The lines of a Markdown table of attacks, as ``docs/hostile.md`` has it."""
    yield "| attack | the bad member | what stops it | named |"
    yield "| --- | --- | --- | --- |"
    for attack in attacks:
        stops = "; ".join(CHECKS[name].what for name in attack.checks) or attack.stops or f"nothing: {attack.known}"
        named = f"no: {attack.unnamed}" if attack.unnamed else "yes" if attack.breaks else "it breaks no rule"
        yield f"| {attack.name} | {attack.does} | {stops} | {named} |"
