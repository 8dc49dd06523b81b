from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import pytest

from tadshrink.report.figures import PLOTS
from tadshrink.report.findings import Findings
from tadshrink.report.page import render
from tests.report.examples import told

#: Nothing to draw, which takes a while.
BARE: dict[str, Any] = {"steps": (), "final": None, "baseline": None, "timelines": ()}
VOID = {"meta", "link", "br", "hr", "img"}


class Reader(HTMLParser):
    """Gathers ids, what is linked to, the names of elements, and checks that they are closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: Counter[str] = Counter()
        self.names: Counter[str] = Counter()
        self.links: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, name: str, attributes: list[tuple[str, str | None]]) -> None:
        self.handle_startendtag(name, attributes)
        if name not in VOID:
            self.open.append(name)

    def handle_startendtag(self, name: str, attributes: list[tuple[str, str | None]]) -> None:
        self.names[name] += 1
        for key, value in attributes:
            if key == "id":
                self.ids[value or ""] += 1
            if key in ("href", "src", "xlink:href", "srcset", "action", "data"):
                self.links.append(value or "")
            assert not key.startswith("on"), f"a script in {name}"

    def handle_endtag(self, name: str) -> None:
        assert self.open.pop() == name


@pytest.fixture(scope="module")
def page() -> str:
    return render(told())


def test_every_section_is_there_and_linked(page: str) -> None:
    read = Reader(page)
    wanted = {"headline", "models", "tradeoff", "importance", "losses", "classes", "latency", "timelines", "configuration", "checksums",
              "commands", "missing"}
    assert wanted <= set(read.ids)
    assert wanted - {"headline"} <= {link[1:] for link in read.links}
    assert "cost" not in read.ids and "history" not in read.ids


def test_each_figure_is_there_in_both_sizes(page: str) -> None:
    assert Reader(page).names["svg"] == 2 * (len(PLOTS) - 1)
    assert page.count('<div class="wide">') == page.count('<div class="narrow">') == len(PLOTS) - 1


def test_it_loads_nothing_and_runs_nothing(page: str) -> None:
    read = Reader(page)
    assert "http" not in page
    assert all(link == "data:," or (link.startswith("#") and link[1:] in read.ids) for link in read.links)
    assert not {"script", "iframe", "object", "embed", "img", "base", "form"} & set(read.names)
    assert "@import" not in page and len(re.findall(r"url\((?!#)", page)) == 0


def test_ids_are_unique(page: str) -> None:
    assert [name for name, count in Reader(page).ids.items() if count > 1] == []


def test_names_from_users_are_text(page: str) -> None:
    assert "<script" not in page and "<b>" not in page
    assert page.count("&lt;script&gt;alert(1)&lt;/script&gt;") >= 4
    assert "video &lt;b&gt;" in page
    evil = render(told(title="</title><script>", summary="<img src=x>", stopped='"><script>', notes=("<script>",), **BARE))
    assert "<script" not in evil and "<img" not in evil


def test_templates_in_names_mean_nothing() -> None:
    assert "$body ${style}" in render(told(title="$body ${style}", **BARE))


def test_it_is_small_and_for_phones_and_both_schemes(page: str) -> None:
    assert len(page.encode()) < 1_000_000
    assert '<meta name="viewport" content="width=device-width' in page
    assert "@media (prefers-color-scheme: dark)" in page and "@media print" in page
    used, defined = set(re.findall(r"var\((--[\w-]+)", page)), set(re.findall(r"(--[\w-]+):", page))
    assert used <= defined


def test_the_same_findings_are_the_same_page(page: str) -> None:
    assert render(told()) == page


def test_settings_that_are_not_the_defaults_are_told(page: str) -> None:
    assert "<dt>tolerance</dt><dd>5</dd>" in page
    assert "<dt>align.epochs</dt>" not in page
    assert "--dataset &#x27;my data.yaml&#x27; --target 3 --device cpu --tolerance 5" in page


def test_a_checkpoint_has_what_it_tells(alone: Findings) -> None:
    text = render(alone)
    ids = set(Reader(text).ids)
    assert {"losses", "cost", "configuration", "checksums", "missing"} <= ids
    assert not {"models", "tradeoff", "timelines", "latency"} & ids


def test_a_checksum_stands_beside_its_file(findings: Findings, alone: Findings) -> None:
    for given, file in ((findings, "final/model.pth"), (told(**BARE), "step-1/merged.pth"), (alone, "a.pth")):
        section = render(replace(given, file=file)).split('id="checksums"')[1].split("</section>")[0]
        assert re.search(rf"{file}</dt>\s*<dd[^>]*><code[^>]*>{given.checksum}<", section), section
