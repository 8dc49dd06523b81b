from __future__ import annotations

import pytest
from hypothesis import given, settings

from tadshrink.evaluation.false_positives import KINDS, false_positives
from tadshrink.evaluation.rules import ACTIVITYNET, RULES
from tests.evaluation.examples import FOUND, REGIONS, TRUTH, has_truth
from tests.evaluation.test_recall import compared

TRUTH_BY_HAND = {"v": [(0, 10, "a"), (100, 110, "b"), (100, 120, "a")], "w": []}
#: A detection -> its kind, at tIoU 0.5.
ONE_EACH = {
    (0, 10, "a", 0.9): "true_positive",
    (0, 9, "a", 0.8): "double_detection",
    (0, 8, "b", 0.7): "wrong_label",
    (6, 15, "a", 0.6): "localisation",
    (6, 15, "b", 0.5): "confusion",
    (9.5, 30, "a", 0.4): "background",
    (60, 70, "a", 0.3): "background",
}


def test_one_of_each_kind() -> None:
    found = {"v": list(ONE_EACH)}
    profile = false_positives(compared(TRUTH_BY_HAND, found), 3, 0)
    assert profile.predictions == len(ONE_EACH)
    for kind in KINDS:
        assert profile.shares[kind] == pytest.approx(100 * list(ONE_EACH.values()).count(kind) / len(ONE_EACH)), kind
    assert profile.to_json().keys() == {"tiou", "top", "predictions", *KINDS}


def test_of_equal_overlaps_the_own_class_counts() -> None:
    truth = {"v": [(0, 10, "b"), (0, 10, "a")]}
    shares = false_positives(compared(truth, {"v": [(0, 10, "a", 0.9), (0, 10, "a", 0.8)]}), 3, 0).shares
    assert (shares["true_positive"], shares["double_detection"]) == (50, 50)


def test_the_best_ten_per_segment_of_a_class_are_looked_at() -> None:
    many = [(200, 210, "a", 0.5)] * 15 + [(0, 10, "a", 0.4)]
    profile = false_positives(compared({"v": [(0, 10, "a")]}, {"v": many}), 3, 0)
    assert (profile.predictions, profile.shares["background"]) == (10, 100)


def test_classes_without_ground_truth_and_no_detections() -> None:
    assert false_positives(compared({"v": [(0, 10, "a")]}, {"v": [(0, 10, "c", 0.9)]}), 3, 0).predictions == 0
    assert false_positives(compared({"v": [(0, 10, "a")]}, {}), 3, 0).shares["background"] == 0


def test_other_videos_are_background_and_ambiguous_ones_are_told_apart() -> None:
    truth, found = {"v": [(0, 10, "a")]}, {"x": [(0, 10, "a", 0.9)], "v": [(50, 60, "a", 0.9), (0, 10, "a", 0.8)]}
    plain = false_positives(compared(truth, found), 3, 0).shares
    assert (plain["background"], plain["ambiguous"]) == (pytest.approx(200 / 3), 0)
    by_rule = false_positives(compared(truth, found, rule=RULES["thumos14"], regions={"v": [(55, 56)]}), 3, 0).shares
    assert (by_rule["background"], by_rule["ambiguous"]) == (pytest.approx(100 / 3), pytest.approx(100 / 3))


@given(TRUTH.filter(has_truth), FOUND, REGIONS)
@settings(max_examples=100)
def test_every_detection_is_of_one_kind(truth, found, regions) -> None:
    for rule in (ACTIVITYNET, RULES["thumos14"]):
        comparison = compared(truth, found, (0.3, 0.5), rule, regions)
        profile = false_positives(comparison, 3, 1)
        assert sum(profile.shares.values()) == pytest.approx(100 if profile.predictions else 0)
        if profile.predictions == len(comparison.found):
            assert profile.shares["true_positive"] == pytest.approx(100 * comparison.correct[:, 1].sum() / max(profile.predictions, 1))
