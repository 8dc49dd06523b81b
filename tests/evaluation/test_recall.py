from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings

from tadshrink.evaluation.matching import Comparison, compare
from tadshrink.evaluation.recall import recall
from tadshrink.evaluation.rules import ACTIVITYNET, RULES, Rule
from tadshrink.evaluation.tables import flatten_detections, flatten_truth, number_videos
from tests.evaluation.examples import CLASSES, FOUND, TRUTH, has_truth, make
from tests.evaluation.plain import tiou


def compared(truth, found, thresholds=(0.5,), rule: Rule = ACTIVITYNET, regions=None) -> Comparison:
    detections = {video: make(rows) for video, rows in found.items()}
    table = flatten_detections(detections, number_videos(truth, detections))
    return compare(flatten_truth(truth, CLASSES, rule, regions), table, np.array(thresholds), rule)


def test_by_hand() -> None:
    truth = {"v": [(0, 10, "a"), (20, 30, "a"), (0, 10, "b")], "w": [(0, 10, "a")]}
    found = {"v": [(0, 10, "a", 0.9), (0, 9, "a", 0.8), (20, 30, "a", 0.7), (0, 10, "c", 0.9)], "w": [(50, 60, "a", 0.9), (0, 8, "a", 0.1)]}
    # Once: the best two of v hold one of its segments of a, the best of w none. Five times: all three.
    table = recall(compared(truth, found, (0.5, 0.9)), 3)
    np.testing.assert_allclose(table, [[[100 / 3, 0, np.nan]] * 2, [[100, 0, np.nan], [200 / 3, 0, np.nan]]])


def test_no_detections() -> None:
    assert recall(compared({"v": [(0, 1, "a")]}, {}), 3)[:, 0, 0].tolist() == [0, 0]


def test_on_the_threshold() -> None:
    truth, found = {"v": [(0, 10, "a")]}, {"v": [(0, 5, "a", 0.5)]}
    assert recall(compared(truth, found), 1)[0, 0, 0] == 100
    assert recall(compared(truth, found, rule=RULES["thumos14"]), 1)[0, 0, 0] == 0


@given(TRUTH.filter(has_truth), FOUND)
@settings(max_examples=100)
def test_same_as_plain_loops(truth, found) -> None:
    thresholds = (0.25, 0.5, 0.8)
    table = recall(compared(truth, found, thresholds), len(CLASSES))
    for place, label in enumerate(CLASSES):
        segments = {video: list(dict.fromkeys(action for action in actions if action[2] == label and action[1] > action[0]))
                    for video, actions in truth.items()}
        total = sum(map(len, segments.values()))
        for row, multiple in zip(table[:, :, place], (1, 5), strict=True):
            for value, threshold in zip(row, thresholds, strict=True):
                hits = 0
                for video, actions in segments.items():
                    rows = sorted([row for row in found.get(video, []) if row[2] == label][::-1], key=lambda row: -row[3])
                    best = rows[: multiple * len(actions)]
                    hits += sum(any(tiou(row, action) >= threshold for row in best) for action in actions)
                assert value == pytest.approx(100 * hits / total) if total else np.isnan(value)
