"""Facts about the data that must be the same at all sites: what they may be, how they travel, and how they differ."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from numbers import Integral, Real
from typing import Any

from swarm.config.checks import Check
from swarm.errors import ConfigurationError
from swarm.records import MAX_SETTING
from swarm.text import printable

MAX_FACTS = 24
"""Facts of one peer; they travel in the list of its settings, which has a limit."""
MAX_DEPTH = 8
"""Lists within lists."""
_KEY = re.compile(r"[\w.-]{1,48}", re.ASCII)
_NAME = re.compile(r"agree\['[\w.-]{1,48}'\]", re.ASCII)
_REST = re.compile(r"((?:\d{1,9} entries, )?\d{1,12} characters, sha256 [0-9a-f]{8})[0-9a-f]{56}\)")
_CUT = "… ("
_ENDING = 160
"""Characters kept free for what says how much is missing."""
_SHOWN = 120
"""Characters of a value in a message."""
_ENTRY = 40
"""Characters of one entry of a list in a message."""


def agreement() -> Check:
    """A mapping of names to values: text, numbers, true or false, and lists of them. The normal form is JSON."""

    def accept(value: Any) -> tuple[tuple[str, str], ...]:
        if not isinstance(value, Mapping):
            raise TypeError
        if len(value) > MAX_FACTS:
            raise ConfigurationError(f"agree has {len(value)} entries: allowed are {MAX_FACTS}, lists count as one")
        for key in value:
            if not isinstance(key, str) or not _KEY.fullmatch(key):
                raise ConfigurationError(
                    f"agree has the key {printable(repr(key), _SHOWN)}: allowed are 1 to 48 ASCII letters, digits, "
                    "'_', '.' and '-'"
                )
        return tuple((key, _text(_plain(value[key], f"agree[{key!r}]", MAX_DEPTH))) for key in sorted(value))

    def read(text: str) -> tuple[tuple[str, str], ...]:
        return accept(json.loads(text, parse_constant=_refuse))

    return Check("a dict of names and values, as text in JSON", accept, read, explains=True)


def _refuse(constant: str) -> Any:
    raise ValueError(constant)


def _plain(value: Any, where: str, depth: int) -> Any:
    """``value`` in types of JSON; an integral number is an integer.

    Raises:
        ConfigurationError: it is of another type.
    """
    if isinstance(value, bool) or type(value).__name__ in {"bool", "bool_"}:
        return bool(value)
    if isinstance(value, str):
        return str(value)
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real):
        number = float(value)
        if not math.isfinite(number):
            raise ConfigurationError(f"{where} is {number}: allowed are finite numbers")
        return int(number) if number.is_integer() else number
    if isinstance(value, list | tuple) and depth:
        return [_plain(each, f"{where}[{index}]", depth - 1) for index, each in enumerate(value)]
    kind = type(value).__name__
    article = "an" if kind[:1].lower() in "aeiou" else "a"
    raise ConfigurationError(
        f"{where} is {article} {kind}: allowed are text, numbers, true or false, and lists of them, such as list(...)"
        + ("" if depth else f", at most {MAX_DEPTH} within one another")
    )


def _text(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))


def told_name(key: str) -> str:
    """A fact as the name of a setting."""
    return f"agree[{key!r}]"


def is_fact(name: str) -> bool:
    """Whether a declared setting, perhaps of another peer, is a fact."""
    return _NAME.fullmatch(name) is not None


def told_value(text: str) -> str:
    """A fact as it is sent: in full, or its beginning with its size and a hash of all of it."""
    if len(text) <= MAX_SETTING:
        return text
    value = json.loads(text)
    entries = f"{len(value)} entries, " if isinstance(value, list) else ""
    digest = hashlib.sha256(text.encode()).hexdigest()
    return f"{text[: MAX_SETTING - _ENDING]}… ({entries}{len(text)} characters, sha256 {digest})"


def difference(name: str, values: Mapping[str, str | None]) -> str:
    """How a fact differs between two peers, in words.

    Args:
        name: of the fact, as declared.
        values: what each of the two peers declares, by name of the peer; None where it declares nothing.
    """
    told = " and ".join(f"{_shown(value)} at {peer}" for peer, value in values.items())
    (one, first), (other, second) = values.items()
    detail = "" if first is None or second is None else _first_difference(one, first, other, second)
    return f"{name} is {told}{detail}"


def _shown(value: str | None) -> str:
    if value is None:
        return "not given"
    entries, known, rest = _parsed(value)
    if entries is None:
        return printable(value if rest else repr(known), _SHOWN)
    shown = printable(", ".join(repr(entry) for entry in entries), _SHOWN)
    return f"[{shown}{', …' if rest and not shown.endswith('…') else ''}]{f' ({rest})' if rest else ''}"


def _first_difference(one: str, first: str, other: str, second: str) -> str:
    """The end of a sentence: which entry of two lists is the first to differ, as far as they are known."""
    ours, _, our_rest = _parsed(first)
    theirs, _, their_rest = _parsed(second)
    if ours is None or theirs is None:
        return ""
    for index, (mine, yours) in enumerate(zip(ours, theirs, strict=False)):
        if mine != yours or type(mine) is not type(yours):
            return f": the {_ordinal(index + 1)} entry is {_entry(mine)} at {one} and {_entry(yours)} at {other}"
    if our_rest or their_rest:
        return f": the first {min(len(ours), len(theirs))} entries are equal, later ones differ"
    longer, entries = (one, ours) if len(ours) > len(theirs) else (other, theirs)
    extra = entries[min(len(ours), len(theirs))]
    return f": {len(ours)} entries at {one} and {len(theirs)} at {other}; only {longer} has {_entry(extra)}"


def _entry(value: Any) -> str:
    return printable(repr(value), _ENTRY)


def _parsed(text: str) -> tuple[list[Any] | None, Any, str]:
    """A declared value: its entries if it is a list, else the value, and what is said about the part that is missing.

    It may be another peer's, and hold anything.
    """
    start, _, end = text.rpartition(_CUT)
    cut = _REST.fullmatch(end)
    if cut is None:
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            return None, None, "no JSON"
        return (value if isinstance(value, list) else None), value, ""
    return _complete_entries(start), None, f"{cut[1]}…"


def _complete_entries(text: str) -> list[Any] | None:
    """The entries of a list of which only the beginning is known; None if it is no list."""
    if not text.startswith("["):
        return None
    decoder, entries, place = json.JSONDecoder(), [], 1
    while place < len(text):
        try:
            entry, end = decoder.raw_decode(text, place)
        except (ValueError, RecursionError):
            break
        if text[end : end + 1] != ",":
            break  # a number may be cut off
        entries.append(entry)
        place = end + 1
    return entries


def _ordinal(number: int) -> str:
    if number % 100 in {11, 12, 13}:
        return f"{number}th"
    return f"{number}{ {1: 'st', 2: 'nd', 3: 'rd'}.get(number % 10, 'th') }"
