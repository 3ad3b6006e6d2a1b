"""Train the examples alone, in a swarm and on all data pooled, and write their tables: ``make gallery``."""

from __future__ import annotations

import argparse
import platform
import re
import sys
import tempfile
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path

from benchmarks.gallery import tables
from benchmarks.gallery.entries import BY_NAME, ENTRIES, Entry
from benchmarks.gallery.training import Run, train
from swarm.errors import DemoError

SEEDS = 2
PACKAGES = {
    "torch": "torch",
    "keras": "keras",
    "tensorflow": "tensorflow-cpu",
    "jax": "jax",
    "lightning": "lightning",
    "transformers": "transformers",
    "peft": "peft",
    "sklearn": "scikit-learn",
}
"""By the name that a script imports, or a variable holds: the distribution."""


def measure(
    entries: Sequence[Entry], seeds: int, directory: Path, write: Callable[[Entry, tables.Results], None]
) -> None:
    """Train each example with the first seed, then each with the next one.

    Args:
        entries: what to train.
        seeds: how many.
        directory: gets data, models and logs.
        write: called with the results of an example each time that they are more.

    Raises:
        DemoError: a training failed.
        RuntimeError: the swarm of an example has no common model.
    """
    runs: dict[str, list[Run]] = {entry.name: [] for entry in entries}
    for seed in range(seeds):
        for entry in entries:
            runs[entry.name].append(train(entry, seed, directory / entry.name / f"seed-{seed}", _say))
            write(entry, results(entry, runs[entry.name]))


def results(entry: Entry, runs: Sequence[Run]) -> tables.Results:
    """What is kept of an example."""
    return {"command": entry.command, "score": entry.score, "versions": _versions(entry), "runs": list(runs)}


def main() -> None:
    """Do what the options say."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gallery", description=__doc__)
    names = f"one or more of {', '.join(BY_NAME)}"
    parser.add_argument("--only", nargs="*", choices=tuple(BY_NAME), metavar="NAME", help=names)
    parser.add_argument("--seeds", type=int, default=SEEDS, help="trainings of each example (default %(default)s)")
    parser.add_argument("--keep", type=Path, help="a directory for data, models and logs, which are else deleted")
    options = parser.parse_args()
    if options.seeds < 1:
        parser.error(f"--seeds {options.seeds}: it must be at least 1")
    chosen = [entry for entry in ENTRIES if not options.only or entry.name in options.only]
    with tempfile.TemporaryDirectory(prefix="swarm-gallery-") as temporary:
        try:
            measure(chosen, options.seeds, (options.keep or Path(temporary)).absolute(), tables.write)
        except (DemoError, RuntimeError) as error:
            sys.exit(f"not measured: {error}")
    for entry in chosen:
        print(tables.page(entry, tables.read(entry.name)))
    tables.write_summary()


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _versions(entry: Entry) -> dict[str, str]:
    script = (tables.EXAMPLES / entry.script).read_text(encoding="utf-8")
    imported = {*re.findall(r"^(?:import|from) (\w+)", script, re.MULTILINE), *entry.variables.values()}
    return {
        "Python": platform.python_version(),
        **{each: version(each) for name, each in PACKAGES.items() if name in imported},
    }


if __name__ == "__main__":
    main()
