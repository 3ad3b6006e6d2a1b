"""What a message may hold: its size by kind, the alphabet and length of each text, the range of each number.

``docs/limits.md`` has the same as a table. Every text and every number of a message needs an entry here, which is
checked on import.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from functools import partial

from swarm.errors import ExchangeError
from swarm.messages import (
    MAX_PEERS,
    MAX_ROSTER,
    MAX_TENSOR_NAME,
    MAX_TENSORS,
    Accept,
    Decide,
    Hello,
    Promise,
    Propose,
    Ready,
)
from swarm.records import LONGEST_INTERVAL, MAX_SAMPLES, MAX_SETTING, MAX_TOTAL_WEIGHT
from swarm.text import IDENTIFIER, MAX_SHOWN, is_address, is_name, printable
from swarm.transport.base import MAX_MESSAGE_BYTES

# Sizes -----------------------------------------------------------------------------------------------------------

MAX_SETTINGS = 64
MAX_DIMENSIONS = 64

_LONG_BYTES = 512 * 2**10
_SHORT_BYTES = 16 * 2**10
_BYTES: dict[type, int] = {
    Hello: MAX_MESSAGE_BYTES,
    **dict.fromkeys((Propose, Promise, Ready, Accept, Decide), _LONG_BYTES),
}


_ITEM_BYTES = {"schema": 4 * 2**10, "roster": 64 * 2**10}
"""Of one item of the long lists of a greeting."""


def max_bytes(kind: type) -> int:
    """The most bytes of an encoded message of this kind, its envelope included.

    An empty record in a list takes 2 bytes when it is sent, and about 100 in memory. So messages with lists of peers
    are bounded before they are decoded, and the lists of a greeting are decoded item by item.
    """
    return _BYTES.get(kind, _SHORT_BYTES)


ITEMS: dict[str, int] = {
    **dict.fromkeys(("members", "voters", "group", "contributors", "entries", "norms"), MAX_PEERS),
    "schema": MAX_TENSORS,
    "roster": MAX_ROSTER,
    "settings": MAX_SETTINGS,
    "shape": MAX_DIMENSIONS,
    "dimensions": 8 * MAX_TENSORS,  # of all tensors of a schema
}
"""The most items of each list, by its name."""

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
_identifier = _matching(IDENTIFIER)
_word = _matching(r"[!-~]{1,64}")


def _kind(text: str) -> str:
    """One of few words: all tensors share one object."""
    return sys.intern(_word(text))


TEXTS: dict[str, tuple[Convert, str]] = {
    **dict.fromkeys(
        ("session", "sender", "peer", "blamed", "members", "voters", "group", "contributors", "PeerInfo.name", "codec"),
        (_name, "a name"),
    ),
    "leader": (_leader, "a name"),
    "address": (_address, "an address"),
    "incarnation": (_matching(r"[0-9A-Za-z._-]{1,64}"), "an incarnation"),
    **dict.fromkeys(("lineage", "parent", "digest", "fingerprint"), (_identifier, "a digest")),
    "TensorLine.name": (_readable(MAX_TENSOR_NAME), "the name of a tensor"),
    **dict.fromkeys(("dtype", "kind"), (_kind, "a word")),
    "settings.name": (_word, "the name of a setting"),
    "settings.value": (_readable(MAX_SETTING), "the value of a setting"),
    "reason": (reason, "a reason"),
    "release": (_readable(_MAX_RELEASE), "a release"),
}
"""By field, or by record and field where the field alone does not tell: the check, and what it says."""

# Numbers ---------------------------------------------------------------------------------------------------------

MAX_COUNT = 2**31 - 1
_COUNT = 0, MAX_COUNT
_WEIGHT = 0, MAX_SAMPLES
_TOTAL_WEIGHT = 0, MAX_TOTAL_WEIGHT
_NOT_NEGATIVE = 0.0, float("inf")

RANGES: dict[str, tuple[float, float]] = {
    **dict.fromkeys(("round", "counter", "expects", "part", "newest", "oldest", "protocol"), _COUNT),
    "parts": (1, MAX_COUNT),
    "steps": (0, 2**53),
    "interval": (1, LONGEST_INTERVAL),
    **dict.fromkeys(("PeerInfo.weight", "ContributionStats.weight", "Entry.weight"), _WEIGHT),
    **dict.fromkeys(("Commit.weight", "Proposal.weight"), _TOTAL_WEIGHT),
    "shape": (0, 2**48),
    "port": (1, 65535),
    **dict.fromkeys(("norm", "residual", "squared", "delta_norm"), _NOT_NEGATIVE),
    "loss": (float("-inf"), float("inf")),
}
"""Lowest and highest value, by field or by record and field. NaN passes: the rules of a round handle it."""


def check_number(name: str, value: float, low: float, high: float) -> float:
    """``value`` if it is in its range.

    Raises:
        ExchangeError: it is not.
    """
    if value < low or value > high:
        raise ExchangeError(f"{name} is {value}: allowed is a number from {low} to {high}")
    return value


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


def check_size(kind: type, size: int) -> None:
    """Check the encoded size of a message.

    Raises:
        ExchangeError: it is too large.
    """
    if size > max_bytes(kind):
        raise ExchangeError(f"a {kind.__name__} of {size} bytes exceeds the limit of {max_bytes(kind)}")


def check_items(name: str, count: int) -> None:
    """Check the number of items in a list.

    Raises:
        ExchangeError: there are too many.
    """
    if count > ITEMS[name]:
        raise ExchangeError(f"{name} has {count} entries, which exceeds the limit of {ITEMS[name]}")


def check_item(name: str, count: int, size: int) -> None:
    """Check an encoded item of a list before it is decoded: the number of items so far, and its size.

    Raises:
        ExchangeError: there are too many, or it is too large.
    """
    check_items(name, count)
    if size > _ITEM_BYTES[name]:
        raise ExchangeError(f"an entry of {name} of {size} bytes exceeds the limit of {_ITEM_BYTES[name]}")


def check_rest(size: int) -> None:
    """Check the encoded size of a greeting without its long lists.

    Raises:
        ExchangeError: it is too large.
    """
    if size > _LONG_BYTES:
        raise ExchangeError(f"a greeting of {size} bytes without its lists exceeds the limit of {_LONG_BYTES}")
