from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from matplotlib.colors import to_hex

from tadshrink.report.drawing import HEAT_STEPS, PAINT, page_style
from tadshrink.report.figures import PLOTS
from tadshrink.report.findings import Cost, Findings, Model, Segment
from tadshrink.report.plots import classes, cost, importance, latency, losses, timelines, tradeoff
from tests.report.examples import ranking, scores, told


def axes_of(draw: Any, findings: Findings, wide: bool = True) -> list[Any]:
    with page_style():
        return [axis for figure in draw(findings, wide) for axis in figure.axes]


def points(line: Any) -> list[tuple[float, float]]:
    return list(zip(map(float, line.get_xdata()), map(float, line.get_ydata()), strict=True))


@pytest.mark.parametrize("plot", PLOTS, ids=lambda plot: plot.key)
@pytest.mark.parametrize("wide", [True, False])
def test_nothing_is_drawn_of_nothing(plot: Any, wide: bool) -> None:
    assert plot.draw(told(baseline=None, final=None, steps=(), timelines=()), wide) == []


def test_accuracy_stands_against_multiply_adds_and_speed(findings: Findings) -> None:
    by_macs, by_speed = axes_of(tradeoff.draw, findings)
    heldout, taken_back, tested = (points(line) for line in by_macs.lines)
    assert heldout == [(1e9, 50.0), (8e8, 51.5), (6e8, 49.0)]
    assert taken_back == [(4e8, 30.0)]
    assert tested == [(1e9, 60.0), (6e8, 58.5)]
    assert [x for x, _ in points(by_speed.lines[0])] == [0.97, 1.2, 1.55]
    assert [text.get_text() for text in by_macs.texts] == ["base", "2", "0", "3"]
    low, high = by_macs.get_ylim()
    assert low < 30 and high > 60


def test_a_run_that_was_not_tested_yet_has_held_out_figures_alone(findings: Findings) -> None:
    axis, _ = axes_of(tradeoff.draw, told(final=None, baseline=replace(findings.baseline, test=None), steps=findings.steps[:2]))
    assert [points(line) for line in axis.lines] == [[(1e9, 50.0), (8e8, 51.5), (6e8, 49.0)]]


def test_small_differences_do_not_look_like_cliffs() -> None:
    models = told()
    steps = (replace(models.steps[0], model=replace(models.steps[0].model, heldout=scores(50.01))),)
    axis, _ = axes_of(tradeoff.draw, told(steps=steps, final=None, baseline=replace(models.baseline, test=None)))
    assert axis.get_ylim()[1] - axis.get_ylim()[0] > 2.9


def test_there_is_nothing_above_all() -> None:
    models = told()
    best = [replace(models.baseline, heldout=scores(100.0), test=None), replace(models.steps[0].model, heldout=scores(99.9), test=None)]
    axis, _ = axes_of(tradeoff.draw, told(baseline=best[0], steps=(replace(models.steps[0], model=best[1]),), final=None))
    low, high = axis.get_ylim()
    assert 100.0 < high < 100.3
    assert high - low > 2.9


def test_a_label_keeps_clear_of_the_mark_of_the_test_videos() -> None:
    models = told()
    for heldout, side in ((50.0, "top"), (70.0, "bottom")):
        axis, _ = axes_of(tradeoff.draw, told(baseline=replace(models.baseline, heldout=scores(heldout), test=scores(60.0)), final=None))
        assert axis.texts[0].get_verticalalignment() == side


def test_cells_are_blue_where_the_model_is_better_without(findings: Findings) -> None:
    (axis,) = axes_of(importance.draw, findings)
    filled = [patch for patch in axis.patches if patch.get_fill()]
    shades = {(round(patch.get_x() + 0.47), round(patch.get_y() + 0.45)): to_hex(patch.get_facecolor()) for patch in filled}
    assert len(shades) == 4 + 3 + 2
    # The largest change of all is -9; a share of 1/9 of it is a third of the scale, by the square root.
    assert shades[1, 2] == PAINT[f"heat-{HEAT_STEPS}"]
    assert shades[0, 1] == PAINT["heat2"]
    assert shades[3, 0] == PAINT["heat-2"]
    framed = [(round(patch.get_x() + 0.47), round(patch.get_y() + 0.45)) for patch in axis.patches if not patch.get_fill()]
    assert framed == [(2, 0), (0, 1), (3, 2)]
    assert [text.get_text() for text in axis.texts[:4]] == ["+0.25", "\N{MINUS SIGN}4", "+0.5", "\N{MINUS SIGN}1"]


def test_a_higher_loss_is_red_and_its_sign_is_as_it_was() -> None:
    findings = told()
    steps = (replace(findings.steps[0], ranking=ranking(b1=0.5, b3=4.0) | {"metric": "loss"}),)
    (axis,) = axes_of(importance.draw, told(steps=steps))
    assert PAINT[f"heat-{HEAT_STEPS}"] in {to_hex(patch.get_facecolor()) for patch in axis.patches if patch.get_fill()}
    assert "+4" in [text.get_text() for text in axis.texts]


