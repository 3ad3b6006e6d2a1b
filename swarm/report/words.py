"""Numbers of a report as text."""

from __future__ import annotations

from datetime import UTC, datetime


def number(value: float | None) -> str:
    """A figure with four digits; a dash where there is none."""
    return "-" if value is None else f"{value:.4g}"


def percent(part: float, whole: float) -> str:
    """A share."""
    return f"{100 * part / whole:.0f} %" if whole > 0 else "0 %"


def day(seconds: float) -> str:
    """A time since 1970, in UTC."""
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (OverflowError, ValueError, OSError):  # a clock that was never set
        return "-"


def short(digest: str) -> str:
    """The beginning of a digest."""
    return digest[:12]
