"""Write docs/learning.md and its pictures from the results that are kept, or measure these again."""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks.harness.workers import ROOT
from benchmarks.report.figures import Results
from benchmarks.report.measure import measure
from benchmarks.report.page import page
from benchmarks.report.pictures import draw
from benchmarks.report.plan import COMMANDS

PAGE = ROOT / "docs" / "learning.md"
RESULTS = ROOT / "docs" / "learning"


def write(text: Path = PAGE, results: Path = RESULTS) -> None:
    """Write the page and its pictures."""
    found = Results.read(results)
    text.write_text(page(found), encoding="utf-8")
    draw(found, results)


def main() -> None:
    """Do what the options say."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.report", description=__doc__)
    text = "measure these results again first, or all if none is named"
    parser.add_argument("--measure", nargs="*", choices=tuple(COMMANDS), metavar="RESULTS", help=text)
    options = parser.parse_args()
    if options.measure is not None:
        measure(RESULTS, options.measure or COMMANDS)
    write()


if __name__ == "__main__":
    main()
