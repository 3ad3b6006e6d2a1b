"""Charts of a report as inline SVG: no script, no font and no picture from elsewhere.

Colours and sizes are those of the classes in ``style.py``. Each chart has a title for screen readers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

WIDTH, HEIGHT = 640, 220
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 10, 12, 30
_TICKS = 4
Point = tuple[float, float]


def lines(title: str, series: Mapping[str, Sequence[Point]], *, x_label: str) -> str:
    """A line for each series of points, by the class of its colour; empty without points.

    Args:
        title: what is shown, for screen readers.
        series: points in rising order of x, by class.
        x_label: what x is.
    """
    points = [point for each in series.values() for point in each]
    if not points:
        return ""
    xs = [x for x, _ in points]
    frame = _Frame(min(xs), max(xs), [y for _, y in points])
    drawn = [frame.grid(x_label, min(xs), max(xs))]
    for name, each in series.items():
        if len(each) == 1:
            x, y = frame.at(*each[0])
            drawn.append(f'<circle class="{name}" cx="{x:.1f}" cy="{y:.1f}" r="3"/>')
        elif each:
            path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (frame.at(*point) for point in each))
            drawn.append(f'<polyline class="{name}" points="{path}"/>')
    return _svg(title, "".join(drawn))


def stacked(title: str, rounds: Sequence[float], parts: Mapping[str, Sequence[float]], *, x_label: str) -> str:
    """A bar for each round, of parts that lie on one another; empty without rounds.

    Args:
        title: what is shown, for screen readers.
        rounds: the number of each.
        parts: a value of at least 0 for each round, by class.
        x_label: what the rounds are.
    """
    if not rounds:
        return ""
    heights = [sum(values) for values in zip(*parts.values(), strict=True)]
    frame = _Frame(rounds[0], rounds[-1] + 1, [0.0, max(heights) or 1.0])
    width = max((WIDTH - _LEFT - _RIGHT) / (rounds[-1] + 1 - rounds[0]) * 0.8, 0.5)
    drawn = [frame.grid(x_label, rounds[0], rounds[-1])]
    for index, number in enumerate(rounds):
        below = 0.0
        for name, values in parts.items():
            x, bottom = frame.at(number, below)
            _, top = frame.at(number, below + values[index])
            if bottom - top > 0.05:  # less is not seen
                drawn.append(
                    f'<rect class="{name}" x="{x:.1f}" y="{top:.1f}" width="{width:.1f}" height="{bottom - top:.1f}"/>'
                )
            below += values[index]
    return _svg(title, "".join(drawn))


class _Frame:
    """Where values are on a chart."""

    def __init__(self, left: float, right: float, ys: Sequence[float]) -> None:
        """From ``left`` to ``right``, and from below the lowest of ``ys`` to above the highest."""
        self._left, self._right = left, right
        self._ticks = _nice(min(ys), max(ys))
        self._low, self._high = self._ticks[0], self._ticks[-1]

    def at(self, x: float, y: float) -> Point:
        """The place of a value, in pixels from the top left."""
        across = (x - self._left) / ((self._right - self._left) or 1)
        up = (y - self._low) / ((self._high - self._low) or 1)
        return _LEFT + across * (WIDTH - _LEFT - _RIGHT), HEIGHT - _BOTTOM - up * (HEIGHT - _TOP - _BOTTOM)

    def grid(self, x_label: str, first: float, last: float) -> str:
        """Horizontal lines with their values, and the first and last value of the other axis."""
        drawn = []
        for tick in self._ticks:
            _, y = self.at(self._left, tick)
            drawn.append(f'<line class="grid" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
            drawn.append(f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{tick:.4g}</text>')
        base = HEIGHT - 8
        drawn.append(f'<text x="{_LEFT}" y="{base}">{escape(x_label)} {first:.0f}</text>')
        drawn.append(f'<text x="{WIDTH - _RIGHT}" y="{base}" text-anchor="end">{last:.0f}</text>')
        return "".join(drawn)


def _nice(low: float, high: float) -> list[float]:
    """Round numbers from one at most ``low`` to one at least ``high``."""
    if high <= low:
        spread = abs(low) or 1.0
        low, high = low - spread / 2, high + spread / 2
    step = 10 ** math.floor(math.log10((high - low) / _TICKS))
    step *= next((factor for factor in (1, 2, 5) if factor * step * _TICKS >= high - low), 10)
    first = math.floor(low / step)
    return [number * step for number in range(first, math.ceil(high / step) + 1)]


def _svg(title: str, content: str) -> str:
    shown = escape(title)
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{shown}" '
        f'preserveAspectRatio="xMidYMid meet"><title>{shown}</title>{content}</svg>'
    )
