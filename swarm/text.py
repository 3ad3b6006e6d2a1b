"""Makes text from peers and files safe for a log, a terminal or a table."""

from __future__ import annotations

MAX_SHOWN = 1000
"""Maximum length of a sentence from a peer, in characters."""


def printable(text: str, limit: int | None = None) -> str:
    """``text`` on one line, with control characters and escape codes escaped as in Python.

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
