"""Text from other machines: what a name may be, and how text is made safe for a log, a terminal or a table."""

from __future__ import annotations

import re
from collections.abc import Sequence

MAX_NAME = 128
"""Characters of the name of a peer or a session."""
MAX_ADDRESS = 300
"""Characters of an address."""
MAX_SHOWN = 1000
"""Maximum length of a sentence from a peer, in characters."""
MAX_LINE = 1200
"""Maximum length of a log line about what a peer sent, in characters."""
NAMED = 5
"""Names listed in one line at most."""
NAME_RULE = f"1 to {MAX_NAME} letters, digits, '_', '.', '-' or inner spaces, not starting with '.' or '-'"
"""What ``is_name`` accepts, in words."""
MEMBER_RULE = "1 to 63 lower-case letters, digits, '-' and '.', with a letter or digit at both ends of each part"
"""What ``is_member_name`` accepts, in words."""

IDENTIFIER = r"[0-9A-Za-z._:-]{0,128}"
"""What the identifier of a lineage, and a digest, may be, as a pattern."""

_SHORT_DIGEST = 16
_KILO = 1000.0
_NAME = re.compile(rf"\w([\w. -]{{0,{MAX_NAME - 2}}}[\w.-])?")
_MEMBER = re.compile(r"(?=.{1,63}\Z)[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*")
_ADDRESS = re.compile(rf"[!-~]{{1,{MAX_ADDRESS}}}")
_INVISIBLE = re.compile("[\u115f\u1160\u3164\uffa0]")
"""Letters of Unicode without a picture, the fillers of Hangul."""


def is_name(text: str) -> bool:
    """Whether ``text`` can be the name of a peer or a session: safe in a log line and as the name of a file."""
    return _NAME.fullmatch(text) is not None and (text.isascii() or not _INVISIBLE.search(text))


def is_member_name(text: str) -> bool:
    """Whether ``text`` can be the name of a peer with a certificate, which TLS compares as a DNS name."""
    return _MEMBER.fullmatch(text) is not None


def is_address(text: str) -> bool:
    """Whether ``text`` can be the address of a peer: short, of printable ASCII without spaces. A transport reads it."""
    return _ADDRESS.fullmatch(text) is not None


def printable(text: str, limit: int | None = None) -> str:
    """``text`` on one line, with control characters and escape codes escaped as in Python.

    Args:
        text: from a peer or a file.
        limit: characters of the result, after which the rest is cut off and replaced by ``…``; None: all.
    """
    cut = limit is not None and len(text) > limit
    shown = text[:limit] if cut else text
    if not shown.isprintable():
        shown = "".join(
            character if character.isprintable() else character.encode("unicode_escape").decode("ascii")
            for character in shown
        )
    if limit is not None and len(shown) > limit:
        shown, cut = shown[:limit], True
    return f"{shown}…" if cut else shown


def size(count: int) -> str:
    """A number of bytes, in powers of 1000, such as ``1.5 MB``."""
    amount = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < _KILO:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= _KILO
    return f"{amount:.1f} TB"


def short_digest(digest: str) -> str:
    """The beginning of a digest, for a line that names several things; reports, status and files have the whole."""
    return f"{digest[:_SHORT_DIGEST]}…" if len(digest) > _SHORT_DIGEST else digest


def listed(names: Sequence[str]) -> str:
    """Some names in one line: the first few, and how many more there are."""
    return ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")
