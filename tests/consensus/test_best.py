"""Which committed model is the best one, whatever single peers tell."""

from __future__ import annotations

import itertools
import math
import sys
from dataclasses import replace
from fractions import Fraction

import pytest

from swarm.consensus.best import Judge, Score
from swarm.consensus.forming import best
from swarm.messages import Offer
from swarm.records import Best, Commit, SyncState
from tests.consensus.test_forming import rules, stats, table

HUGE = 1.7e308


def committed(round_: int, known: Best | None = None, *, contributors: tuple[str, ...] = ("ann", "bob")) -> Commit:
    group = ("ann", "bob", "cid")
    return Commit(
        lineage="line",
        round=round_,
        digest=f"d{round_}",
        members=group,
        group=group,
        contributors=contributors,
        sync=SyncState(8),
        best=known,
    )


def chosen(judge: Judge, *rounds: list[Score]) -> Best | None:
    """The best model after several rounds, of which these are the scores."""
    known = None
    for number, scores in enumerate(rounds):
        known = judge.best(committed(number, known), scores)
    return known


def test_the_lowest_mean_by_weight_is_the_best() -> None:
    found = chosen(Judge(), [(1, 4.0), (3, 2.0)], [(1, 1.0), (3, 2.0)], [(1, 0.0), (3, 3.0)])
    assert found == Best(1, "d1", 1.75, since=1)


def test_the_highest_is_where_that_is_better() -> None:
    found = chosen(Judge(highest=True), [(1, 0.5)], [(1, 0.75)], [(1, 0.625)])
    assert found == Best(1, "d1", 0.75, since=1)


def test_an_equal_score_is_no_better() -> None:
    assert chosen(Judge(), [(1, 1.0)], [(1, 1.0)]) == Best(0, "d0", 1.0, since=1)


def test_the_order_of_the_peers_does_not_matter() -> None:
    scores = [(3, 0.1), (7, 0.2), (11, 1e16), (1, -1e16)]
    found = {
        chosen(Judge(robust=robust), list(each)) for robust in (True, False) for each in itertools.permutations(scores)
    }
    assert len(found) == 2


@pytest.mark.parametrize("false", [math.nan, math.inf, -math.inf])
def test_a_score_that_is_not_finite_does_not_count(false: float) -> None:
    assert chosen(Judge(), [(1, 2.0), (100, false)]) == Best(0, "d0", 2.0)


def test_a_model_that_is_finite_nowhere_is_no_better_and_counts() -> None:
    assert chosen(Judge(), [(1, 2.0)], [(1, math.nan)]) == Best(0, "d0", 2.0, since=1)
    assert chosen(Judge(), [(1, math.nan)]) is None


def test_numbers_at_the_limit_raise_nothing() -> None:
    for scores in ([(1, HUGE)] * 3, [(1, HUGE), (3, sys.float_info.max), (1, HUGE)], [(1, sys.float_info.max)] * 7):
        found = chosen(Judge(), scores)
        assert found is None or found.score == pytest.approx(HUGE, rel=0.1)
    assert chosen(Judge(robust=True), [(1, HUGE), (1, -HUGE), (1, 1.0)]) == Best(0, "d0", 1.0)


@pytest.mark.parametrize("scores", [[], [(0, 1.0)]])
def test_a_model_without_scores_changes_nothing(scores: list[Score]) -> None:
    assert chosen(Judge(patience=1), [(1, 2.0)], scores) == Best(0, "d0", 2.0)


def test_a_round_to_which_nobody_contributed_changes_nothing() -> None:
    """Its model is that of the round before."""
    known = Best(1, "d1", 2.0)
    assert Judge(patience=1).best(committed(2, known, contributors=()), [(1, 9.0)]) == known


def test_contributions_that_change_nothing_give_no_better_model_and_count() -> None:
    """As with a learning rate of 0, or once all have converged: the training must end."""
    known = Best(1, "d1", 2.0)
    again = replace(committed(2, known), digest="d1")
    assert Judge(patience=2).best(again, [(1, 1.0)]) == Best(1, "d1", 2.0, since=1)
    assert Judge(patience=1).best(again, [(1, 1.0)]) == Best(1, "d1", 2.0, since=1, stop=True)


def test_one_false_score_sets_nothing_under_a_rule_that_limits_bad_sites() -> None:
    honest = [(1, 1.0), (1, 1.2), (1, 1.4)]
    for false in (-HUGE, 0.0, HUGE, math.nan):
        found = chosen(Judge(robust=True), [*honest, (100, false)])
        assert found is not None
        assert 1.0 <= found.score <= 1.4


