"""What a field of a message or a record may hold: the alphabet and length of each text, the range of each number.

``docs/limits.md`` has the same as a table. Every text and every number of a message or a record needs an entry here,
which is checked on import of the rooms that decode them.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple, TypeVar

from swarm.errors import ExchangeError
from swarm.messages import MAX_PEERS, MAX_ROSTER, MAX_TENSOR_NAME, MAX_TENSORS, MOST_CARRIED
from swarm.records import LONGEST_INTERVAL, MAX_ORIGINS, MAX_RANKS, MAX_SAMPLES, MAX_SETTING
from swarm.text import IDENTIFIER, MAX_SHOWN, is_address, is_name, printable

# Lists -----------------------------------------------------------------------------------------------------------

MAX_SETTINGS = 64
MAX_DIMENSIONS = 64

ITEMS: dict[str, int] = {
    **dict.fromkeys(("members", "voters", "group", "contributors", "entries", "norms"), MAX_PEERS),
    **dict.fromkeys(("keys", "weights", "refused", "credentials", "offers", "gone", "slices"), MAX_PEERS),
    **dict.fromkeys(("signatures", "promises", "proofs"), MAX_PEERS),
    "carried": MOST_CARRIED,
    "origins": MAX_ORIGINS,
    "schema": MAX_TENSORS,
    "roster": MAX_ROSTER,
    "settings": MAX_SETTINGS,
    "ranks": MAX_RANKS,
    "shape": MAX_DIMENSIONS,
    "dimensions": 8 * MAX_TENSORS,  # of all tensors of a schema
}
"""The most items of each list, by its name."""

REPEATING = frozenset({"slices"})
"""Lists of text in which one value may stand twice; in all others that is refused."""

# Text ------------------------------------------------------------------------------------------------------------

Convert = Callable[[str], str]
"""Returns the text as it is used here. Raises ValueError: it is none of this kind."""


def _name(text: str) -> str:
    if not is_name(text):
        raise ValueError
    return text


def _address(text: str) -> str:
    if not is_address(text):
        raise ValueError
    return text


def _leader(text: str) -> str:
    """Empty in the attempt before the first one."""
    return _name(text) if text else text


def _matching(pattern: str) -> Convert:
    compiled = re.compile(pattern, re.ASCII)

    def convert(text: str) -> str:
        if not compiled.fullmatch(text):
            raise ValueError
        return text

    return convert


def _readable(limit: int) -> Convert:
    def convert(text: str) -> str:
        if len(text) > limit or not text.isprintable():
            raise ValueError
        return text

    return convert


reason: Convert = partial(printable, limit=MAX_SHOWN)
"""Cuts and escapes a sentence, for the sender and for the receiver."""
_MAX_RELEASE = 40
MAX_TEXT = 2**17
"""Characters of all settings that peers agree on, as a ledger keeps them."""
_identifier = _matching(IDENTIFIER)
_word = _matching(r"[!-~]{1,64}")


def _kind(text: str) -> str:
    """One of few words: all tensors share one object."""
    return sys.intern(_word(text))


TEXTS: dict[str, tuple[Convert, str]] = {
    **dict.fromkeys(
        ("session", "sender", "peer", "blamed", "members", "voters", "group", "contributors", "gone", "PeerInfo.name"),
        (_name, "a name"),
    ),
    "codec": (_leader, "a name"),
    "rule": (_leader, "a name"),
    "leader": (_leader, "a name"),
    "ReachAnswer.name": (_leader, "a name"),
    **dict.fromkeys(("address", "ranks"), (_address, "an address")),
    "incarnation": (_matching(r"[0-9A-Za-z._-]{1,64}"), "an incarnation"),
    **dict.fromkeys(("lineage", "parent", "digest", "root", "fingerprint"), (_identifier, "a digest")),
    **dict.fromkeys(("previous", "record", "other_record", "settings", "after", "slices"), (_identifier, "a digest")),
    **dict.fromkeys(("key", "keys"), (_matching(r"[0-9a-f]{64}"), "a key")),
    **dict.fromkeys(("signature", "other_signature", "value"), (_matching(r"(?:[0-9a-f]{128})?"), "a signature")),
    "link": (_matching(r"[0-9a-f]{64}"), "a link"),
    "certificate": (_matching(r"[0-9A-Za-z+/=]{0,16384}"), "a certificate"),
    "proof": (_matching(r"[0-9A-Za-z+/=]{0,512}"), "a signature"),
    "TensorLine.name": (_readable(MAX_TENSOR_NAME), "the name of a tensor"),
    **dict.fromkeys(("dtype", "kind"), (_kind, "a word")),
    "settings.name": (_word, "the name of a setting"),
    "settings.value": (_readable(MAX_SETTING), "the value of a setting"),
    "reason": (reason, "a reason"),
    "SignedHead.settings": (_readable(MAX_TEXT), "the settings of a session"),
    "release": (_readable(_MAX_RELEASE), "a release"),
}
"""By field, or by record and field where the field alone does not tell: the check, and what it says."""

# Numbers ---------------------------------------------------------------------------------------------------------


class Range(NamedTuple):
    """What a number may be."""

    lowest: float
    highest: float
    or_none: bool = False
    """Whether infinity is allowed too, as there may be no such number."""


MAX_COUNT = 2**31 - 1
MAX_FIGURE = 1e100
"""The largest loss, metric or other figure of a training, also below zero. A diverged training may have a larger one,
which is told as infinity."""
_COUNT = Range(0, MAX_COUNT)
_WEIGHT = Range(0, MAX_SAMPLES)
_NOT_NEGATIVE = Range(0.0, math.inf)
_FIGURE = Range(-MAX_FIGURE, MAX_FIGURE)

RANGES: dict[str, Range] = {
    **dict.fromkeys(("round", "counter", "expects", "part", "newest", "oldest", "protocol"), _COUNT),
    **dict.fromkeys(("ledger", "count", "since"), _COUNT),
    "parts": Range(1, MAX_COUNT),
    "steps": Range(0, 2**53),
    "interval": Range(1, LONGEST_INTERVAL),
    **dict.fromkeys(("PeerInfo.weight", "ContributionStats.weight", "Entry.weight", "weights"), _WEIGHT),
    "shape": Range(0, 2**48),
    "port": Range(1, 65535),
    **dict.fromkeys(("norm", "residual", "squared", "delta_norm"), _NOT_NEGATIVE),
    **dict.fromkeys(("signal", "score", "own_score", "best_score"), _FIGURE._replace(or_none=True)),
    **dict.fromkeys(("reference", "Best.score"), _FIGURE),
}
"""By field or by record and field. NaN is in no range."""


def figure(value: float) -> float:
    """A loss, metric or other figure as it travels and is signed: exactly a float, and infinity where it is none."""
    number = float(value)
    return number if abs(number) <= MAX_FIGURE else math.inf


T = TypeVar("T")


def entry(table: Mapping[str, T], record: str, name: str) -> T:
    """What one of the tables above says about the field ``name`` of ``record``.

    Raises:
        TypeError: it says nothing.
    """
    found = table.get(f"{record}.{name}", table.get(name))
    if found is None:
        raise TypeError(f"limits.py has no entry for {record}.{name}")
    return found


def check_number(name: str, value: float, allowed: Range) -> float:
    """``value`` if it is in its range.

    Raises:
        ExchangeError: it is not, or is NaN.
    """
    if allowed.lowest <= value <= allowed.highest or (allowed.or_none and value == math.inf):
        return value
    none = ", or infinity where there is none" if allowed.or_none else ""
    raise ExchangeError(f"{name} is {value}: allowed is a number from {allowed.lowest} to {allowed.highest}{none}")


def check_text(name: str, text: str, convert: Convert, what: str) -> str:
    """``text`` as it is used here.

    Raises:
        ExchangeError: it is not what belongs there.
    """
    try:
        return convert(text)
    except ValueError:
        shown = printable(text, 40)
        raise ExchangeError(f"{name} is {shown!r} ({len(text)} characters), which is not {what}") from None


def check_items(name: str, count: int) -> None:
    """Check the number of items in a list.

    Raises:
        ExchangeError: there are too many.
    """
    if count > ITEMS[name]:
        raise ExchangeError(f"{name} has {count} entries, which exceeds the limit of {ITEMS[name]}")


def check_unique(name: str, items: Sequence[str]) -> None:
    """Check a list in which nothing may stand twice.

    Raises:
        ExchangeError: something does.
    """
    if len(set(items)) < len(items):
        raise ExchangeError(f"{name} names a peer twice")
