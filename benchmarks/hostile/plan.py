"""All attacks."""

from __future__ import annotations

from benchmarks.hostile.attack import Attack
from benchmarks.hostile.attacks import floods, offers, proposals, records, votes, weights

KINDS = tuple(module.ATTACKS for module in (offers, proposals, votes, weights, records, floods))
ATTACKS: dict[str, Attack] = {name: attack for kind in KINDS for name, attack in kind.items()}
"""By name."""
