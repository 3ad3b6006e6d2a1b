"""Swarms that keep their best model, through the same faults and liars as all others."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.simulator.plan import draw, draw_liars
from tests.simulator.runs import run


@pytest.mark.parametrize("drawn", [draw, draw_liars])
def test_every_invariant_holds_where_the_best_model_is_kept(drawn) -> None:
    outcomes = [run(replace(drawn(seed), judges=True)) for seed in range(12)]
    assert [outcome.violation for outcome in outcomes] == [None] * len(outcomes)
    assert sum(outcome.heals for outcome in outcomes) > 0
    assert sum(outcome.committed for outcome in outcomes) > 30
