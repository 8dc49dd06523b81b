from __future__ import annotations

import re

from tadshrink.report import tables
from tadshrink.report.findings import Findings


def cells(text: object) -> list[list[str]]:
    rows = re.findall(r"<tr>(.*?)</tr>", str(text), re.S)
    return [[re.sub(r"<[^>]+>", "", cell) for cell in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row)] for row in rows]


def test_a_row_for_every_model_and_test_figures_at_the_first_and_the_kept_one(findings: Findings) -> None:
    header, *rows = cells(tables.models(findings))
    place = {name: header.index(name) for name in ("test mAP", "of base", "dropped")}
    assert [row[0] for row in rows] == ["baseline", "drop 1", "drop 2", "drop 3 (not kept)"]
    assert [row[place["test mAP"]] for row in rows] == ["60.00", "", "58.50", ""]
    assert [row[place["of base"]] for row in rows] == ["100.0 %", "80.0 %", "60.0 %", "40.0 %"]
    assert [row[place["dropped"]] for row in rows] == ["", "2", "0", "3"]


def test_rankings_stand_as_they_were_made(findings: Findings) -> None:
    made = [str(item) for item in tables.rankings(findings)]
    assert made[0] == "<h4>drop 1: map, 50 with all</h4>"
    assert [row[0] for row in cells(made[1])[1:]] == ["2", "0", "1", "3"]


def test_losses_classes_and_times(findings: Findings) -> None:
    assert cells(tables.losses(findings))[2] == ["drop 1", "2", "0.004", "0.05"]
    assert cells(tables.classes(findings))[1][1:] == ["58.12", "53.00", "\N{MINUS SIGN}5.12"]
    assert cells(tables.seconds(findings))[1] == ["drop 1", "3.0 s", "1 min 1 s", "1 min 4 s"]
    assert len(cells(tables.tious(findings))) == 1 + 4 + 2


def test_parts_have_their_share(alone: Findings) -> None:
    assert cells(tables.parts(alone))[1] == ["blocks", "600", "85.7 %"]
