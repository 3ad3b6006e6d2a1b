"""Text that comes from somewhere else, made fit for a log, a terminal or a table."""

from __future__ import annotations

MAX_SHOWN = 1000
"""Characters of a reason or another sentence that somebody else wrote."""


def printable(text: str, limit: int | None = None) -> str:
    """``text`` on one line: what a terminal would obey, such as an escape code, is written out as in Python.

    Args:
        text: from a peer or a file.
        limit: characters, after which the rest is cut off; None: all.
    """
    if limit is not None and len(text) > limit:
        text = f"{text[:limit]}…"
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode("ascii")
        for character in text
    )
