"""The pictures of docs/performance.md, from results of `merge` and `link`: ``python -m benchmarks.pictures``."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.harness.command import Record

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SWARM, REFERENCE = "#0b6e4f", "#9aa0a6"


def main() -> None:
    """Read results, as lines of JSON, from standard input, and save the pictures for which there are any."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path, help="where the pictures go")
    directory = parser.parse_args().directory
    records = [json.loads(line) for line in sys.stdin if line.startswith("{")]
    merges = [record for record in records if record["benchmark"] == "merge"]
    links = [record for record in records if record["benchmark"] == "link"]
    if merges:
        draw_merges(merges, directory / "merge.png")
    if links:
        draw_links(links, directory / "link.png")


def draw_merges(records: Sequence[Record], path: Path) -> None:
    """Seconds of a round and of gloo, and bytes relative to the bound."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4), dpi=150, layout="constrained")
    seconds, traffic = figure.subplots(1, 2, width_ratios=(3, 2))
    names = [f"{record['peers']} x {record['mib']:g}\n{record['codec']}" for record in records]
    _pairs(
        seconds,
        names,
        [record["seconds"]["median"] for record in records],
        [record["gloo_seconds"]["median"] for record in records],
        ("a committed round", "gloo all_reduce"),
    )
    seconds.set_ylabel("seconds")
    seconds.set_title("peers x MiB, one machine")
    traffic.bar(names, [record["bytes_over_bound"] for record in records], color=SWARM)
    traffic.axhline(1, color=REFERENCE, linestyle="--")
    traffic.set_ylabel("bytes sent / least possible")
    traffic.tick_params(axis="x", labelsize=6)
    traffic.spines[["top", "right"]].set_visible(False)
    figure.savefig(path)


def draw_links(records: Sequence[Record], path: Path) -> None:
    """Seconds of a round over a slow link, and seconds of its bytes at the link's rate."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    _pairs(
        axes,
        [record["codec"] for record in records],
        [record["seconds"] for record in records],
        [record["limit_seconds"] for record in records],
        ("a committed round", "its bytes at the link's rate"),
    )
    axes.set_ylabel("seconds")
    axes.set_title(f"{records[0]['peers']} peers x {records[0]['mib']:g} MiB over {records[0]['mbit']:g} Mbit/s")
    figure.savefig(path)


def _pairs(
    axes: Axes, names: Sequence[str], ours: Sequence[float], theirs: Sequence[float], labels: tuple[str, str]
) -> None:
    places = range(len(names))
    axes.bar([place - 0.2 for place in places], ours, 0.4, color=SWARM, label=labels[0])
    axes.bar([place + 0.2 for place in places], theirs, 0.4, color=REFERENCE, label=labels[1])
    axes.set_xticks(places, names)
    axes.spines[["top", "right"]].set_visible(False)
    axes.margins(y=0.25)  # room for the legend
    axes.legend(frameon=False, loc="upper left")


if __name__ == "__main__":
    main()
