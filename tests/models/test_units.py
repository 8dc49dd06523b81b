from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tadshrink.errors import UserError
from tadshrink.models.units import HALVES, gone, left_of, merged, order, parse_unit, split_unit, units, whole, without


@pytest.mark.parametrize(("text", "unit"), [("3", 3), (" 0 ", 0), ("12.mlp", "12.mlp"), ("3.attention", "3.attention"), ("007", 7)])
def test_units_as_users_write_them(text: str, unit: object) -> None:
    assert parse_unit(text) == unit


@pytest.mark.parametrize("text", ["", "a", "-1", "3.", "3.head", ".mlp", "03.mlp", "3.mlp.", "3,4", "3 .mlp", "²"])
def test_what_is_no_unit_is_named(text: str) -> None:
    with pytest.raises(UserError, match="neither a block nor half of one"):
        parse_unit(text)


def test_what_is_left_and_what_can_go() -> None:
    left = left_of(4, [2, "0.mlp", "3.attention", "3.mlp"])
    assert left == {0: ("attention",), 1: HALVES}
    assert (units(left, "block"), units(left, "attention"), units(left, "mlp")) == ([0, 1], ["0.attention", "1.attention"], ["1.mlp"])
    assert (whole(left), gone(4, left)) == (["0.attention", 1], ["0.mlp", 2, 3])
    assert without(left, 0) == without(left, "0.attention") == {1: HALVES}


@pytest.mark.parametrize("dropped", [[4], [1, 1], ["1.mlp", "1.mlp"], [1, "1.mlp"], ["4.mlp"]])
def test_what_is_not_there_cannot_go(dropped: list) -> None:
    with pytest.raises(UserError, match="cannot be dropped: the blocks left are"):
        left_of(4, dropped)


def test_two_halves_are_the_block_from_when_the_second_went() -> None:
    assert merged(["1.mlp", 3, "1.attention", "0.mlp"]) == [3, 1, "0.mlp"]
    # What is left of a block, under the block's name.
    assert merged(["1.mlp", 1]) == [1]
    assert merged([2, 0]) == [2, 0]


def test_order_is_that_of_running() -> None:
    assert sorted(["2.mlp", 2, "0.mlp", "10.attention", 1], key=order) == ["0.mlp", 1, 2, "2.mlp", "10.attention"]


@given(st.lists(st.tuples(st.integers(0, 4), st.sampled_from(["", *HALVES])), max_size=12))
def test_whatever_goes_is_gone_and_the_rest_is_left(drawn: list[tuple[int, str]]) -> None:
    left, dropped = left_of(5, []), []
    for index, half in drawn:
        unit = f"{index}.{half}" if half else index
        try:
            left = without(left, unit)
        except UserError:
            continue
        dropped.append(unit)
    assert left_of(5, merged(dropped)) == left
    missing = {(split_unit(unit)[0], half) for unit in gone(5, left) for half in split_unit(unit)[1]}
    present = {(index, half) for index, halves in left.items() for half in halves}
    assert missing | present == {(index, half) for index in range(5) for half in HALVES}
    assert not missing & present


@pytest.mark.parametrize("text", ["9" * 5000, "1" * 10, f"{'1' * 10}.mlp"])
def test_numbers_that_no_model_has_are_refused(text: str) -> None:
    with pytest.raises(UserError, match="is neither a block nor half of one"):
        parse_unit(text)
