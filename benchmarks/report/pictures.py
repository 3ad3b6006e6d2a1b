"""The pictures of ``docs/learning.md``, as SVG whose bytes depend on nothing but the results and matplotlib."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.learning.figures import Interval
from benchmarks.report.figures import Results, of_the_oracle, point
from benchmarks.report.plan import CODECS, INTERVALS, PARTITIONS, SKEWS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("#0b6e4f", "#c8553d", "#3d5a80", "#9aa0a6")
_LOWEST = 0.5
"""What the heat map shows in its darkest colour: everything below is as bad."""


def draw(results: Results, directory: Path) -> None:
    """Save all pictures."""
    from matplotlib import rc_context

    # Text stays text, and identifiers do not depend on time.
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "swarm", "font.size": 9}):
        _save(_rounds(results), directory / "rounds.svg")
        _save(_bytes(results), directory / "bytes.svg")
        for partition in SKEWS:
            _save(_heat_map(results, partition), directory / f"attacks-{partition}.svg")


def _save(figure: Figure, path: Path) -> None:
    figure.savefig(path, metadata={"Date": None, "Creator": None})


def _rounds(results: Results) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3.5), layout="constrained")
    axes = figure.add_subplot()
    for colour, (partition, name) in zip(COLOURS, PARTITIONS.items(), strict=False):
        points = [point(results.exact(partition, every)) for every in INTERVALS]
        ratios = [each.ratio for each in points]
        axes.errorbar(
            [each.rounds for each in points],
            [ratio.mean for ratio in ratios],
            yerr=[_half(ratio) for ratio in ratios],
            marker="o",
            capsize=3,
            color=colour,
            label=name,
        )
    rounds = [point(results.exact("iid", every)).rounds for every in INTERVALS]
    _on_a_log_scale(axes, rounds, [f"{number:.0f}" for number in rounds])
    axes.set_xlabel("rounds")
    axes.set_ylabel("accuracy, of pooled")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="lower right")
    return figure


def _bytes(results: Results) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3.5), layout="constrained")
    axes = figure.add_subplot()
    for colour, codec in zip(COLOURS, CODECS, strict=False):
        if codec == CODECS[0]:
            found = [results.exact("dir0.1", every) for every in INTERVALS]
        else:
            found = [each for each in results.codecs if each["codec"] == codec]
        points = [point(each) for each in found]
        axes.errorbar(
            [each.megabytes for each in points],
            [each.ratio.mean for each in points],
            yerr=[_half(each.ratio) for each in points],
            marker="o",
            capsize=3,
            color=colour,
            label=codec,
        )
    ticks = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0)
    _on_a_log_scale(axes, ticks, [f"{tick:g}" for tick in ticks])
    axes.set_xlabel(f"MB sent by a site ({PARTITIONS['dir0.1']})")
    axes.set_ylabel("accuracy, of pooled")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="lower right")
    return figure


def _heat_map(results: Results, partition: str) -> Figure:
    from matplotlib.figure import Figure

    attacked = [each for each in results.attacks if each["partition"] == partition]
    rows = [of_the_oracle(each) for each in attacked]
    kinds = list(rows[0])
    figure = Figure(figsize=(8, 1.3 + 0.3 * len(rows)), layout="constrained")
    axes = figure.add_subplot()
    values = [[row[kind].mean for kind in kinds] for row in rows]
    image = axes.imshow(values, vmin=_LOWEST, vmax=1.0, cmap="viridis", aspect="auto")
    axes.set_xticks(range(len(kinds)), ["no attack", *kinds[1:]], rotation=30, ha="right")
    axes.set_yticks(range(len(attacked)), [each["rule"] for each in attacked])
    for line, row in enumerate(values):
        for column, value in enumerate(row):
            dark = value < (1 + _LOWEST) / 2
            axes.text(column, line, f"{value:.2f}", ha="center", va="center", color="white" if dark else "black")
    figure.colorbar(image, label="of the oracle")
    axes.set_title(f"{PARTITIONS[partition]}: accuracy over that of the honest sites alone")
    return figure


def _on_a_log_scale(axes: Axes, ticks: Sequence[float], labels: Sequence[str]) -> None:
    axes.set_xscale("log")
    axes.set_xticks(ticks, labels)
    axes.minorticks_off()


def _half(found: Interval) -> float:
    return 0.0 if found.high is None else found.high - found.mean
