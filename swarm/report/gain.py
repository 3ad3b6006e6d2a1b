"""One sentence on what a site gained."""

from __future__ import annotations

from swarm.report.content import Figures, Totals

SAME = 0.0005
"""Relative difference of two losses below which they are called equal."""


def sentence(
    *, closing: bool, reason: str, own: Figures | None, final: Figures | None, totals: Totals, validates: bool
) -> str:
    """What this site gained, by its own validation data.

    The own model has learned from all merges before the last one. So this compares a merge with the training before it,
    not the swarm with a training without one.

    Args:
        closing: whether the site ended with the closing model.
        reason: why not, if so.
        own: of its own model just before its last merge.
        final: of the last merged model.
        totals: over the rounds.
        validates: whether the site has validation data.
    """
    ended = "" if closing else f" It ended without a closing model ({reason or 'the reason is not known'})."
    if not totals.merged:
        return f"Nothing was merged here, so this site gained nothing from the swarm.{ended}"
    if not validates:
        count = f"{totals.merged} round{'s' if totals.merged != 1 else ''}"
        return f"What this site gained is not known: it took part in {count} without validation data (val_data).{ended}"
    if own is None or final is None or own.loss is None or final.loss is None:
        return f"What this site gained is not known: its own model and the merged one were not both validated.{ended}"
    model = "the swarm's closing model" if closing else "the last merged model"
    verdict = _verdict(own.loss, final.loss)
    how_often = ""
    if totals.compared > 1:
        how_often = (
            f"; the merged model was better after {totals.better} of {totals.compared} merges and worse after "
            f"{totals.worse}"
        )
    return (
        f"On this site's validation data {model} has {_shown(final)}, and this site's own model just before its last "
        f"merge had {_shown(own)}: {verdict}{how_often}.{ended}"
    )


def _verdict(own: float, final: float) -> str:
    size = max(abs(own), abs(final))
    if size == 0 or abs(own - final) <= SAME * size:
        return "the merge changed nothing here"
    word = "lower" if final < own else "higher"
    if own <= 0:
        return f"the merge made the loss {word}"
    return f"the merge made the loss {100 * abs(own - final) / own:.1f} % {word}"


def _shown(figures: Figures) -> str:
    parts = [f"loss {figures.loss:.4g}"]
    parts += [f"{name} {value:.4g}" for name, value in figures.metrics.items() if value is not None]
    return ", ".join(parts)
