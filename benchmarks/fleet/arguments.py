"""Numbers on the command line."""

from __future__ import annotations

import argparse
from collections.abc import Callable


def number(least: int) -> Callable[[str], int]:
    """A type for ``argparse``: an integer of at least ``least``."""

    def integer(text: str) -> int:
        if int(text) < least:
            raise argparse.ArgumentTypeError(f"{text} is not allowed: allowed is an integer of at least {least}")
        return int(text)

    return integer
