"""How often one source may cause costly work."""

from __future__ import annotations

from swarm.peer.allowance import MOST, Allowance


def test_a_source_has_some_times_at_once_and_then_one_now_and_then() -> None:
    allowance = Allowance(3, 2.0)
    assert [allowance.take("ann", 0.0) for _ in range(5)] == [True, True, True, False, False]
    assert [allowance.take("ann", 2.0) for _ in range(2)] == [True, False]
    assert sum(allowance.take("ann", 2.0 + seconds / 10) for seconds in range(1000)) == 49
    assert [allowance.take("ann", 200.0) for _ in range(5)] == [True, True, True, False, False]


def test_each_source_has_its_own() -> None:
    allowance = Allowance(1, 2.0)
    assert allowance.take("ann", 0.0)
    assert not allowance.take("ann", 0.0)
    assert allowance.take("bob", 0.0)


def test_many_sources_take_a_bounded_amount_of_memory_and_those_of_the_past_make_room_first() -> None:
    allowance = Allowance(1, 2.0)
    assert allowance.take("ann", 9.0)
    for number in range(MOST - 1):
        allowance.take(f"early {number}", 0.0)
    for number in range(MOST - 1):
        allowance.take(f"late {number}", 9.5)
    assert not allowance.take("ann", 9.6)
    assert len(allowance._used_until) <= MOST
    for number in range(2 * MOST):
        allowance.take(f"later {number}", 9.7)
    assert len(allowance._used_until) <= MOST
