from __future__ import annotations

import re
import sys
from collections.abc import Callable

import matplotlib
import pytest

from tadshrink.report.drawing import NAMES, PAINT, new_figure, page_style, to_svg


def drawn(draw: Callable[..., object], prefix: str = "p") -> str:
    with page_style():
        figure = new_figure(True, 2)
        draw(figure.subplots())
        return to_svg(figure, prefix, "a picture")


def test_text_stays_text_and_is_escaped() -> None:
    svg = drawn(lambda axis: axis.set_title("<script> $x$ 1.23456 #0a0003 id=\"a\""))
    assert '>&lt;script&gt; $x$ 1.23456 #0a0003 id="a"</text>' in svg
    assert "<script" not in svg


def test_colours_and_fonts_are_the_pages() -> None:
    svg = drawn(lambda axis: axis.barh([0], [1], color=PAINT["heat-6"]))
    assert "fill: var(--heat-6)" in svg
    colours = set(re.findall(r"#[0-9a-f]{6}|(?:fill|stroke): (?!var\(|none)\w+", svg))
    assert not colours
    assert set(re.findall(r"font-family: ([^;\"]+)", svg)) == {"var(--font)"}
    assert set(re.findall(r"var\(--([\w-]+)\)", svg)) <= {*NAMES, "font"}
    assert len(set(PAINT.values())) == len(NAMES)


def test_ids_are_of_the_figure_alone_and_lead_nowhere_else() -> None:
    svg = drawn(lambda axis: axis.plot([1, 2], [3, 4], "o"), "tradeoff-wide")
    ids, used = re.findall(r'\bid="([^"]+)"', svg), re.findall(r'(?:url\(#|href="#)([^")]+)', svg)
    assert used and set(used) <= set(ids)
    assert all(name.startswith("tradeoff-wide-") for name in ids)
    assert len(ids) == len(set(ids))


def test_nothing_in_it_is_for_the_whole_page_or_from_elsewhere() -> None:
    svg = drawn(lambda axis: axis.plot([1, 2]))
    assert svg.startswith('<svg viewBox="0 0 ') and 'role="img" aria-label="a picture"' in svg[:200] and svg.endswith("</svg>")
    assert "<style" not in svg and "http" not in svg and "<metadata" not in svg and "<?xml" not in svg


@pytest.mark.filterwarnings("error")
def test_names_in_any_script_are_drawn_without_a_word() -> None:
    assert "跳水" in drawn(lambda axis: axis.set_title("跳水"))


def test_the_same_drawing_is_the_same_text() -> None:
    assert drawn(lambda axis: axis.plot([1, 3, 2], "o-")) == drawn(lambda axis: axis.plot([1, 3, 2], "o-"))


def test_settings_of_others_stay_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "matplotlib.pyplot", raising=False)
    before = matplotlib.rcParams.copy()
    drawn(lambda axis: axis.plot([1, 2]))
    # Its own comparison, and every look at the backend, would import pyplot.
    assert dict.__eq__(matplotlib.rcParams, before)
    assert "matplotlib.pyplot" not in sys.modules