def test_scores_stand_in_for_changes_that_a_metric_does_not_have() -> None:
    row = {"metric": "cosine", "baseline": None, "ranking": [{"block": 1, "score": 0.5, "change": None}]}
    step = replace(told().steps[0], ranking=row)
    assert importance.values(step) == {1: 0.5}


def test_halves_have_columns_of_their_own() -> None:
    rows = {"metric": "map", "baseline": 1.0, "ranking": [{"block": f"{index}.mlp", "score": 1, "change": index} for index in (10, 2)]}
    step = replace(told().steps[0], ranking=rows, model=replace(told().steps[0].model, dropped=("2.mlp",)))
    assert importance.units_of(told(), [step]) == ["2.mlp", "10.mlp"]


def test_epochs_of_the_alignments_follow_each_other(findings: Findings) -> None:
    feature, cls = axes_of(losses.draw, findings)
    curves = [line for line in cls.lines if len(line.get_xdata()) == 2 and line.get_marker() == "o"]
    assert [points(line) for line in curves] == [[(first, 0.0625), (first + 1, 0.05)] for first in (1, 3, 5)]
    assert (feature.get_yscale(), cls.get_yscale()) == ("log", "linear")
    assert feature.get_title(loc="left") == "feature (log)"


def test_many_epochs_are_lines_without_dots_and_some_alignments_are_named(findings: Findings) -> None:
    steps = [replace(findings.steps[0], model=Model(f"drop {number}"), curve=[{"cls": 1.0}] * 5) for number in range(1, 15)]
    (axis,) = axes_of(losses.draw, told(steps=tuple(steps)), wide=False)
    assert {line.get_marker() for line in axis.lines} <= {"None", ""}
    assert [text.get_text() for text in axis.texts] == ["1", "3", "5", "7", "9", "11", "13"]


def test_classes_that_lost_most_stand_first(findings: Findings) -> None:
    rows = classes.changes(findings)
    assert rows == [("<script>alert(1)</script>", 58.125, 53.0), ("run", 60.0, 62.0)]
    axis, *_ = axes_of(classes.draw, findings)
    before, after = axis.lines
    assert (list(before.get_xdata()), list(after.get_xdata())) == ([58.125, 60.0], [53.0, 62.0])


def test_of_many_classes_those_that_changed_most_are_drawn() -> None:
    count = classes.SHOWN + 10
    before, after = ({f"c{index}": 50.0 + index * part for index in range(count)} for part in (0, 0.1))
    findings = told()
    many = told(baseline=replace(findings.baseline, test=scores(50, **before)), final=replace(findings.final, test=scores(50, **after)))
    axis, *_ = axes_of(classes.draw, many)
    names = [label.get_text() for label in axis.get_yticklabels()]
    assert names == [f"c{index}" for index in range(10, count)]


def test_bars_are_the_measured_ratios(findings: Findings) -> None:
    axis, *_ = axes_of(latency.draw, findings)
    assert [patch.get_width() for patch in axis.patches] == [0.97, 1.2, 1.55, 1.9, 1.55]
    assert [label.get_text() for label in axis.get_yticklabels()] == ["baseline", "drop 1", "drop 2", "drop 3 (not kept)", "final"]
    marks = next(line for line in axis.lines if line.get_marker() == "|")
    assert list(marks.get_xdata()) == pytest.approx([1, 1.25, 1 / 0.6, 2.5, 1 / 0.6])


def test_each_class_has_three_lanes_and_weak_detections_are_left_out(findings: Findings) -> None:
    (axis,) = axes_of(timelines.draw, findings)
    bars = [(patch.get_x(), patch.get_width(), round(patch.get_y() + patch.get_height() / 2, 2), round(patch.get_alpha(), 2))
            for patch in axis.patches]
    assert bars == [(1, 3, -0.26, 1.0), (8, 4, 0.74, 1.0), (1.5, 2.5, 0.0, 0.8), (8, 3, 1.26, 0.6)]
    assert axis.get_xlim() == (0, 30)
    assert axis.get_title(loc="left") == "video <b>"


def test_what_is_only_found_comes_after_what_is_annotated() -> None:
    timeline = replace(told().timelines[0], final=(Segment(0, 1, "jump", 0.9), Segment(0, 1, "weak", 0.1)))
    (axis,) = axes_of(timelines.draw, told(timelines=(timeline,)))
    assert [label.get_text() for label in axis.get_yticklabels()] == ["run", "<script>alert(1)</script>", "jump"]


def test_dropped_blocks_are_crosses(alone: Findings) -> None:
    (axis,) = axes_of(cost.draw, alone)
    assert [patch.get_height() for patch in axis.patches] == [300, 300]
    assert list(axis.lines[0].get_xdata()) == [0, 2]
    assert cost.draw(replace(alone, cost=Cost(1, {}, {}, 1)), True) == []


@pytest.mark.parametrize("metric", ["map", "top1"])
def test_a_higher_accuracy_is_blue(metric: str) -> None:
    steps = (replace(told().steps[0], ranking=ranking(b1=0.5, b3=4.0) | {"metric": metric}),)
    (axis,) = axes_of(importance.draw, told(steps=steps))
    assert PAINT[f"heat{HEAT_STEPS}"] in {to_hex(patch.get_facecolor()) for patch in axis.patches if patch.get_fill()}
