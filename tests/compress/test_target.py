from __future__ import annotations

import pytest

from tadshrink.compress.target import Target, parse_target, plan_drops
from tadshrink.errors import UserError
from tadshrink.profiling.macs import MacsReport


def report(blocks: int = 12, block: int = 8, rest: int = 4) -> MacsReport:
    """12 blocks of 8 and 4 beside them: one block is 8 % of 100."""
    return MacsReport(blocks * block + rest, blocks * block, rest, [block] * blocks, list(range(blocks)), {}, {})


@pytest.mark.parametrize(("text", "want"), [
    ("25%", Target(25, "%", "25%")),
    (" 12.5 % ", Target(12.5, "%", "12.5 %")),
    ("3", Target(3, "blocks", "3")),
    ("60ms", Target(60, "ms", "60ms")),
    ("0.5 ms", Target(0.5, "ms", "0.5 ms")),
])
def test_forms_of_a_target(text: str, want: Target) -> None:
    assert parse_target(text) == want


@pytest.mark.parametrize("text", ["", "%", "abc", "-3", "25 percent", "1e2", "25%%", "ms", "nan", "../x"])
def test_what_is_not_a_target_is_named(text: str) -> None:
    with pytest.raises(UserError, match=r"not understood.*25%"):
        parse_target(text)


@pytest.mark.parametrize("text", ["0", "0%", "100%", "250%", "2.5", "0ms", "9" * 400, "9" * 400 + "ms"])
def test_a_target_out_of_range_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="out of range"):
        parse_target(text)


def test_a_percentage_is_the_closest_number_of_blocks_and_says_what_one_more_would_give() -> None:
    budget = plan_drops(parse_target("25%"), report(), at_least=False)
    assert (budget.count, budget.latency_ms) == (3, None)
    assert budget.reason == "3 of 12 blocks remove 24.0% of the MACs, the closest to 25%; one block more would remove 32.0%"


def test_at_least_makes_the_percentage_a_floor() -> None:
    budget = plan_drops(parse_target("25%"), report(), at_least=True)
    assert budget.count == 4
    assert "the fewest that remove at least 25%" in budget.reason


def test_a_percentage_below_half_a_block_is_refused_unless_it_is_a_floor() -> None:
    with pytest.raises(UserError, match=r"less than half of one block.*--at-least"):
        plan_drops(parse_target("3%"), report(), at_least=False)
    assert plan_drops(parse_target("3%"), report(), at_least=True).count == 1


@pytest.mark.parametrize("at_least", [False, True])
def test_a_percentage_out_of_reach_is_refused(at_least: bool) -> None:
    with pytest.raises(UserError, match=r"99(\.0)?% of the MACs cannot be removed: without all but one of the blocks it is"):
        plan_drops(parse_target("99%"), report(3), at_least)


def test_all_blocks_but_one() -> None:
    budget = plan_drops(parse_target("60%"), report(3), at_least=False)
    assert budget.count == 2
    assert "one block more" not in budget.reason


def test_a_number_of_blocks() -> None:
    assert plan_drops(parse_target("11"), report(), at_least=False).count == 11
    with pytest.raises(UserError, match=r"cannot drop 12 of 12 blocks.*1 to 11"):
        plan_drops(parse_target("12"), report(), at_least=False)


def test_a_latency_allows_all_blocks_but_one() -> None:
    budget = plan_drops(parse_target("60ms"), report(), at_least=False)
    assert (budget.count, budget.latency_ms) == (11, 60)


@pytest.mark.parametrize("text", ["25%", "1", "60ms"])
def test_the_last_block_stays(text: str) -> None:
    with pytest.raises(UserError, match="only one block is left"):
        plan_drops(parse_target(text), report(1), at_least=False)


def test_halves_are_counted_as_halves() -> None:
    halves = MacsReport(100, 80, 20, [20] * 4, [0, 1, 2, 3], {}, {}, {"attention": [8] * 4, "mlp": [12] * 4})
    budget = plan_drops(parse_target("25%"), halves, at_least=False, kind="mlp")
    assert budget.reason == "2 of 4 MLP halves remove 24.0% of the MACs, the closest to 25%; one MLP half more would remove 36.0%"
    with pytest.raises(UserError, match=r"cannot drop 4 of 4 attention halves.*1 to 3"):
        plan_drops(parse_target("4"), halves, at_least=False, kind="attention")
    one = MacsReport(100, 80, 20, [20] * 4, [0, 1, 2, 3], {}, {}, {"mlp": [12]})
    with pytest.raises(UserError, match="only one MLP half is left"):
        plan_drops(parse_target("1"), one, at_least=False, kind="mlp")


def test_where_none_is_left_that_is_said() -> None:
    none = MacsReport(100, 80, 20, [20] * 4, [0, 1, 2, 3], {}, {}, {"mlp": []})
    with pytest.raises(UserError, match="no MLP half is left"):
        plan_drops(parse_target("1"), none, at_least=False, kind="mlp")
