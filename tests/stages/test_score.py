"""Detections of any tool beside annotations of any form."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path
from typing import Any

import pytest

from tadshrink.errors import UserError
from tadshrink.evaluation.rules import RULES
from tadshrink.evaluation.scoring import Score
from tadshrink.stages.score import score_results
from tests.checkpoint.reference_files import shared_golden
from tests.evaluation.test_golden_map import TOOLS
from tests.notes import Notes

EVAL = Path(os.environ.get("TADSHRINK_SHARED", Path(__file__).parents[3] / "shared")) / "eval"
needs_eval = pytest.mark.skipif(not EVAL.is_dir(), reason="no folder of detections with published figures")
MAP_CASES = shared_golden() / "09_map" if shared_golden() else None
CASES = json.loads((MAP_CASES / "cases.json").read_text()) if MAP_CASES and MAP_CASES.is_dir() else {"cases": {}, "tiou": {}, "labels": []}

DATABASE = {
    "v": {"subset": "testing", "duration": 100, "annotations": [{"segment": [0, 10], "label": "a"}, {"segment": [20, 30], "label": "b"}],
          "ambiguous": [[50, 60]]},
    "w": {"subset": "testing", "duration": 100, "annotations": [{"segment": [0, 10], "label": "a"}]},
    "t": {"subset": "training", "duration": 100, "annotations": [{"segment": [0, 10], "label": "c"}]},
    "n": {"subset": "none", "duration": 100, "annotations": []},
}
PERFECT = {"v": [(0, 10, "a", 0.9), (20, 30, "b", 0.8)], "w": [(0, 10, "a", 0.7)]}


@pytest.fixture
def score(tmp_path: Path) -> Any:
    """Scores rows of (start, end, label, score) by video against the annotations above, or others."""
    def work(found: dict[str, list[tuple[Any, ...]]], database: dict[str, Any] = DATABASE, **options: Any) -> Score:
        items = {name: [{"segment": list(row[:2]), "label": row[2], "score": row[3]} for row in rows] for name, rows in found.items()}
        (tmp_path / "found.json").write_text(json.dumps({"results": items}))
        (tmp_path / "truth.json").write_text(json.dumps({"database": database}))
        return score_results(tmp_path / "found.json", tmp_path / "truth.json", **options)

    return work


def test_perfect_detections(score: Any) -> None:
    result = score(PERFECT)
    assert (result.average, result.videos, result.detections) == (100, 2, 3)
    assert result.result.classes == ("a", "b", "c")
    assert not any(result.left_aside.values()) and not any(result.counted_anyway.values())


def test_the_split_by_another_case_if_that_is_clear(score: Any) -> None:
    notes = Notes()
    assert score(PERFECT, split="Testing", reporter=notes).average == 100
    assert "split 'Testing': taken to be 'testing', the only one of this name but for case" in notes.lines
    twice = DATABASE | {"x": DATABASE["t"] | {"subset": "TESTING"}}
    assert score(PERFECT, twice).average == 100
    with pytest.raises(UserError, match="there is no split 'Testing'"):
        score(PERFECT, twice, split="Testing")


def test_an_unknown_split_and_one_without_actions_list_those_present(score: Any) -> None:
    present = r"Splits in the file: 'none' \(1 videos, 0 actions\), 'testing' \(2 videos, 3 actions\), 'training' \(1 videos, 1 actions\)"
    with pytest.raises(UserError, match=rf"truth.json: there is no split 'test'\. {present}"):
        score(PERFECT, split="test")
    with pytest.raises(UserError, match=rf"split 'none' has no annotated action\. {present}"):
        score({"n": []}, split="none")


def test_detections_elsewhere_count_as_wrong_unless_told_otherwise(score: Any) -> None:
    notes, more = Notes(), PERFECT | {"t": [(0, 10, "a", 0.95)], "unheard": [(0, 10, "b", 0.95)]}
    result = score(more, reporter=notes)
    assert result.average == pytest.approx((100 * 2 / 3 + 50) / 2)
    assert result.counted_anyway["other_videos"] == 2
    assert any("2 detections are in videos that are not of the split and count as wrong" in line for line in notes.lines)
    result = score(more, only_split=True)
    assert (result.average, result.left_aside["other_videos"], result.counted_anyway["other_videos"]) == (100, 2, 0)


def test_unknown_labels_are_left_aside_and_counted(score: Any) -> None:
    notes = Notes()
    result = score({"v": [*PERFECT["v"], (0, 10, "z", 1), (0, 10, "c", 1)], "w": PERFECT["w"]}, reporter=notes)
    assert (result.average, result.detections) == (100, 3)
    assert (result.left_aside["unknown_label"], result.left_aside["label_not_in_split"]) == (1, 1)
    assert "1 detections have a label that is annotated nowhere in the file: left out" in notes.lines


def test_odd_annotations_are_counted(score: Any) -> None:
    entry = DATABASE["w"] | {"annotations": [{"segment": [0, 10], "label": "a"}] * 3 + [{"segment": [5, 5], "label": "a"}]}
    result = score(PERFECT, DATABASE | {"w": entry})
    assert (result.left_aside["duplicate_annotations"], result.left_aside["short_annotations"], result.result.ground_truths) == (2, 1, 3)


def test_odd_detections_are_counted(score: Any) -> None:
    result = score({"v": [*PERFECT["v"], PERFECT["v"][0], (9, 1, "b", 0.99)], "w": PERFECT["w"]})
    assert (result.counted_anyway["repeated"], result.counted_anyway["inverted"]) == (1, 1)
    assert result.average < 100


def test_blocked_videos_are_left_out_on_both_sides(score: Any, tmp_path: Path) -> None:
    (tmp_path / "blocked.json").write_text('["w", "other"]')
    result = score({"v": PERFECT["v"], "w": [(50, 60, "a", 1)]}, blocked=tmp_path / "blocked.json")
    assert (result.average, result.videos, result.left_aside["blocked_videos"]) == (100, 1, 1)
    (tmp_path / "blocked.txt").write_text("w\nv\n")
    with pytest.raises(UserError, match="split 'testing' has no annotated action that is not blocked"):
        score(PERFECT, blocked=tmp_path / "blocked.txt")


def test_names_with_a_prefix_are_recognised(score: Any) -> None:
    notes = Notes()
    assert score({f"v_{name}": rows for name, rows in PERFECT.items()}, reporter=notes).average == 100
    assert any("2 videos are called otherwise" in line for line in notes.lines)


def test_numbers_of_classes_need_a_list(score: Any, tmp_path: Path) -> None:
    found = {"v": [(0, 10, 1, 0.9), (20, 30, 0, 0.8)], "w": [(0, 10, 1, 0.7), (0, 10, 9, 0.9), (0, 10, -1, 0.9)]}
    with pytest.raises(UserError, match=r"detections have numbers for labels\. Give the list of class names with --classes"):
        score(found)
    (tmp_path / "classes.txt").write_text("b\na\nc\n")
    result = score(found, classes=tmp_path / "classes.txt")
    assert (result.average, result.left_aside["unknown_label"]) == (100, 2)


def test_detections_of_something_else_are_refused(score: Any) -> None:
    with pytest.raises(UserError, match=r"not one of the 1 detections is in a video of the split\. Its videos are x, .* are v, w"):
        score({"x": [(0, 1, "a", 0.5)]})
    with pytest.raises(UserError, match=r"not one label of the 1 detections is annotated \('z', \.\.\.\)\. Annotated labels: a, b, c"):
        score({"v": [(0, 1, "z", 0.5)]})


def test_no_detections_at_all_score_nothing(score: Any) -> None:
    assert score({"v": []}).average == score({}).average == 0


def test_ambiguous_regions_and_labels_mean_what_the_rule_says(score: Any) -> None:
    found = {"v": [(55, 65, "b", 0.99), *PERFECT["v"]], "w": PERFECT["w"]}
    assert score(found, rule=RULES["thumos14"]).average == 100
    notes = Notes()
    assert score(found, reporter=notes).average == 75
    assert "1 ambiguous regions mean nothing by this rule" in notes.lines
    annotations = [*DATABASE["v"]["annotations"], {"segment": [50, 60], "label": "Ambiguous"}]
    labelled = DATABASE | {"v": {"subset": "testing", "annotations": annotations}}
    assert score(found, labelled, rule=RULES["thumos14"]).average == 100
    assert "Ambiguous" in score(found, labelled, reporter=notes).to_json()["per_class"]
    assert any("1 actions are labelled 'Ambiguous'" in line for line in notes.lines)


def test_the_rule_and_compressed_files(score: Any, tmp_path: Path) -> None:
    expected = score(PERFECT).average
    for name in ("found", "truth"):
        (tmp_path / f"{name}.json.gz").write_bytes(gzip.compress((tmp_path / f"{name}.json").read_bytes()))
    notes = Notes()
    result = score_results(tmp_path / "found.json.gz", tmp_path / "truth.json.gz", rule=RULES["actionformer"], reporter=notes)
    assert result.average == expected
    assert any("depends on the numbers of the classes" in line for line in notes.lines)


@needs_eval
@pytest.mark.parametrize("tiou", ["0.1", "0.3", "0.5", *(pytest.param(tiou, marks=pytest.mark.slow) for tiou in ("0.2", "0.4"))])
def test_figures_that_the_authors_published(tiou: str) -> None:
    expected = json.loads((EVAL / "scnn_expected.json").read_text())[tiou]
    result = score_results(EVAL / f"scnn_tiou{tiou}.json.gz", EVAL / "thumos14_test_groundtruth.json", rule=RULES["thumos14"],
                           thresholds=[float(tiou)]).to_json()
    assert round(result["average_map"] / 100, 4) == expected["stored_mAP_by_the_authors"]
    assert result["average_map"] / 100 == pytest.approx(expected["official_rule_mAP"], abs=1e-6)
    assert {name: value / 100 for name, value in result["per_class"].items()} == pytest.approx(expected["per_class"], abs=1e-6)
    assert (result["videos"], result["ground_truths"], result["detections"]) == (213, 3358, expected["detections"])


@needs_eval
def test_the_same_detections_by_the_other_rule() -> None:
    result = score_results(EVAL / "scnn_tiou0.3.json.gz", EVAL / "thumos14_test_groundtruth.json", thresholds=[0.3])
    # These files have thousands of equal scores: from 0.397 to 0.446, depending on their order. This is the stated one.
    assert result.average / 100 == pytest.approx(0.404694, abs=1e-6)


@pytest.mark.parametrize("tool", TOOLS)
@pytest.mark.parametrize("case", CASES["cases"] or [pytest.param("", marks=pytest.mark.skip(reason="no folder of reference results"))])
def test_files_of_the_reference_programs(tmp_path: Path, case: str, tool: str) -> None:
    expected = json.loads((MAP_CASES / f"result_{tool}_stable.json").read_text())["results"][case]["thumos"] if MAP_CASES else {}
    if "error" in expected or "ap" not in expected:
        pytest.skip("this program stops at this case")
    blocked = CASES["cases"][case].get("blocked") if tool != "actionformer" else None
    (tmp_path / "classes.txt").write_text("\n".join([*CASES["labels"], "Ambiguous"]))
    result = score_results(MAP_CASES / f"{case}_pred.json", MAP_CASES / f"{case}_gt.json", "validation", RULES[TOOLS[tool]],
                           CASES["tiou"]["thumos"], MAP_CASES / blocked if blocked else None, tmp_path / "classes.txt")
    average = expected["average_mAP"] if "average_mAP" in expected else expected["metrics"]["average_mAP"]
    assert result.average / 100 == pytest.approx(average, abs=1e-9)
    assert result.result.ground_truths == expected["n_gt"]