@pytest.mark.parametrize(
    "scores",
    [
        [(1, 0.50), (2, 0.52), (3, 0.47)],
        [(1, 0.90), (2, 0.90), (1, 0.95)],
        [(1, 2.0), (1, 3.0), (1, 5.0)],
        [(5, -2.0), (1, -3.0), (2, -5.0), (1, -5.5)],
    ],
)
def test_the_mean_of_honest_scores_is_that_by_weight(scores: list[Score]) -> None:
    found = chosen(Judge(), scores)
    assert found is not None
    total = sum(weight for weight, _ in scores)
    assert found.score == math.fsum(score * (weight / total) for weight, score in scores)


@pytest.mark.parametrize("weight", [1, 100])
@pytest.mark.parametrize(
    ("false", "counts"), [(1e100, 0.58), (HUGE, 0.58), (-1e100, 0.44), (0.57, 0.57), (math.nan, None)]
)
def test_one_false_score_moves_the_mean_no_further_than_the_others_allow(
    weight: int, false: float, counts: float | None
) -> None:
    honest = [(1, 0.5), (1, 0.52)]
    found = chosen(Judge(), [*honest, (weight, false)])
    assert found is not None
    expected = 0.51 if counts is None else (1.02 + weight * counts) / (2 + weight)
    assert found.score == pytest.approx(expected)


def test_one_false_score_of_equal_ones_counts_as_close() -> None:
    assert chosen(Judge(), [(1, 0.5), (1, 0.5), (1, 1e100)]).score == pytest.approx((0.5 + 0.5 + 0.55) / 3)


def test_one_false_score_neither_sets_the_best_model_nor_ends_a_training_that_gets_better() -> None:
    falls = [1.0, 0.7, 0.5, 0.35, 0.25, 0.18]
    for first in (-1e100, 1e100):
        lies = [first, *[1e100] * 5]
        rounds = [[(1, loss), (1, 1.1 * loss), (1, lie)] for loss, lie in zip(falls, lies, strict=True)]
        found = chosen(Judge(patience=3), *rounds)
        assert found is not None
        assert (found.round, found.stop) == (5, False)


def test_of_two_scores_nothing_tells_which_is_false() -> None:
    assert chosen(Judge(), [(1, 1.0), (3, 101.0)]) == Best(0, "d0", 76.0)


def test_training_ends_after_so_many_models_that_are_no_better_and_that_stays() -> None:
    judge = Judge(patience=2)
    assert chosen(judge, [(1, 1.0)], [(1, 2.0)]) == Best(0, "d0", 1.0, since=1)
    assert chosen(judge, [(1, 1.0)], [(1, 2.0)], [(1, 2.0)]) == Best(0, "d0", 1.0, since=2, stop=True)
    better = chosen(judge, [(1, 1.0)], [(1, 2.0)], [(1, 2.0)], [(1, 0.5)])
    assert better == Best(3, "d3", 0.5, since=0, stop=True)


def test_a_better_model_begins_the_count_anew() -> None:
    found = chosen(Judge(patience=2), [(1, 1.0)], [(1, 2.0)], [(1, 0.5)], [(1, 2.0)])
    assert found == Best(2, "d2", 0.5, since=1)


def test_without_patience_training_never_ends_by_it() -> None:
    found = chosen(Judge(), *([(1, 1.0)] for _ in range(50)))
    assert found == Best(0, "d0", 1.0, since=49)


def offering(**told: tuple[int, float]):
    """A table of peers that offer a weight and a score."""
    return table(*(replace(stats(peer, weight=weight), score=score) for peer, (weight, score) in told.items()))


def test_a_score_counts_with_the_weight_that_its_peer_joined_with_and_its_share() -> None:
    judged = replace(rules(), judge=Judge())
    seen = offering(ann=(90, 1.0), bob=(1, 3.0))
    joined = replace(seen, joined={"ann": 1, "bob": 1})
    assert best(joined, judged) == Best(4, "d", 2.0)
    capped = replace(judged, largest_share=lambda _: Fraction(1, 2))
    assert best(seen, capped) == Best(4, "d", 2.0)


def test_nothing_is_judged_where_nobody_wants_to_know() -> None:
    assert best(offering(ann=(1, 1.0), bob=(1, 3.0)), rules()) is None


def test_a_peer_that_tells_nothing_does_not_count() -> None:
    told, silent = replace(stats("ann"), score=1.0), stats("bob", weight=100)
    assert isinstance(table(told, silent).offers["bob"], Offer)
    assert best(table(told, silent), replace(rules(), judge=Judge())) == Best(4, "d", 1.0)
