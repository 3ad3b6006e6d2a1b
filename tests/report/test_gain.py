"""The sentence at the top of a report says what is known, and no more."""

from __future__ import annotations

import pytest

from swarm.report.content import Figures, Totals
from swarm.report.gain import sentence

TWO = Totals(merged=2, compared=2, better=2)


def said(**given: object) -> str:
    usual = {
        "closing": True,
        "reason": "",
        "own": Figures(loss=0.8),
        "final": Figures(loss=0.6),
        "totals": TWO,
        "validates": True,
    }
    return sentence(**(usual | given))  # type: ignore[arg-type]


def test_a_better_model_is_called_better_with_the_figures() -> None:
    own, final = Figures(loss=0.8, metrics={"accuracy": 0.7}), Figures(loss=0.6, metrics={"accuracy": 0.8})
    assert said(own=own, final=final) == (
        "On this site's validation data the swarm's closing model has loss 0.6, accuracy 0.8, and this site's own "
        "model just before its last merge had loss 0.8, accuracy 0.7: the merge made the loss 25.0 % lower; the merged "
        "model was better after 2 of 2 merges and worse after 0."
    )


@pytest.mark.parametrize(
    ("own", "final", "verdict"),
    [
        (0.5, 0.6, "the merge made the loss 20.0 % higher"),
        (0.5, 0.5, "the merge changed nothing here"),
        (0.0, 0.0, "the merge changed nothing here"),
        (-1.0, -1.5, "the merge made the loss lower"),
        (0.0, 0.1, "the merge made the loss higher"),
    ],
)
def test_the_verdict_follows_the_losses(own: float, final: float, verdict: str) -> None:
    text = said(own=Figures(loss=own), final=Figures(loss=final), totals=Totals(merged=1, compared=1))
    assert text.endswith(f": {verdict}.")


def test_without_validation_data_nothing_is_claimed() -> None:
    text = said(own=None, final=None, validates=False)
    assert text == ("What this site gained is not known: it took part in 2 rounds without validation data (val_data).")


@pytest.mark.parametrize("model", ["own", "final"])
@pytest.mark.parametrize("found", [None, Figures(loss=None)])
def test_half_a_comparison_is_none(model: str, found: Figures | None) -> None:
    assert said(**{model: found}).startswith("What this site gained is not known: its own model and the merged one")


def test_a_run_without_a_merge_gained_nothing() -> None:
    text = said(totals=Totals(), closing=False, reason="below quorum")
    assert text == (
        "Nothing was merged here, so this site gained nothing from the swarm. It ended without a closing model (below "
        "quorum)."
    )


def test_a_run_without_an_end_compares_the_last_merged_model() -> None:
    text = said(closing=False, reason="it was terminated")
    assert "the last merged model has loss 0.6" in text
    assert text.endswith("It ended without a closing model (it was terminated).")
