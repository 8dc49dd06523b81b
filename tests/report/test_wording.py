from __future__ import annotations

import pytest

from tadshrink.report.wording import amount, change, cut, duration, listed, number, plural, short, times


@pytest.mark.parametrize(("value", "text"), [(678_846_464, "678.8 M"), (1_392_193, "1.392 M"), (999, "999"), (2.5e12, "2.5 T"), (0, "0"),
                                             (None, "\N{EN DASH}")])
def test_amounts(value: float | None, text: str) -> None:
    assert amount(value) == text


@pytest.mark.parametrize(("value", "text"), [(-3.191, "\N{MINUS SIGN}3.19"), (0.049, "+0.05"), (0.004, "0.00"), (-0.004, "0.00"),
                                             (None, "\N{EN DASH}")])
def test_numbers_have_a_real_minus_and_zero_no_sign(value: float | None, text: str) -> None:
    assert number(value, sign=True) == text


def test_changes_are_relative() -> None:
    assert change(400, 301) == "\N{MINUS SIGN}24.8 %"
    assert change(5, 5) == "0.0 %"


def test_ratios_and_short_numbers() -> None:
    assert times(1.549) == "1.55\N{MULTIPLICATION SIGN}"
    assert (short(-0.012345), short(12.345, sign=True), short(0.00089, digits=2)) == ("\N{MINUS SIGN}0.0123", "+12.3", "0.00089")


@pytest.mark.parametrize(("seconds", "text"), [(0.42, "0.4 s"), (12.4, "12 s"), (243, "4 min 3 s"), (3725, "1 h 2 min")])
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_names() -> None:
    assert (listed([3, "7.mlp"]), cut("abcdef", 4), cut("abcd", 4)) == ("3, 7.mlp", "abc…", "abcd")
    assert (plural(1, "video"), plural(2, "video")) == ("1 video", "2 videos")
