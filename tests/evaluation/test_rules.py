"""What each evaluation rule does, by hand and beside plain loops."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tadshrink.errors import UserError
from tadshrink.evaluation.mean_ap import MapResult, mean_average_precision
from tadshrink.evaluation.rules import ACTIVITYNET, RULES, find_rule
from tests.evaluation.examples import CLASSES, FOUND, REGIONS, TRUTH, has_truth, make
from tests.evaluation.plain import plain_map

THUMOS = RULES["thumos14"]
HIT, MISS = (0, 10, "a", 0.5), (50, 60, "a", 0.5)


def evaluate(rule: str, truth, found, thresholds=(0.5,), regions=None) -> MapResult:
    return mean_average_precision(truth, {video: make(rows) for video, rows in found.items()}, CLASSES, thresholds, RULES[rule], regions)


@pytest.mark.parametrize("rule", ["activitynet", "thumos14"])
@given(TRUTH.filter(has_truth), FOUND, REGIONS, st.booleans())
@settings(max_examples=80)
def test_same_as_plain_loops(rule, truth, found, regions, threshold_touched) -> None:
    # 0.5 and 0.75 are overlaps of many of these segments, 0.31 of none.
    thresholds = (0.25, 0.5, 0.75, 1.0) if threshold_touched else (0.31, 0.55)
    regions = {video: regions[video] for video in regions if video in truth}
    result = evaluate(rule, truth, found, thresholds, regions)
    expected = plain_map(rule, truth, found, CLASSES, thresholds, regions)
    for place, label in enumerate(CLASSES):
        values = [expected.get((label, threshold), np.nan) for threshold in thresholds]
        np.testing.assert_allclose(result.per_class[place], values, rtol=0, atol=1e-9)
    assert result.average == pytest.approx(np.mean(list(expected.values())), abs=1e-9)
    assert all(-1e-9 <= value <= 100 + 1e-9 for value in (result.average, *result.map.values()))


def test_overlap_on_the_threshold_counts_only_where_the_rule_is_not_strict() -> None:
    truth, found = {"v": [(0, 10, "a")]}, {"v": [(0, 5, "a", 0.5)]}
    assert evaluate("activitynet", truth, found).average == 100
    assert evaluate("thumos14", truth, found).average == 0
    assert evaluate("thumos14", truth, found, (0.499,)).average == 100


def test_precision_is_interpolated_by_one_rule_only() -> None:
    truth = {"v": [(0, 10, "a"), (20, 30, "a"), (40, 50, "a")]}
    found = {"v": [(100, 110, "a", 0.9), (0, 10, "a", 0.8), (20, 30, "a", 0.7)]}
    # Precision 0, 1/2, 2/3.
    assert evaluate("activitynet", truth, found).average == pytest.approx(100 * (2 / 3 + 2 / 3) / 3)
    assert evaluate("thumos14", truth, found).average == pytest.approx(100 * (1 / 2 + 2 / 3) / 3)


def test_who_chooses_matters() -> None:
    # The better-scored detection overlaps the segment less: 0.8 beside 1.
    truth, found = {"v": [(0, 10, "a")]}, {"v": [(0, 8, "a", 0.9), (0, 10, "a", 0.8)]}
    assert evaluate("activitynet", truth, found).average == 100
    assert evaluate("thumos14", truth, found).average == 50


def test_ambiguous_regions_excuse_what_is_wrong_and_leave_what_is_right() -> None:
    truth, regions = {"v": [(0, 10, "a")], "w": []}, {"v": [(0, 1), (50, 51)]}
    wrong, right = (50.9, 60, "a", 0.9), (0, 10, "a", 0.5)
    assert evaluate("thumos14", truth, {"v": [wrong, right]}, regions=regions).average == 100
    assert evaluate("thumos14", truth, {"v": [wrong, right]}).average == 50
    assert evaluate("activitynet", truth, {"v": [wrong, right]}, regions=regions).average == 50
    # Touching is no overlap, and regions of another video mean nothing.
    assert evaluate("thumos14", truth, {"v": [(51, 60, "a", 0.9), right]}, regions=regions).average == 50
    assert evaluate("thumos14", truth, {"w": [wrong], "v": [right]}, regions=regions).average == 50


def test_of_equal_scores() -> None:
    truth = {"v": [(0, 10, "a")], "w": []}
    for rule, first in (("activitynet", [MISS, HIT]), ("thumos14", [HIT, MISS])):
        assert evaluate(rule, truth, {"v": first}).average == 100
        assert evaluate(rule, truth, {"v": first[::-1]}).average == 50
    # By the organisers' rule the videos come in the order of the annotations, by the others in that of the detections.
    assert evaluate("thumos14", truth, {"w": [MISS], "v": [HIT]}).average == 100
    assert evaluate("activitynet", truth, {"w": [MISS], "v": [HIT]}).average == 100
    assert evaluate("activitynet", truth, {"v": [HIT], "w": [MISS]}).average == 50


@pytest.mark.parametrize(("rule", "count"), [("activitynet", 3), ("activitynet-official", 5), ("actionformer", 2), ("thumos14", 5)])
def test_which_annotations_count(rule: str, count: int) -> None:
    truth = {"v": [(0, 10, "a"), (0.0005, 10.0005, "a"), (7, 7, "a"), (8, 8.0005, "a"), (0, 10, "b")]}
    assert evaluate(rule, truth, {}).ground_truths == count


def test_without_a_least_union_segments_of_no_length_match_anywhere() -> None:
    truth, found = {"v": [(7, 7, "a")]}, {"v": [(50, 50, "a", 0.5)]}
    assert evaluate("activitynet-official", truth, found).average == 100
    assert evaluate("thumos14", truth, found).average == 0


def test_actionformer_takes_a_class_without_annotations_for_another() -> None:
    # Annotated: b (1) and c (2), renumbered 0 and 1. Detections of a (0) are then taken for b.
    truth, found = {"v": [(0, 10, "b"), (20, 30, "c")]}, {"v": [(0, 10, "a", 0.5)]}
    assert evaluate("actionformer", truth, found).per_class[1] == 100
    assert evaluate("activitynet", truth, found).average == 0


def test_a_detection_that_ends_before_it_starts_is_wrong() -> None:
    truth = {"v": [(0, 10, "a")]}
    for rule in ("activitynet", "thumos14"):
        assert evaluate(rule, truth, {"v": [(10, 0, "a", 0.9), HIT]}).average == 50


def test_rules_by_name() -> None:
    assert find_rule("activitynet") is ACTIVITYNET
    assert all(name == rule.name for name, rule in RULES.items())
    with pytest.raises(UserError, match=r"unknown rule 'voc'\. Rules: activitynet, thumos14, activitynet-official, actionformer"):
        find_rule("voc")


def test_the_rules_differ_in_what_the_table_says() -> None:
    assert replace(THUMOS, name="", summary="") != replace(ACTIVITYNET, name="", summary="")
    assert {rule.strict for rule in RULES.values()} == {True, False}
