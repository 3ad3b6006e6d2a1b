"""The command line of a benchmark: its options, then one line of JSON or a table for people."""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Record = Mapping[str, Any]
"""What a benchmark prints with ``--json``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Benchmark:
    """The command ``python -m benchmarks.NAME``."""

    name: str
    description: str
    """For ``--help``."""
    add_options: Callable[[argparse.ArgumentParser], None]
    measure: Callable[[argparse.Namespace], Record]
    """Returns the record without the name. Raises RuntimeError if there is no valid measurement."""
    table: Callable[[Record], str]
    """Formats a record for people."""
    failed: Callable[[Record], bool] = lambda _record: False
    """Whether the exit code is 1, though there is a valid measurement."""

    def main(self, words: Sequence[str] | None = None) -> None:
        """Measure and print; ``words`` are the command's arguments, by default those of this process."""
        options = self._options(words)
        try:
            record = {"benchmark": self.name, **self.measure(options)}
        except RuntimeError as error:
            sys.exit(f"not measured: {error}")
        print(json.dumps(record) if options.json else self.table(record))
        if self.failed(record):
            sys.exit(1)

    def record(self, words: Sequence[str]) -> Record:
        """The record of the command with these arguments, measured in this process.

        Raises:
            RuntimeError: there is no valid measurement.
        """
        return self.measure(self._options(words))

    def _options(self, words: Sequence[str] | None) -> argparse.Namespace:
        parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{self.name}", description=self.description)
        parser.add_argument("--json", action="store_true", help="print one line of JSON instead of a table")
        self.add_options(parser)
        return parser.parse_args(words)


def add_repetitions(
    parser: argparse.ArgumentParser, *, rounds: int, warmup: int, least: tuple[int, int] = (2, 0), invocations: int = 0
) -> None:
    """Add ``--rounds`` and ``--warmup`` with these defaults, and ``--invocations`` unless it is 0.

    Args:
        parser: gets the options.
        rounds: default.
        warmup: default.
        least: the smallest ``--rounds`` and the smallest ``--warmup`` allowed.
        invocations: default.
    """
    options = [
        ("rounds", rounds, least[0], "that count"),
        ("warmup", warmup, least[1], "before them that do not count"),
    ]
    for name, default, smallest, which in options:
        text = f"rounds {which} (default {default})"
        parser.add_argument(f"--{name}", type=integer(smallest), default=default, help=text)
    if invocations:
        text = f"each with new processes (default {invocations})"
        parser.add_argument("--invocations", type=integer(1), default=invocations, help=text)


def integer(least: int, most: float = math.inf) -> Callable[[str], int]:
    """A type for ``argparse``: an integer from ``least`` to ``most``."""
    allowed = f"an integer of at least {least}" if most == math.inf else f"an integer from {least} to {most}"

    def integer(text: str) -> int:
        if not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"{text} is not allowed: allowed is {allowed}")
        return int(text)

    return integer


def positive(text: str) -> float:
    """A type for ``argparse``: a finite number above 0."""
    if not 0 < float(text) < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is not allowed: allowed is a number above 0")
    return float(text)
