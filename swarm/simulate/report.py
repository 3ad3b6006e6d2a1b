"""Shows what came of the choices: a table, a picture, and the ``swarm.toml`` that is recommended."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from rich.table import Table

from swarm.simulate.choices import Choice, label, shown
from swarm.simulate.outcome import Outcome, lower_is_better
from swarm.text import size

_MIB = 2**20
_SWARM, _OTHER = "#0b6e4f", "#9aa0a6"


def table(outcomes: Sequence[Outcome], chosen: Outcome | None) -> Table:
    """A row for each choice; the recommended one has a star."""
    figure = next((outcome.figure for outcome in outcomes if outcome.figure), "quality")
    found = Table(box=None, pad_edge=False, header_style="bold")
    found.add_column("")
    for name in outcomes[0].choice or ("settings",):
        found.add_column(name, no_wrap=True)
    for heading in (figure, "rounds", "sent by a peer", "seconds", "memory"):
        found.add_column(heading, justify="right", no_wrap=True)
    for outcome in outcomes:
        values = [shown(value) for value in outcome.choice.values()] or ["as configured"]
        found.add_row("*" if outcome is chosen else "", *values, *_figures(outcome))
    return found


def _figures(outcome: Outcome) -> list[str]:
    memory = "-" if outcome.mebibytes is None else size(int(outcome.mebibytes * _MIB))
    cost = [f"{outcome.rounds:.0f}", size(int(outcome.bytes_per_peer)), f"{outcome.seconds:.1f}", memory]
    return ["failed" if outcome.failures else _quality(outcome), *cost]


def _quality(outcome: Outcome) -> str:
    values = outcome.qualities
    if outcome.quality is None:
        return "NaN or infinite" if values else "-"
    spread = f" ({min(values):.4g} to {max(values):.4g})" if len(values) > 1 else ""
    return f"{outcome.quality:.4g}{spread}"


def reason(outcomes: Sequence[Outcome], chosen: Outcome, within: float) -> str:
    """One sentence: why this choice is recommended."""
    if len(outcomes) == 1:
        return f"{chosen.figure} {_quality(chosen)}; nothing else was tried"
    least = "lowest" if lower_is_better(chosen.figure) else "highest"
    return (
        f"{label(chosen.choice)}: of {len(outcomes)} choices, those whose {chosen.figure} is within {within:g} of the "
        f"{least} are taken as equal; this one of them sends least ({size(int(chosen.bytes_per_peer))} a peer)"
    )


def toml(choice: Choice, comment: str) -> str:
    """A ``swarm.toml`` with the settings of a choice."""
    lines = [f"# {line}" for line in comment.splitlines()]
    return "\n".join([*lines, "[swarm]", *(f"{name} = {_literal(value)}" for name, value in choice.items()), ""])


def _literal(value: object) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(map(_literal, value))}]"
    # strings of settings are printable, so JSON's form of a string is TOML's
    return json.dumps(value)


def can_draw() -> bool:
    """Whether the library for pictures is installed."""
    return find_spec("matplotlib") is not None


def draw(outcomes: Sequence[Outcome], chosen: Outcome | None, title: str, path: Path) -> None:
    """Save the figure of each choice against the bytes that a peer sends, as a PNG."""
    from matplotlib.figure import Figure

    drawn = [outcome for outcome in outcomes if outcome.quality is not None]
    picture = Figure(figsize=(7, 4), dpi=150, layout="constrained")
    axes = picture.add_subplot()
    for outcome in drawn:
        colour = _SWARM if outcome is chosen else _OTHER
        megabytes, values = outcome.bytes_per_peer / 1e6, outcome.qualities
        axes.plot([megabytes] * len(values), values, "o", color=colour, markersize=4)
        axes.annotate(
            label(outcome.choice), (megabytes, values[0]), (5, 0), textcoords="offset points", fontsize=6, color=colour
        )
    axes.set_xscale("log")
    axes.set_xlabel("MB sent by a peer")
    axes.set_ylabel(drawn[0].figure if drawn else "")
    axes.set_title(title)
    axes.margins(x=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    picture.savefig(path)
