from __future__ import annotations

from dataclasses import replace

from tadshrink.report.figures import PLOTS, section
from tadshrink.report.findings import Findings
from tests.report.examples import ranking, told

BY_KEY = {plot.key: plot for plot in PLOTS}


def test_a_figure_has_a_caption_and_the_numbers(findings: Findings) -> None:
    text = str(section(BY_KEY["importance"], findings))
    assert "<figcaption>How the score changes" in text and "metric map (accuracy without it" in text
    assert "<details><summary>The numbers</summary>" in text


def test_a_score_without_one_of_the_whole_model_is_no_change(findings: Findings) -> None:
    row = {"metric": "cosine", "baseline": None, "ranking": [{"block": 1, "score": 0.5, "change": None}]}
    text = str(section(BY_KEY["importance"], told(steps=(replace(findings.steps[0], ranking=row),))))
    assert "The score of each block: metric cosine (1 - cosine" in text and "Blue" not in text
    assert ">0.5</text>" in text


def test_how_far_a_speed_up_errs_is_told(findings: Findings) -> None:
    assert "Against itself the baseline was 0.97" in str(section(BY_KEY["latency"], findings))
    unknown = told(baseline=replace(findings.baseline, speedup=None))
    assert "Against itself" not in str(section(BY_KEY["latency"], unknown))


def test_without_anything_to_draw_there_is_no_section() -> None:
    assert section(BY_KEY["timelines"], told(timelines=())) is None


def test_the_accuracy_of_a_recogniser_has_its_words() -> None:
    ranked = replace(told().steps[0], ranking=ranking(b1=0.5) | {"metric": "top1"})
    (plot,) = (plot for plot in PLOTS if plot.key == "importance")
    assert "metric top1 (accuracy without it: " in plot.caption(told(steps=(ranked,)))
