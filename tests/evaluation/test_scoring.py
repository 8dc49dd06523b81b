from __future__ import annotations

import json

import pytest

from tadshrink.errors import UserError
from tadshrink.evaluation.rules import ACTIVITYNET, RULES
from tadshrink.evaluation.scoring import parse_tiou, score
from tadshrink.evaluation.tables import flatten_detections, number_videos
from tests.evaluation.examples import CLASSES, make


def scored(rule=ACTIVITYNET, thresholds=(0.3, 0.9)):
    truth = {"v": [(0, 10, "a"), (20, 30, "b"), (20, 30, "b"), (3, 3, "a")], "w": [(0, 10, "a")]}
    found = {"v": make([(0, 8, "a", 0.9), (20, 30, "b", 0.8), (20, 30, "c", 0.8)]), "w": make([])}
    return score(truth, {}, flatten_detections(found, number_videos(truth, found)), CLASSES, thresholds, rule, {"blocked_videos": 2})


def test_json() -> None:
    result = json.loads(json.dumps(scored().to_json(), allow_nan=False))
    assert result["rule"] == "activitynet"
    assert result["map"] == {"0.3": 75, "0.9": 50}
    assert result["average_map"] == 62.5
    assert result["per_class"] == {"a": 25, "b": 100}
    assert result["per_class_map"] == {"a": {"0.3": 50, "0.9": 0}, "b": {"0.3": 100, "0.9": 100}}
    assert result["recall"] == {"1x": {"0.3": 75, "0.9": 50}, "5x": {"0.3": 75, "0.9": 50}}
    assert (result["videos"], result["ground_truths"], result["detections"]) == (2, 3, 2)
    assert result["left_aside"] == {"duplicate_annotations": 1, "short_annotations": 1, "blocked_videos": 2}
    assert result["confidence_interval"].keys() == {"level", "low", "high", "resamples", "seed"}


@pytest.mark.parametrize(("thresholds", "tiou"), [((0.3, 0.9), 0.3), ((0.5, 0.75), 0.5), ((0.75, 0.95), 0.75)])
def test_the_error_profile_is_of_the_threshold_nearest_to_one_half(thresholds, tiou: float) -> None:
    assert scored(thresholds=thresholds).false_positives.tiou == tiou


def test_by_the_organisers_rule_every_annotation_counts() -> None:
    assert scored(RULES["thumos14"]).to_json()["ground_truths"] == 5


@pytest.mark.parametrize(("text", "expected"), [
    ("0.5", (0.5,)),
    ("0.75,0.5,0.5", (0.5, 0.75)),
    ("0.3:0.7:0.1", (0.3, 0.4, 0.5, 0.6, 0.7)),
    ("0.5:0.95:0.05", (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)),
    ("0.1:0.35:0.1", (0.1, 0.2, 0.3)),
    ("0.5:0.5:0.1, 1", (0.5, 1.0)),
])
def test_thresholds(text: str, expected: tuple[float, ...]) -> None:
    assert parse_tiou(text) == expected


@pytest.mark.parametrize("text", ["", "a", "0", "-0.5", "1.01", "nan", "inf", "0.3:0.7", "0.3:0.7:0", "0.7:0.3:0.1", "0.3:0.7:-0.1",
                                  "0.3:0.7:nan", "0.1:inf:0.1", "0.1:0.9:1e-9", "0.5,", "0.3:0.5:0.1:0.1", "0.0000001", "0.3:0.7:1e-320"])
def test_bad_thresholds(text: str) -> None:
    with pytest.raises(UserError, match=r"is not a list of thresholds above 0 and at most 1\. For example"):
        parse_tiou(text)
