"""How the results of a demo are shown: in a sentence, a table and a picture."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from io import StringIO
from typing import TYPE_CHECKING

import pytest
from matplotlib.figure import Figure
from rich.console import Console

from swarm.demo.outcome import Outcome
from swarm.demo.report import draw, gain, show
from swarm.demo.tasks import HEART

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def test_one_sentence_reports_the_gain(outcome: Outcome) -> None:
    assert gain(outcome, HEART) == (
        "After 7 rounds the 2 hospitals hold the same model, bit for bit: it gets 80.0% of the test patients right, "
        "15.0 points more than they do alone on average and 97.6% of what pooling all data would reach, and no "
        "hospital's data left it."
    )


@pytest.mark.parametrize(("accuracy", "change"), [(0.6, "5.0 points less"), (0.65, "0.0 points more")])
def test_a_swarm_that_gains_nothing_is_reported(outcome: Outcome, accuracy: float, change: str) -> None:
    same = tuple(replace(each, accuracy=accuracy) for each in outcome.swarm)
    assert f"right, {change} than they do alone" in gain(replace(outcome, swarm=same), HEART)


def test_peers_that_end_with_different_models_are_reported(outcome: Outcome) -> None:
    first, second = outcome.swarm
    differing = replace(outcome, swarm=(first, replace(second, digest="other")))
    assert differing.record()["weights_identical"] is False
    assert "models that differ" in gain(differing, HEART)


def test_the_table_has_a_row_for_each_peer_and_one_for_their_mean(outcome: Outcome) -> None:
    page = StringIO()
    show(outcome, HEART, Console(file=page, width=100))
    lines = page.getvalue().splitlines()
    assert [line.replace("│", " ").replace("┃", " ").split() for line in lines if line[:1] in {"│", "┃"}] == [
        ["hospital", "patients", "alone", "in", "the", "swarm", "all", "data", "pooled"],
        ["Cleveland", "243", "70.0%", "80.0%", "82.0%"],
        ["Hungary", "235", "60.0%", "80.0%", "82.0%"],
        ["mean", "478", "65.0%", "80.0%", "82.0%"],
    ]
    assert "heart: accuracy on the common test set (torch, 12 s)" in page.getvalue()
    assert "│ Cleveland │      243 │ 70.0% │        80.0% │           82.0% │" in lines, "numbers are aligned right"
    assert "├" in page.getvalue(), "a line separates the mean"
    assert gain(outcome, HEART) in " ".join(page.getvalue().split())
    assert f"Picture: {outcome.picture}" in lines
    assert f"Merged model: {outcome.model}" in lines


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> Callable[[Outcome], Axes]:
    """Draws an outcome; returns what is saved."""
    saved: list[Figure] = []
    original = Figure.savefig

    def savefig(figure: Figure, *arguments: object) -> None:
        saved.append(figure)
        original(figure, *arguments)

    def axes_of(outcome: Outcome) -> Axes:
        draw(outcome)
        (axes,) = saved.pop().axes
        return axes

    monkeypatch.setattr(Figure, "savefig", savefig)
    return axes_of


@pytest.fixture
def axes(outcome: Outcome, drawn: Callable[[Outcome], Axes]) -> Axes:
    return drawn(outcome)


def test_the_picture_is_a_png(outcome: Outcome) -> None:
    draw(outcome)
    assert outcome.picture.read_bytes().startswith(b"\x89PNG")


def test_the_picture_shows_accuracies_by_round(axes: Axes) -> None:
    assert [[list(axis) for axis in line.get_data()] for line in axes.lines] == [
        [[1.0, 2.5], [0.35, 0.7]],
        [[1.0, 2.5], [0.3, 0.6]],
        [[1.0, 2.5], [0.41, 0.82]],
        [[1.0, 2.5], [0.4, 0.8]],
    ]


def test_a_training_without_a_curve_is_drawn_at_the_first_round(
    outcome: Outcome, drawn: Callable[[Outcome], Axes]
) -> None:
    axes = drawn(replace(outcome, pooled=replace(outcome.pooled, curve=())))
    assert [list(axis) for axis in axes.lines[2].get_data()] == [[1.0], [0.82]]


def test_the_picture_is_labelled(axes: Axes) -> None:
    assert axes.get_title() == "heart: 2 peers, torch"
    assert axes.get_xlabel() == "round (every 10 batches)"
    assert axes.get_ylabel() == "accuracy on the common test set"
    assert [(each.get_text(), each.xy) for each in axes.texts] == [("Cleveland", (2.5, 0.7)), ("Hungary", (2.5, 0.6))]
    assert all(each.get_position() == (4, 0) for each in axes.texts), "beside the end of the line, not on it"
    legend = axes.get_legend()
    assert [each.get_text() for each in legend.get_texts()] == ["alone", "all data pooled", "in the swarm"]
    assert not legend.get_frame_on()


def test_the_line_of_the_swarm_is_the_widest_and_the_frame_is_open(axes: Axes) -> None:
    widths = [line.get_linewidth() for line in axes.lines]
    assert widths[:2] == [1, 1]
    assert widths[3] > max(widths[:3])
    assert [line.get_linestyle() for line in axes.lines] == ["-", "-", "--", "-"]
    assert [name for name, spine in axes.spines.items() if spine.get_visible()] == ["left", "bottom"]
