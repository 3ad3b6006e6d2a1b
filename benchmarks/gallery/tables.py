"""The tables of the gallery, from what was measured: one page for each example, and a summary in the README."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from benchmarks.gallery.entries import ENTRIES, Entry
from benchmarks.gallery.training import EXAMPLES, Run, means

TABLES = EXAMPLES / "tables"
README = EXAMPLES / "README.md"
BEGIN, END = "<!-- Written by `make gallery`. -->\n", "<!-- End of what `make gallery` writes. -->\n"

Results = Mapping[str, Any]
"""Of one example: ``command``, ``score``, ``versions`` and ``runs``."""


def read(name: str, directory: Path = TABLES) -> Results:
    """What was measured for an example."""
    results: Results = json.loads((directory / f"{name}.json").read_text(encoding="utf-8"))
    return results


def write(entry: Entry, results: Results, directory: Path = TABLES) -> None:
    """Write what was measured, and the table of it beside it."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / f"{entry.name}.json").write_text(text(results), encoding="utf-8")
    (directory / f"{entry.name}.md").write_text(page(entry, results), encoding="utf-8")


def text(results: Results) -> str:
    """The text of a file of results: one line for each run."""
    head = ",\n".join(f"{json.dumps(name)}: {json.dumps(results[name])}" for name in ("command", "score", "versions"))
    runs = ",\n".join(json.dumps(run, ensure_ascii=False) for run in results["runs"])
    return f'{{\n{head},\n"runs": [\n{runs}\n]\n}}\n'


def page(entry: Entry, results: Results) -> str:
    """The page of one example."""
    runs: Sequence[Run] = results["runs"]
    seeds = [f"seed {run['seed']}" for run in runs]
    lines = [
        f"# {entry.what[0].upper()}{entry.what[1:]}",
        "",
        f"[`{entry.script}`](../{entry.script}), measured by `make gallery ONLY={entry.name}`.",
        f"{_kind(entry.score)} on {entry.tested}.",
        "",
        _row("trained on", *seeds, "mean"),
        _row("---", *["---:"] * (len(seeds) + 1)),
    ]
    for site, name in enumerate(runs[0]["names"]):
        lines.append(_scores(entry, f"{name} alone", [run["alone"][site] for run in runs]))
    for what, scores in zip(_WAYS, zip(*map(means, runs), strict=True), strict=True):
        lines.append(_scores(entry, what, scores))
    sent = fmean(fmean(run["bytes_sent"]) for run in runs)
    lines += [
        "",
        f"Each site sent {_size(sent)} in {_rounds(runs)} rounds. Samples of the sites: "
        + "; ".join(", ".join(map(str, run["samples"])) for run in runs)
        + ".",
        "",
        "```console",
        f"$ {results['command']} --seed {runs[0]['seed']}",
        "```",
        "",
        f"Measured with {', '.join(f'{name} {version}' for name, version in results['versions'].items())}.",
    ]
    return "\n".join(lines) + "\n"


_WAYS = ("mean of the sites alone", "the swarm", "all data pooled")


def summary(directory: Path = TABLES) -> str:
    """The table of all examples, for the README; below it the names of those that were not measured yet."""
    lines = [_row("example", "shows", "score", "alone", "swarm", "pooled"), _row(*["---"] * 3, *["---:"] * 3)]
    missing = []
    for entry in ENTRIES:
        if not (directory / f"{entry.name}.json").is_file():
            missing.append(f"`{entry.name}`")
            continue
        runs = read(entry.name, directory)["runs"]
        scores = [_shown(entry, fmean(each)) for each in zip(*map(means, runs), strict=True)]
        lines.append(_row(f"[`{entry.name}`](tables/{entry.name}.md)", entry.what, entry.score, *scores))
    if missing:
        lines += ["", f"Not measured yet: {', '.join(missing)}."]
    return "\n".join(lines) + "\n"


def write_summary(directory: Path = TABLES, readme: Path = README) -> None:
    """Write the table of all examples into the README."""
    readme.write_text(placed(readme.read_text(encoding="utf-8"), summary(directory)), encoding="utf-8")


def placed(readme: str, table: str) -> str:
    """The README with this table between its two marks."""
    before, _, rest = readme.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{table}\n{END}{after}"


def _kind(score: str) -> str:
    return score[0].upper() + score[1:]


def _scores(entry: Entry, what: str, scores: Sequence[float]) -> str:
    return _row(what, *[_shown(entry, score) for score in (*scores, fmean(scores))])


def _shown(entry: Entry, score: float) -> str:
    return f"{100 * score:.1f} %" if entry.score == "accuracy" else f"{score:.3f}"


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _size(sent: float) -> str:
    return f"{sent / 1e6:.1f} MB" if sent >= 1e6 else f"{sent / 1e3:.0f} kB"


def _rounds(runs: Sequence[Run]) -> str:
    counts = sorted({run["rounds"] for run in runs})
    return str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
