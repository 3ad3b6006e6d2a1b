"""What a setting may be: a check takes a Python value, or the text of an environment variable."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from numbers import Real
from operator import index
from pathlib import Path
from typing import Any

from swarm.addresses import Address, join, parse_advertised
from swarm.config.rates import Rate
from swarm.proxy import ALLOWED, Proxy
from swarm.records import MAX_WEIGHT
from swarm.text import NAME_RULE, is_name

SAMPLES = "samples"
"""The ``node_weightage`` of a peer whose weight is the number of its samples."""
WEIGHTS = f"0 to {MAX_WEIGHT}"
"""Any other ``node_weightage``."""
_INTEGER = re.compile(r"[+-]?[0-9]+")
_SWITCH = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}


@dataclass(frozen=True, slots=True)
class Check:
    """A set of allowed values. Both functions return the normal form, or raise ``ValueError`` or ``TypeError``."""

    allowed: str
    """In words that follow "allowed is"."""
    accept: Callable[[Any], Any]
    """Takes a Python value."""
    read: Callable[[str], Any] | None = None
    """Takes the text of a variable; None: ``accept`` does."""
    takes_empty: bool = False
    """Whether an empty variable is a value, which beats the file; else it counts as absent."""
    is_path: bool = False
    is_secret: bool = False
    """Whether a value may hold a password, so that no message shows one that is not allowed."""
    explains: bool = False
    """Whether it may raise a ``ConfigurationError``, which says what is wrong."""


def integer(low: int, high: int | None = None) -> Check:
    """Integers, also NumPy's; neither bool nor float."""

    def accept(value: Any) -> int:
        if isinstance(value, bool):
            raise TypeError
        number = index(value)
        if number < low or (high is not None and number > high):
            raise ValueError
        return number

    def read(text: str) -> int:
        if not _INTEGER.fullmatch(text.strip()):
            raise ValueError
        return accept(int(text))

    return Check(f"an integer of at least {low}" if high is None else f"an integer from {low} to {high}", accept, read)


def weight() -> Check:
    """Integers from 0 to 100, or the word for the number of samples."""
    plain = integer(0, MAX_WEIGHT)
    read_plain = plain.read or plain.accept

    def accept(value: Any) -> int | str:
        return word(value) if isinstance(value, str) else int(plain.accept(value))

    def word(text: str) -> str:
        if text.strip().lower() != SAMPLES:
            raise ValueError
        return SAMPLES

    def read(text: str) -> int | str:
        return SAMPLES if text.strip().lower() == SAMPLES else int(read_plain(text))

    return Check(f"{plain.allowed} or {SAMPLES!r}", accept, read)


def fraction() -> Check:
    """Numbers above 0 and at most 1."""
    return number("a number above 0 and at most 1", lambda value: 0 < value <= 1)


def number(allowed: str, fits: Callable[[float], bool]) -> Check:
    """Finite numbers that fit; ``allowed`` says which do."""

    def accept(value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, Real):
            raise TypeError
        given = float(value)
        if not math.isfinite(given) or not fits(given):
            raise ValueError
        return given

    return Check(allowed, accept, lambda text: accept(float(text)))


def above_zero() -> Check:
    """Finite numbers above 0."""
    return number("a finite number above 0", lambda value: value > 0)


def below_one() -> Check:
    """Numbers from 0 on, below 1."""
    return number("a number of at least 0 and below 1", lambda value: 0 <= value < 1)


def seconds(*, zero: bool = False) -> Check:
    """Finite durations; 0 only where ``zero``."""
    allowed = f"a finite number of seconds, {'0 or more' if zero else 'above 0'}"
    return number(allowed, lambda value: value > 0 or (zero and value == 0))


def switch() -> Check:
    """On or off."""

    def accept(value: Any) -> bool:
        if not isinstance(value, bool):
            raise TypeError
        return value

    def read(text: str) -> bool:
        word = text.strip().lower()
        if word not in _SWITCH:
            raise ValueError
        return _SWITCH[word]

    return Check("true or false", accept, read)


def switch_or(number: Check) -> Check:
    """On or off, or a number, which tells how many; 0 and 1 are off and on."""
    plain = switch()
    read_plain, read_number = plain.read or plain.accept, number.read or number.accept

    def accept(value: Any) -> bool | int:
        return value if isinstance(value, bool) else int(number.accept(value))

    def read(text: str) -> bool | int:
        return bool(read_plain(text)) if text.strip().lower() in _SWITCH else int(read_number(text))

    return Check(f"{plain.allowed}, or {number.allowed}", accept, read)


def choice(*options: str) -> Check:
    """One of a few lower-case words, in any case."""

    def accept(value: Any) -> str:
        word = _text(value).lower()
        if word not in options:
            raise ValueError
        return word

    return Check(" or ".join(map(repr, options)), accept)


def label(normal: Callable[[str], str] = str) -> Check:
    """Names that are safe in a log line and as the name of a file; ``normal`` gives their normal form."""

    def accept(value: Any) -> str:
        text = _text(value)
        if not is_name(text):
            raise ValueError
        return normal(text)

    return Check(NAME_RULE, accept)


def pattern() -> Check:
    """Glob patterns; a comma would end one where they are written as text."""

    def accept(value: Any) -> str:
        text = _text(value)
        if not text or "," in text or not text.isprintable():
            raise ValueError
        return text

    return Check("a pattern of tensor names such as 'head.*', not empty and without commas", accept)


def address(lowest_port: int, *, named: bool = False) -> Check:
    """``host:port``; port 0 stands for any free one. Where ``named``, the peer's name may stand before it."""

    def accept(value: Any) -> str:
        text = _text(value)
        found = Address.parse(text)
        if found.port < lowest_port or (found.name and not named):
            raise ValueError
        return text

    before = " or name@host:port," if named else ""
    return Check(f"host:port{before} with a port from {lowest_port} to 65535 (an IPv6 host in brackets)", accept)


def place() -> Check:
    """``host`` or ``host:port`` as others see it: no wildcard, no port 0. An empty variable stands for none."""

    def accept(value: Any) -> str:
        return join(*parse_advertised(_text(value)))

    allowed = "a host or host:port that others can reach (an IPv6 host in brackets), no wildcard and no port 0"
    return Check(allowed, accept, lambda text: accept(text) if text.strip() else None, takes_empty=True)


def http_proxy() -> Check:
    """The URL of an HTTP proxy, or the word for none."""

    def accept(value: Any) -> Proxy:
        return value if isinstance(value, Proxy) else Proxy.parse(_text(value))

    return Check(ALLOWED, accept, is_secret=True)


def directory() -> Check:
    """The path of a directory, which need not exist yet."""

    def accept(value: Any) -> Path:
        path = os.fsdecode(value)
        if not path or "\0" in path:
            raise ValueError
        try:
            return Path(path).expanduser()
        except RuntimeError:  # there is no such user
            raise ValueError from None

    return Check("the path of a directory", accept, is_path=True)


def several(check: Check) -> Check:
    """Any number of different values that pass one check; as text, separated by commas."""

    def accept(value: Any) -> tuple[Any, ...]:
        if isinstance(value, str):
            return read(value)
        if not isinstance(value, Sequence):
            raise TypeError
        values = tuple(check.accept(item) for item in value)
        if len(set(values)) < len(values):
            raise ValueError
        return values

    def read(text: str) -> tuple[Any, ...]:
        return accept([item.strip() for item in text.split(",") if item.strip()])

    allowed = f"a list without duplicates (as text: separated by commas), each {check.allowed}"
    return Check(allowed, accept, read, takes_empty=True)


def rates() -> Check:
    """Limits of what is sent, as of ``Rate``; one may be given as a number."""

    def one(value: Any) -> str:
        text = f"{value:g}" if isinstance(value, Real) and not isinstance(value, bool) else _text(value)
        Rate.parse(text)
        return text

    listed = several(Check("a number of Mbit/s from 2 to 1000000, alone or with times as in 20@07:00-19:00", one))

    def accept(value: Any) -> tuple[str, ...]:
        return (one(value),) if isinstance(value, Real) else tuple(listed.accept(value))

    return Check(listed.allowed, accept, listed.read, takes_empty=True)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value.strip()
